"""What an image may take is known before it is decoded, and is over with it."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from consumer.decoding import limits
from consumer.decoding.worker import Worker
from tests.hostile.images import file_of, garment


@pytest.fixture
def cpu_left() -> Iterator[list[float]]:
    """What the limit in force leaves, in seconds, as it is seen at `limits.allow_cpu`."""
    yield []
    signal.setitimer(signal.ITIMER_PROF, 0)


def left() -> float:
    return signal.getitimer(signal.ITIMER_PROF)[0]


@pytest.mark.usefixtures("cpu_left")
def test_time_of_the_processor_goes_by_pixels_and_bytes() -> None:
    limits.begin_cpu()
    assert left() == pytest.approx(1.0, abs=0.1)
    limits.allow_cpu(50_000_000, 20 * 2**20)
    assert left() == pytest.approx(9.2, abs=0.1)  # less than an event's ten seconds
    limits.begin_cpu()
    limits.allow_cpu(1_000_000, 150_000)
    assert left() == pytest.approx(1.1, abs=0.1)


def test_the_limit_of_one_image_is_over_when_the_next_is_received(
    cpu_left: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    allow = limits.allow_cpu

    def seen(pixels: int, file_bytes: int) -> None:
        allow(pixels, file_bytes)
        cpu_left.append(left())

    monkeypatch.setattr(limits, "allow_cpu", seen)
    monkeypatch.setattr(limits.Memory, "begin", lambda *_: None)  # this process's own stays as it is
    worker = Worker((8, 8), 1_000_000)
    for body in (file_of(garment()), file_of(garment())[:-200]):
        worker._answer(body, may_be_large=False)
        assert cpu_left.pop() > 0.9
        assert left() == 0


def test_a_jpeg_counts_by_what_it_is_scaled_down_to() -> None:
    assert limits.needed_bytes("JPEG", 12_000_000, 200_000) < limits.LARGE_BYTES
    assert limits.needed_bytes("PNG", 12_000_000, 12_000_000) > limits.LARGE_BYTES
