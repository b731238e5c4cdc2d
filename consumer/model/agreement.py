"""Whether a quantised copy answers as the model does, on pictures that it was not calibrated on.

On probe images at a start no probability may be off by more than 0.02. That is no rule for hundreds of real
pictures: int8 moves a few undecided ones further, and a model is not worse for it. What has to hold here, for
each task:

- the most probable label is the same on at least 99 % of the pictures: the share that quantisation tools allow
  accuracy to fall by unless told otherwise (NNCF's ``max_drop`` is 0.01), and a label that differs is not yet a
  wrong one;
- where labels differ, the model itself was not sure: its label led by less than 0.5. An answer that a caller
  would have acted on does not turn into another;
- the largest difference of a picture's probabilities is 0.02 on average.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from consumer.model.heads import Heads

LEAST_EQUAL = 0.99
SURE = 0.5
"""A lead of the most probable label over the second from which on an answer counts as sure."""
MAX_MEAN_DIFFERENCE = 0.02


@dataclass(frozen=True, slots=True)
class TaskAgreement:
    """One task's figures.

    Attributes:
        pictures: how many were asked for.
        labels_equal: the share whose most probable label is the same.
        widest_turned: the widest lead that a label had with the model itself, of those that differ; 0 if none does.
        largest_difference: of any probability.
        mean_difference: of each picture's largest one.
    """

    pictures: int
    labels_equal: float
    widest_turned: float
    largest_difference: float
    mean_difference: float

    @classmethod
    def of(cls, expected: Any, found: Any) -> TaskAgreement:
        """Compares two heads, (n, labels) each."""
        equal = expected.argmax(1) == found.argmax(1)
        difference = np.abs(expected - found).max(1)
        first_two = np.sort(expected, axis=1)[:, -2:]
        lead = first_two[:, 1] - first_two[:, 0]
        return cls(
            pictures=len(expected),
            labels_equal=float(equal.mean()),
            widest_turned=float(lead[~equal].max(initial=0.0)),
            largest_difference=float(difference.max()),
            mean_difference=float(difference.mean()),
        )

    def troubles(self) -> list[str]:
        """What does not hold, with the figures; NaN holds nothing."""
        told = []
        if not self.labels_equal >= LEAST_EQUAL:
            told.append(
                f"labels are equal on {self.labels_equal:.1%} of {self.pictures} pictures, not {LEAST_EQUAL:.0%}"
            )
        if not self.widest_turned < SURE:
            told.append(f"a label that led by {self.widest_turned:.2f} became another")
        if not self.mean_difference <= MAX_MEAN_DIFFERENCE:
            told.append(f"probabilities differ by {self.mean_difference:.3f} on average, not {MAX_MEAN_DIFFERENCE}")
        return told


def compare(tasks: Mapping[str, Any], expected: Heads, found: Heads) -> dict[str, TaskAgreement]:
    """The figures of every task."""
    return {task: TaskAgreement.of(a, b) for task, a, b in zip(tasks, expected, found, strict=True)}


def troubles(agreement: Mapping[str, TaskAgreement]) -> str:
    """Why the copy is refused, or nothing."""
    return "; ".join(f"{task}: {', '.join(told)}" for task, one in agreement.items() if (told := one.troubles()))


def as_report(agreement: Mapping[str, TaskAgreement]) -> dict[str, Any]:
    """The figures and the rule that they were held against, for JSON."""
    return {
        "rule": {
            "labels_equal_at_least": LEAST_EQUAL,
            "widest_turned_below": SURE,
            "mean_difference_at_most": MAX_MEAN_DIFFERENCE,
        },
        "tasks": {task: asdict(one) for task, one in agreement.items()},
    }
