"""Threads that wait for their image's turn."""

from __future__ import annotations

import threading
import time
from collections.abc import Hashable, Iterator
from contextlib import contextmanager

from consumer.decoding.standings import Standings
from consumer.decoding.turns import Turns


class Turn:
    """A place, or the wait for one. ``took_s`` is told by whoever used it: the processor's time, in seconds."""

    def __init__(self) -> None:
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
    def one(self, machine: Hashable, until: float) -> Iterator[Turn]:
        """A place for an image of this machine.

        Raises:
            TimeoutError: it was not its turn until this monotonic time.
        """
        turn = Turn()
        with self._standings.lock:
            self._turns.ask(machine, turn)
            self._let_in()
        has_place = turn.wait(max(0.0, until - time.monotonic()))
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

    def _let_in(self) -> None:
        while turn := self._turns.next(time.monotonic()):
            turn.give()
