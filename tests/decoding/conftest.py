from __future__ import annotations

from collections.abc import Iterator

import pytest

from consumer.decoding import process
from consumer.decoding.decoder import Decoder
from tests.decoding import sabotage
from tests.decoding.pictures import MAX_PIXELS, SIZE, MakeDecoder


@pytest.fixture
def make_decoder() -> Iterator[MakeDecoder]:
    made: list[Decoder] = []

    def make(processes: int = 1, max_pixels: int = MAX_PIXELS) -> Decoder:
        made.append(Decoder(SIZE, max_pixels, processes))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def sabotaged(make_decoder: MakeDecoder, monkeypatch: pytest.MonkeyPatch) -> Decoder:
    """A decoder with one process, whose PNGs of certain widths misbehave."""
    monkeypatch.setattr(process, "COMMAND", sabotage.COMMAND)
    return make_decoder()
