"""When a quantised copy answers as the model does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from consumer.model.agreement import TaskAgreement, as_report, compare, troubles


def heads(*firsts: float) -> Any:
    """One head of two labels, by the first one's probability."""
    return np.array([[one, 1 - one] for one in firsts], np.float32)


SURE = [0.9] * 99


def test_figures_are_those_of_each_pictures_largest_difference() -> None:
    found = TaskAgreement.of(heads(0.9, 0.6, 0.2, 0.52), heads(0.9, 0.7, 0.2, 0.46))
    assert (found.pictures, found.labels_equal) == (4, 0.75)
    assert found.widest_turned == pytest.approx(0.04, abs=1e-6)
    assert found.largest_difference == pytest.approx(0.1, abs=1e-6)
    assert found.mean_difference == pytest.approx(0.04, abs=1e-6)


@pytest.mark.parametrize(
    ("expected", "found", "told"),
    [
        ([*SURE, 0.52], [*SURE, 0.48], ""),  # one of 100, and undecided
        ([*SURE, 0.52, 0.52], [*SURE, 0.48, 0.48], r"sleeves: labels are equal on 98.0% of 101 pictures, not 99%"),
        ([*SURE, 0.76], [*SURE, 0.48], r"sleeves: a label that led by 0.52 became another"),
        (SURE, [0.87] * 99, r"sleeves: probabilities differ by 0.030 on average, not 0.02"),
        (SURE, [0.885] * 99, ""),
        (SURE, [float("nan")] * 99, r"probabilities differ by nan"),
    ],
)
def test_a_copy_is_refused_for_what_a_caller_would_notice(expected: list[float], found: list[float], told: str) -> None:
    said = troubles(compare({"sleeves": ()}, [heads(*expected)], [heads(*found)]))
    assert told in said
    assert bool(told) == bool(said)


def test_the_report_holds_the_figures_and_the_rule() -> None:
    report = as_report(compare({"a": (), "b": ()}, [heads(0.9), heads(0.4)], [heads(0.9), heads(0.6)]))
    assert report["rule"] == {
        "labels_equal_at_least": 0.99,
        "widest_turned_below": 0.5,
        "mean_difference_at_most": 0.02,
    }
    assert [(task, of["labels_equal"]) for task, of in report["tasks"].items()] == [("a", 1.0), ("b", 0.0)]
