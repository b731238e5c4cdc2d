"""Several runs on one arena at a time, as far as they leave each other alone.

Most of a run is waiting: for sessions, rebalances, brokers. What is timed, and what hurts the brokers, has
the machine to itself; of those that cut the proxy one goes at a time.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

from tests.faults.scenarios import Scenario

LANES = 3
"""Runs at a time: on two cores a fourth only makes the others slower."""


T = TypeVar("T")


class Together(Generic[T]):
    """Runs scenarios on threads; ask `report` for each.

    Args:
        scenarios: which.
        execute: runs one, and gives what `report` is to give.
        lanes: how many at a time.
    """

    def __init__(self, scenarios: Sequence[Scenario], execute: Callable[[Scenario], T], lanes: int = LANES) -> None:
        self._execute = execute
        self._lanes = lanes
        self._reports: dict[str, Future[T]] = {scenario.name: Future() for scenario in scenarios}
        self._scenarios = list(scenarios)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="conductor", daemon=True)
        self._thread.start()

    def report(self, name: str) -> T:
        """Waits for a scenario's report; raises what its run raised."""
        return self._reports[name].result()

    def close(self) -> None:
        """Begins nothing more, and waits for what runs."""
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        alone = [one for one in self._scenarios if one.bounds or one.hurts_brokers]
        proxied = [one for one in self._scenarios if one not in alone and one.proxied != "none"]
        free: SimpleQueue[Scenario] = SimpleQueue()
        for one in self._scenarios:
            if one not in alone and one not in proxied:
                free.put(one)
        self._lane(alone)
        with ThreadPoolExecutor(self._lanes) as lanes:
            lanes.submit(self._lane, proxied).add_done_callback(lambda _: self._take(free))
            for _ in range(self._lanes - 1):
                lanes.submit(self._take, free)

    def _take(self, queue: SimpleQueue[Scenario]) -> None:
        while True:
            try:
                self._lane([queue.get_nowait()])
            except Empty:
                return

    def _lane(self, scenarios: Sequence[Scenario]) -> None:
        for scenario in scenarios:
            future = self._reports[scenario.name]
            if self._over.is_set():
                future.cancel()
                continue
            try:
                future.set_result(self._execute(scenario))
            except BaseException as error:  # noqa: BLE001 - whoever asks for the report gets it
                future.set_exception(error)
