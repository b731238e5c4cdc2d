"""Threads that wait for their image's turn.

A wait is held against an image only while its machine is no quick one: new machines and slow ones wait for what such
machines send, and give up when the event's time is over. A quick one waits for others that are quick, hence for what
this computer can do, which is no fault of its images, however long it takes.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Hashable, Iterator
from contextlib import contextmanager

from consumer.decoding.standings import Standings
from consumer.decoding.turns import Turns

AGAIN_S = 0.5
"""How often a wait is looked at: whether the machine is a quick one by now, or still."""


class Turn:
    """A place, or the wait for one.

    Attributes:
        counted_s: what the wait for it took, as far as that is held against the image.
        took_s: told by whoever used it: the processor's time, in seconds.
    """

    def __init__(self) -> None:
        self.counted_s = 0.0
        self.took_s: float | None = None
        self._given = threading.Event()

    def give(self) -> None:
        """It has its place now."""
        self._given.set()

    def wait(self, seconds: float) -> bool:
        """Whether it has its place, at the latest after so long."""
        return self._given.wait(seconds)


class Shares:
    """Places, given by `Turns`. Thread-safe.

    Args:
        places: how many images hold one at the same time.
        standings: what the machines are known for; several may share them.
    """

    def __init__(self, places: int, standings: Standings) -> None:
        self._standings = standings
        self._turns: Turns[Turn] = Turns(places, standings)

    @contextmanager
    def one(self, machine: Hashable, left_s: float) -> Iterator[Turn]:
        """A place for an image of this machine.

        Args:
            machine: who sent it.
            left_s: how long a wait may be that is held against the image.

        Raises:
            TimeoutError: it was not its turn until then.
        """
        turn = Turn()
        with self._standings.lock:
            self._turns.ask(machine, turn)
            self._let_in()
        has_place = self._wait(machine, turn, left_s)
        try:
            if not has_place:
                raise TimeoutError
            yield turn
        finally:
            with self._standings.lock:
                if turn.took_s is not None:
                    self._standings.took(machine, turn.took_s, time.monotonic())
                if has_place or not self._turns.leave(machine, turn):  # it may just have been given one
                    self._turns.give_back(machine)
                self._let_in()

    def _wait(self, machine: Hashable, turn: Turn, left_s: float) -> bool:
        """Whether it has its place. Slice by slice: what a machine has waited while it was quick is never counted."""
        slice_s = min(AGAIN_S, max(0.0, left_s))
        while True:
            began = time.monotonic()
            has_place = turn.wait(slice_s)
            is_quick = self._is_quick(machine)
            if not is_quick:
                turn.counted_s += min(slice_s, time.monotonic() - began)
            if has_place or (not is_quick and turn.counted_s >= left_s):
                return has_place
            slice_s = AGAIN_S if is_quick else min(AGAIN_S, left_s - turn.counted_s)

    def _is_quick(self, machine: Hashable) -> bool:
        with self._standings.lock:
            return self._standings.is_quick(machine, time.monotonic())

    def _let_in(self) -> None:
        while turn := self._turns.next(time.monotonic()):
            turn.give()
