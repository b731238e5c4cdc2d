"""Which partitions are fetched from: pause and resume, by what is held."""

from __future__ import annotations

from collections.abc import Collection

from consumer.stream.ledger import Ledger
from consumer.stream.limits import Limits
from consumer.stream.protocol import Action, Pause, Resume


class Flow:
    """What each partition was last told, and what it should be told.

    Intake stops at a limit and begins again at half of it: a pause throws away what librdkafka has fetched ahead, so it
    must not happen for every record. After every assignment each of its partitions is told one or the other
    explicitly: librdkafka keeps a pause across revocation and re-assignment.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._paused: dict[int, bool | None] = {}  # null: not told since its assignment
        self._full = False  # hysteresis of the limits over all partitions

    def assigned(self, partition: int) -> None:
        """It has to be told."""
        self._paused[partition] = None

    def forget(self, partition: int) -> None:
        """It is not ours any more."""
        self._paused.pop(partition, None)

    def changes(self, ledgers: Collection[Ledger], queued: int, *, on_hold: bool, stopping: bool) -> list[Action]:
        """What is to be told now, with so many events waiting to be worked on; it counts as told."""
        limits = self._limits
        most = limits.queued + (limits.in_flight if on_hold else 0)  # what was in flight may wait as well
        held_bytes = sum(ledger.bytes for ledger in ledgers)
        if self._full:
            self._full = queued > most // 2 or held_bytes > limits.held_bytes // 2
        else:
            self._full = queued >= most or held_bytes >= limits.held_bytes
        pause: list[int] = []
        resume: list[int] = []
        for ledger in ledgers:
            told = self._paused[ledger.partition]
            far = len(ledger) >= (limits.held_each // 2 if told else limits.held_each)
            want = stopping or self._full or far
            if want is not told:
                (pause if want else resume).append(ledger.partition)
                self._paused[ledger.partition] = want
        actions: list[Action] = []
        if pause:
            actions.append(Pause(tuple(pause)))
        if resume:
            actions.append(Resume(tuple(resume)))
        return actions
