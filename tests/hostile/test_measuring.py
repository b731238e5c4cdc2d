"""What the tables of the corpus and of folders rest on."""

from __future__ import annotations

import pytest

from consumer.decoding import process
from tests.decoding import sabotage
from tests.hostile.measuring import PREDICTED, bench


def test_a_process_that_is_worn_is_no_death_and_one_that_an_image_ends_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "COMMAND", sabotage.COMMAND)
    monkeypatch.setattr(process, "IMAGES_EACH", 2)
    decent, bad = sabotage.picture_that("is decent"), sabotage.picture_that("aborts")
    with bench() as on:
        found = [on.measure("decent", decent) for _ in range(6)]
        assert [one.outcome for one in found] == [PREDICTED] * 6
        assert on.deaths == 0
        assert on.measure("bad", bad).outcome == "image_corrupt"
        assert on.deaths == 1
        assert on.measure("decent", decent).outcome == PREDICTED
