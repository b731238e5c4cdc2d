"""What answers, and what it was chosen from: as the log, ``/status`` and the next start are told it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from consumer.model.trials import Backend, Trial, told_speed

Verdict = Literal["chosen", "agrees", "refused", "not possible"]


@dataclass(frozen=True, slots=True)
class Choice:
    """What answers.

    Attributes:
        backend: how the model is run.
        max_batch: most images in one call.
        trials: every candidate, with what was measured of it.
        batches: seconds that the backend takes for one image, by the size of its batch; empty where the size was set.
        measured_at: milliseconds since the epoch.
        kept: whether that was at an earlier start.
    """

    backend: Backend
    max_batch: int
    trials: tuple[Trial, ...]
    batches: Mapping[int, float]
    measured_at: int
    kept: bool = False

    @property
    def taken(self) -> Trial:
        """The candidate that answers."""
        (taken,) = (trial for trial in self.trials if trial.taken)
        return taken

    def verdict(self, trial: Trial) -> tuple[Verdict, str]:
        """What became of a candidate, and why; there is no reason for the one that is chosen."""
        if trial.taken:
            return "chosen", ""
        if trial.difference is None:
            return "not possible", trial.problem
        if not trial.agrees:
            return "refused", trial.disagreement
        taken = self.taken
        if trial.seconds is None or taken.seconds is None or trial.seconds >= taken.seconds:
            return "agrees", "slower"
        if trial.precision == taken.precision:
            return "agrees", f"not clearly faster than {taken.backend}, with which starts are quicker"
        return "agrees", f"not clearly faster than {taken.precision}, and less precise"

    def told(self) -> Iterator[str]:
        """Lines of the log: one for each candidate, then the speeds of the one that is chosen."""
        for trial in self.trials:
            verdict, reason = self.verdict(trial)
            yield f"candidate {trial}" if verdict == "not possible" else f"candidate {trial}: {reason or verdict}"
        if self.batches:
            speeds = ", ".join(f"{size}: {told_speed(1 / took)}" for size, took in self.batches.items())
            yield f"{self.taken.backend} {self.taken.precision}, images/s by batch size: {speeds}"
        if self.kept:
            at = datetime.fromtimestamp(self.measured_at / 1000, UTC)
            yield f"all this was measured at an earlier start, at {at:%Y-%m-%d %H:%M:%S} UTC"
