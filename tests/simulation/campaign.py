"""Many histories on several processes, and what came of them."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field
from itertools import islice
from multiprocessing import get_context

from tests.simulation.oracle import Delivery
from tests.simulation.world import History, play

CHUNK = 200
"""Histories that a process plays before it reports: about a second."""

MIX: tuple[tuple[str, Delivery], ...] = (
    ("everything", "exactly-once"),
    ("answers", "exactly-once"),
    ("crashes", "exactly-once"),
    ("zombies", "exactly-once"),
    ("rebalances", "exactly-once"),
    ("everything", "at-least-once"),
    ("everything", "exactly-once"),
    ("outages", "exactly-once"),
    ("quiet", "exactly-once"),
    ("answers", "exactly-once"),
    ("crashes", "at-least-once"),
    ("zombies", "exactly-once"),
    ("rebalances", "exactly-once"),
    ("everything", "exactly-once"),
    ("answers", "at-least-once"),
    ("outages", "exactly-once"),
    ("crashes", "exactly-once"),
    ("outages", "at-least-once"),
    ("everything", "exactly-once"),
    ("remade", "exactly-once"),
)
"""Whose turn it is, by the seed: so that a seed alone tells a history of a mixed campaign. Four of five are
exactly-once."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Which histories: null means that the seed decides."""

    profile: str | None = None
    delivery: Delivery | None = None

    def of(self, seed: int) -> tuple[str, Delivery]:
        """The profile and the delivery of one seed."""
        profile, delivery = MIX[seed % len(MIX)]
        return self.profile or profile, self.delivery or delivery

    def command(self, seed: int) -> str:
        """What replays one history, step by step."""
        profile, delivery = self.of(seed)
        return f"python -m tests.simulation --seed {seed} --profile {profile} --delivery {delivery} --trace"


@dataclass(slots=True)
class Tally:
    """What has been played so far."""

    histories: int = 0
    events: int = 0
    simulated_s: float = 0.0
    failed: list[History] = field(default_factory=list)
    mix: Counter[tuple[Delivery, str]] = field(default_factory=Counter)
    """Histories by delivery and profile."""

    def add(self, other: Tally) -> None:
        """Counts another one in."""
        self.histories += other.histories
        self.events += other.events
        self.simulated_s += other.simulated_s
        self.failed += other.failed
        self.mix += other.mix


def replay(seed: int, choice: Choice, *, traced: bool = False) -> History:
    """One history."""
    profile, delivery = choice.of(seed)
    return play(seed, profile, delivery, traced=traced)


def play_chunk(first: int, count: int, choice: Choice) -> Tally:
    """Histories one after the other, in this process."""
    logging.disable(logging.CRITICAL)  # thousands of warnings that belong to the plot
    tally = Tally()
    for seed in range(first, first + count):
        history = replay(seed, choice)
        profile, delivery = choice.of(seed)
        tally.mix[delivery, profile] += 1
        tally.histories += 1
        tally.events += history.events
        tally.simulated_s += history.seconds
        if history.violations:
            tally.failed.append(history)
    return tally


def run(
    histories: int,
    workers: int,
    choice: Choice,
    first: int = 0,
    tell: Callable[[Tally, float], None] = lambda tally, seconds: None,
) -> Tally:
    """Plays the histories of so many seeds from ``first`` on.

    Args:
        tell: told of the tally so far and of the seconds that have passed, after every chunk.
    """
    began = time.monotonic()
    total = Tally()
    chunks: Iterator[tuple[int, int]] = (
        (begin, min(CHUNK, first + histories - begin)) for begin in range(first, first + histories, CHUNK)
    )
    # Not forked: a test run has threads, and a fork would inherit their locks.
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        waiting: set[Future[Tally]] = {
            pool.submit(play_chunk, begin, count, choice) for begin, count in islice(chunks, 2 * workers)
        }
        while waiting:
            done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            for one in done:
                total.add(one.result())
            waiting |= {pool.submit(play_chunk, begin, count, choice) for begin, count in islice(chunks, len(done))}
            tell(total, time.monotonic() - began)
    total.failed.sort(key=lambda history: history.seed)
    return total
