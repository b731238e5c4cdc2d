"""The fuzz finds nothing in the code as it is, and what is planted when something is."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from consumer.decoding import process
from consumer.fetching.urls import Target, parse
from tests.decoding import sabotage
from tests.hostile import fuzz
from tests.hostile.fuzz import MOST_S, Fuzz


@pytest.fixture
def dice() -> Iterator[Fuzz]:
    made = Fuzz(seed=20_261_124)
    yield made
    made.close()


def test_mutated_images_urls_and_events_come_to_a_value_or_a_code_and_nothing_else(dice: Fuzz) -> None:
    found = dice.run(8_000)
    assert found.wrong == []
    assert found.outcomes.total() == 8_000
    read = {target for (target, outcome) in found.outcomes if outcome in ("read", "predicted")}
    assert read == set(MOST_S), "some inputs of each target are still good"


def test_a_bug_is_found_and_replays_from_what_is_printed(dice: Fuzz, monkeypatch: pytest.MonkeyPatch) -> None:
    def careless(url: str) -> Target:
        if "İ" in url:
            raise ValueError("planted")
        return parse(url)

    monkeypatch.setattr(fuzz, "parse", careless)
    found = dice.run(2_000, only="urls")
    assert found.wrong
    assert all("ValueError: planted" in one for one in found.wrong)
    numbers = re.findall(r"--first (\d+) --inputs 1", found.wrong[0])
    again = Fuzz(seed=20_261_124)
    assert again.run(1, first=int(numbers[0]), only="urls").wrong == found.wrong[:1]
    again.close()


def test_a_process_that_dies_is_a_finding(dice: Fuzz, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "COMMAND", sabotage.COMMAND)
    monkeypatch.setattr(fuzz, "IMAGES", [sabotage.picture_that("aborts")])
    monkeypatch.setattr(fuzz, "damaged", lambda body, *_: body)
    (wrong,) = dice.run(1, only="images").wrong
    assert "a decoder's process died" in wrong
