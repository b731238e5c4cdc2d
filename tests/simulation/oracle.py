"""Judges a history: what may never happen on the way, and what must be so at its end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from tests.simulation.broker import MARK, Broker, Watcher
from tests.simulation.log import Entry
from tests.simulation.offsets import Offset
from tests.simulation.transactions import Place
from tests.simulation.work import DEAD_LETTERS, OUTPUT
from tests.simulation.work import Place as Source

Delivery = Literal["exactly-once", "at-least-once"]


@dataclass(frozen=True, slots=True)
class Event:
    """What was published to the input topic."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes


class Oracle(Watcher):
    """Watches what becomes visible and what is committed.

    Once the input topic is deleted and made again, nothing more is promised of the events that went with it. Those of
    the new one that somebody reads who knows the former only (`begun`) may come twice, before their turn first.

    Attributes:
        violations: one line each; empty after a history that kept the promise.
        events: every event, by its place.
        made: how often the input topic was made again.
    """

    def __init__(self, delivery: Delivery, clock: Callable[[], float]) -> None:
        self.violations: list[str] = []
        self.events: dict[Source, Event] = {}
        self._delivery = delivery
        self.made = 0
        self._outcomes: set[Source] = set()
        self._read_unaware: set[Source] = set()
        self._clock = clock
        self._last: dict[tuple[int, int], int] = {}  # of each log of the input topic: the offset of its last event
        self._checked: dict[tuple[int, int], int] = {}
        self._committed_at: dict[Source, float] = {}
        self._ends: dict[object, bool] = {}

    def published(self, event: Event) -> None:
        """An event is in the input topic."""
        self.events[self.made, event.partition, event.offset] = event
        self._last[self.made, event.partition] = event.offset

    # ── on the way ───────────────────────────────────────────────────────────────────────────────

    def visible(self, place: Place, entries: list[Entry]) -> None:
        for entry in entries:
            assert entry.value is not None
            source, _ = _read(entry.value)
            event = self.events.get(source)
            if event is not None and (place[0] == OUTPUT or event.value == b"unreadable"):
                self._outcomes.add(source)

    def committed(self, offsets: Mapping[int, int]) -> None:
        for partition, offset in offsets.items():
            log = self._made_at(offset), partition
            for earlier in range(self._checked.get(log, 0), offset):
                source = *log, earlier
                self._committed_at[source] = self._clock()
                if source in self.events and source not in self._outcomes and log[0] == self.made:
                    self.violations.append(
                        f"committed too far: {partition}-{offset}, but {earlier} has no outcome that can be seen"
                    )
            self._checked[log] = max(offset, self._checked.get(log, 0))

    def committed_up_to(self, partition: int) -> int:
        """The furthest offset of a partition that was ever committed. (Without a transaction a commit that comes
        late may set it back: until the next one comes.)"""
        return self._checked.get((self.made, partition), 0)

    def begun(self, began: Mapping[int, float], source: Source, *, unaware: bool = False) -> None:
        """An event is being worked on by one who read the committed offset of each partition at that time; ``unaware``:
        he takes it for one of a former topic."""
        if unaware:
            self._read_unaware.add(source)
        committed_at = self._committed_at.get(source)
        again = committed_at is not None and committed_at < began.get(source[1], committed_at)
        if again and self._delivery == "exactly-once":
            self.violations.append(f"begun again: {source}, although its offset was committed before")

    def complain(self, text: str) -> None:
        self.violations.append(text)

    def ended(self, label: object, committed: bool) -> None:
        """A producer was told that its transaction is committed, or aborted."""
        self._ends[label] = committed

    @property
    def all_committed(self) -> bool:
        """Whether the committed offsets have passed every event, at some time."""
        return all(last < self._checked.get(log, 0) for log, last in self._last.items() if log[0] == self.made)

    @property
    def _promised(self) -> list[Source]:
        return [source for source in self.events if source[0] == self.made]

    def _made_at(self, offset: int) -> int:
        """To which of the topics an offset belongs, as its mark says."""
        mark = offset.mark if isinstance(offset, Offset) else ""
        return int(mark.removeprefix(MARK)) if mark else self.made

    # ── at the end ───────────────────────────────────────────────────────────────────────────────

    def judge(self, broker: Broker) -> list[str]:
        """All violations of a history that has come to rest."""
        self._judge_rest(broker)
        outcomes = [[entry for _, entry in log.visible()] for (topic, _), log in broker.logs.items() if topic == OUTPUT]
        letters = [
            entry for (topic, _), log in broker.logs.items() if topic == DEAD_LETTERS for _, entry in log.visible()
        ]
        self._judge_counts([entry for entries in outcomes for entry in entries], letters)
        for entries in outcomes:
            self._judge_order(entries)
        for entry in [*letters, *(entry for entries in outcomes for entry in entries)]:
            if self._ends.get(entry.label) is False:
                self.violations.append(f"visible though aborted: {entry.value!r} of transaction {entry.label}")
        return self.violations

    def _judge_rest(self, broker: Broker) -> None:
        for place, log in broker.logs.items():
            if log.stable_end < log.end:
                self.violations.append(f"stuck: a transaction stays open in {place[0]}-{place[1]}")
        if broker.offsets.pending:
            self.violations.append("stuck: offsets wait for a transaction that never ends")
        for made, partition, offset in self._promised:
            committed = broker.offsets.committed.get(partition, 0)
            if self._checked.get((made, partition), 0) <= offset:
                self.violations.append(f"stuck: {partition}-{offset} is never committed")
            elif self._delivery == "exactly-once" and (committed <= offset or self._made_at(committed) != made):
                self.violations.append(f"set back: the commit of {partition}-{offset} was undone")

    def _judge_counts(self, outcomes: list[Entry], letters: list[Entry]) -> None:
        seen = Counter(_read(entry.value or b"")[0] for entry in outcomes)
        dead = Counter(_read(entry.value or b"")[0] for entry in letters)
        words = Counter(_read(entry.value or b"") for entry in outcomes)
        for source, event in self.events.items():
            name = f"{source} ({event.value.decode()})"
            wanted = 0 if event.value == b"unreadable" else 1
            wanted_dead = 1 if event.value == b"unreadable" else words[source, "failed"]
            if self._delivery == "at-least-once" and wanted_dead:
                # Of an attempt that was cut short the outcome may be there alone.
                wanted_dead = 0 if words[source, "good"] else 1
            once = (
                self._delivery == "exactly-once" and source not in self._read_unaware
            )  # else see `tests.simulation.debts`
            for what, count, right in (("outcome", seen[source], wanted), ("dead letter", dead[source], wanted_dead)):
                if count < right and source[0] == self.made:
                    self.violations.append(f"lost: the {what} of {name}")
                elif count > right and once:
                    self.violations.append(f"doubled: {count} times the {what} of {name}")
        for source in (seen | dead).keys() - self.events.keys():
            self.violations.append(f"invented: {source}")

    def _judge_order(self, entries: list[Entry]) -> None:
        last: dict[object, int] = {}
        known: set[Source] = set()
        for entry in entries:
            source, _ = _read(entry.value or b"")
            if source in known or source in self._read_unaware:
                continue
            known.add(source)
            made, partition, offset = source
            chain = made, partition, entry.key
            if offset < last.get(chain, -1):
                self.violations.append(f"reordered: {source} after offset {last[chain]} of key {entry.key!r}")
            last[chain] = max(offset, last.get(chain, -1))


def _read(value: bytes) -> tuple[Source, str]:
    """An outcome's event, and what became of it."""
    name, _, word = value.decode().partition(" ")
    made, partition, offset = name.split("-")
    return (int(made), int(partition), int(offset)), word.strip()
