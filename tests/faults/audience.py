"""Everybody who looks on during a run, and what they saw."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from confluent_kafka import Message

from tests.faults import watch
from tests.faults.feed import Feed
from tests.faults.journal import records
from tests.faults.tally import Counts, Sample, Seen, count, evidence, silences

SETTLE_S = 60.0
"""How long an open transaction may block readers at the end: its own time-out of 10 s, and a busy machine."""


class Audience:
    """A reader of the outcomes, another of the dead letters, and one who looks at the committed offsets.

    They begin at once. Everything but `count` may be asked while they look on.

    Args:
        servers: the brokers.
        group: the service's.
        topics: ``in``, ``out`` and ``dead`` → their names.
        partitions: of each of them.
    """

    def __init__(self, servers: str, group: str, topics: Mapping[str, str], partitions: int) -> None:
        self._servers = servers
        self._topics = dict(topics)
        self._partitions = partitions
        self._outcomes: list[Seen] = []
        self._numbers: set[int] = set()
        self._letters: list[tuple[Message, float]] = []
        self._dead: set[tuple[int, int]] = set()
        self._samples: list[Sample] = []
        self.last_arrival = 0.0
        """When anything arrived last, monotonic seconds."""
        self.evidence: list[str] = []
        """After `count`, a line for each of the first events that were lost or doubled."""
        self.copies = 0
        """After `count`, events that stand in the input topic and their publisher knows nothing of."""
        self._sampler = watch.Sampler(servers, group, topics["in"], partitions)
        self._readers = [
            watch.Reader(servers, topics["out"], partitions, self._on_outcome),
            watch.Reader(servers, topics["dead"], partitions, self._on_letter),
        ]

    @property
    def seen(self) -> int:
        """How many events have an outcome."""
        return len(self._numbers)

    def complete(self, feed: Feed) -> bool:
        """Whether every event has what it must have, and no more will be published."""
        return feed.over and all(
            event.number in self._numbers if event.readable else (event.partition, event.offset) in self._dead
            for event in list(feed.events)
        )

    def first_after(self, moment: float) -> float | None:
        """When the first outcome after a time arrived (monotonic seconds)."""
        return min((one.arrived for one in list(self._outcomes) if one.arrived > moment), default=None)

    def silence(self, feed: Feed, during: tuple[float, float]) -> float:
        """The longest silence of any partition that falls into a time, see `silences`; to be asked at the end."""
        return max(silences(feed.events, self._outcomes, during).values(), default=0.0)

    def coordinator_away_s(self) -> float:
        """For how many seconds the group's coordinator has not answered at a time, at most."""
        return self._sampler.longest_away_s()

    def leave(self) -> None:
        """Looks on no longer."""
        for reader in self._readers:
            reader.close()
        self._samples = self._sampler.close()

    def count(self, feed: Feed, journal: Path) -> tuple[Counts, int]:
        """Reads both topics again from the beginning, and counts.

        Returns:
            The counts, and how many records are in the topics that no committed transaction holds.
        """
        with ThreadPoolExecutor(5) as threads:
            out, dead, raw_out, raw_dead, inputs = (
                threads.submit(watch.read_all, self._servers, self._topics[name], self._partitions, isolation, SETTLE_S)
                for name, isolation in (
                    ("out", "read_committed"),
                    ("dead", "read_committed"),
                    ("out", "read_uncommitted"),
                    ("dead", "read_uncommitted"),
                    ("in", "read_committed"),
                )
            )
        copies = watch.copies(inputs.result(), feed.events)
        self.copies = len(copies)
        events = [*feed.events, *copies]
        copied = {(one.partition, one.offset): one.number for one in copies}
        reading = watch.outcome_reading(feed.answers, feed.at, copied)
        lettering = watch.letter_reading({place: number for number, place in feed.at.items()} | copied)
        outcomes = [reading(one, 0.0) for one in out.result()]
        letters = [lettering(one, 0.0) for one in dead.result()]
        self.evidence = evidence(events, outcomes, letters)
        counts = count(
            events,
            outcomes,
            letters,
            live=[*self._outcomes, *(lettering(*one) for one in self._letters)],
            samples=self._samples,
            aborted=records(journal),
        )
        return counts, len(raw_out.result()) + len(raw_dead.result()) - len(outcomes) - len(letters)

    def _on_outcome(self, message: Message, arrived: float) -> None:
        seen = watch.outcome_number(message, arrived)
        self._outcomes.append(seen)
        self._numbers.add(seen.number)
        self.last_arrival = arrived

    def _on_letter(self, message: Message, arrived: float) -> None:
        self._letters.append((message, arrived))  # which event it is about may not be known yet
        self._dead.add(watch.source_of(message))
        self.last_arrival = arrived
