"""Events in, committed outcomes out: the load on whatever reads the input topic, and what is seen of it.

Open loop: an event's timestamp is the moment at which it was due, whether or not the generator was late, so that
a service that stalls is charged for everything that waited meanwhile. An outcome is there when a reader of
committed records has it. One thread does both; at 1 000 events a second it takes a tenth of a core.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from confluent_kafka import Consumer, Producer, TopicPartition

from ops.bench.figures import Latency, rate
from ops.bench.processes import BenchError, Reading, Spent, memory_mib, tree

KEYS = 997
LEAST_BACKLOG = 64
BACKLOG_S = 1.5
"""Seconds of work that wait while as much as possible is done: more only takes longer to drain."""
SILENCE_S = 60.0
"""With events waiting and no outcome for so long, the step is given up."""

Url = Callable[[int], str]


@dataclass(frozen=True, slots=True)
class Seen:
    """What one step saw.

    Attributes:
        offered: events a second that were sent; null where as many as it took.
        rate: outcomes a second.
        latency: null where events waited in the topic on purpose.
        cpu_ms: CPU of an event, by group of processes; ``bench`` is the generator and reader itself.
        cores_of_others: in use on average by what is not ours, while this was measured.
        memory_mib: of the service's processes, at the end.
        lost: events without an outcome.
        doubled: outcomes beyond the first.
    """

    offered: float | None
    rate: float
    latency: Latency | None
    cpu_ms: dict[str, float]
    cores_of_others: float
    memory_mib: float
    lost: int
    doubled: int


@dataclass(slots=True)
class Groups:
    """The processes around: name → those whose descendants count with them; ``service`` is the one measured."""

    roots: dict[str, list[int]]

    def reading(self) -> Reading:
        """Their CPU time now, and our own."""
        return Reading.now(self.roots)


@dataclass(slots=True)
class _Step:
    due: dict[int, float] = field(default_factory=dict)
    """Events that have no outcome yet → when they were due."""
    arrived: list[float] = field(default_factory=list)
    took: list[tuple[float, float]] = field(default_factory=list)
    """When an event was due, and how long it took."""
    doubled: int = 0


class Traffic:
    """A generator on the input topic and a reader of the output topic.

    Args:
        brokers: bootstrap servers.
        topics: names of the input and of the output topic.
        partitions: of the output topic.
        groups: whose CPU is read.
    """

    def __init__(self, brokers: str, topics: tuple[str, str], partitions: int, groups: Groups) -> None:
        self._input, output = topics
        self._groups = groups
        self._sent = 0
        self._producer = Producer({"bootstrap.servers": brokers, "linger.ms": 1})
        self._reader = Consumer(
            {
                "bootstrap.servers": brokers,
                "group.id": f"{output}-reader",
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
                "fetch.wait.max.ms": 50,
            }
        )
        self._reader.assign([TopicPartition(output, number, 0) for number in range(partitions)])

    def close(self) -> None:
        """Gives the clients back."""
        self._producer.flush(10)
        self._reader.close()

    def steady(self, per_second: float, url: Url, *, warm_s: float, seconds: float) -> Seen:
        """So many events a second, evenly spaced; measured after ``warm_s``.

        Raises:
            BenchError: outcomes stay away.
        """
        step = _Step()
        began = time.time()
        measured = began + warm_s
        first: Reading | None = None
        sent, end = 0, measured + seconds
        while (now := time.time()) < end:
            if first is None and now >= measured:
                first, cpu = self._groups.reading(), time.process_time()
            while (due := began + sent / per_second) <= now:
                self._send(step, due, url)
                sent += 1
            self._read(step, min(0.05, max(0.0, due - now)))
        last, cpu = self._groups.reading(), time.process_time() - cpu
        memory = self._memory()
        self._drain(step)
        assert first is not None
        return self._seen(
            step,
            Spent.between(first, last),
            cpu_s=cpu,
            memory=memory,
            shown=rate(step.arrived, measured, end),
            offered=per_second,
            latency=Latency.of([one for due, one in step.took if due >= measured]),
        )

    def flat_out(self, url: Url, *, waits_s: float = 0.0, warm_s: float, seconds: float) -> Seen:
        """As many as it takes: there are always events waiting.

        Args:
            url: the address of an event's image.
            waits_s: what an image takes to come, so that enough of them can be on their way.
            warm_s: counted from the first outcome, not measured.
            seconds: measured.

        Raises:
            BenchError: outcomes stay away.
        """
        step = _Step()
        backlog = LEAST_BACKLOG
        first: Reading | None = None
        measured = end = float("inf")
        while (now := time.time()) < end:
            if step.arrived and measured == float("inf"):
                measured, end = now + warm_s + 2 * waits_s, now + warm_s + 2 * waits_s + seconds
            if first is None and now >= measured:
                first, cpu = self._groups.reading(), time.process_time()
            while len(step.due) < backlog:
                self._send(step, now, url)
            self._read(step, 0.02)
            lately = sum(1 for one in step.arrived[-2000:] if one > now - 1)
            backlog = max(backlog, LEAST_BACKLOG, round(lately * (BACKLOG_S + 2 * waits_s)))
        last, cpu = self._groups.reading(), time.process_time() - cpu
        memory = self._memory()
        assert first is not None
        shown = rate(step.arrived, measured, end)
        self._drain(step)
        return self._seen(step, Spent.between(first, last), cpu_s=cpu, memory=memory, shown=shown)

    # ── the two halves ───────────────────────────────────────────────────────────────────────────

    def _send(self, step: _Step, due: float, url: Url) -> None:
        number = self._sent
        self._sent += 1
        step.due[number] = due
        event = json.dumps({"event_id": str(number), "url": url(number)})
        self._producer.produce(self._input, event, f"shop-{number % KEYS}", timestamp=round(1000 * due))
        self._producer.poll(0)

    def _read(self, step: _Step, wait_s: float) -> None:
        """Everything that is there, waiting for the first."""
        message = self._reader.poll(wait_s)
        while message is not None:
            if message.error():
                raise BenchError(f"the outcomes cannot be read: {message.error().str()}")
            headers = dict(message.headers() or ())
            due = step.due.pop(int(headers["ce_id"]), None)
            if due is None:
                step.doubled += 1
            else:
                now = time.time()
                step.arrived.append(now)
                step.took.append((due, now - due))
            message = self._reader.poll(0)

    def _drain(self, step: _Step) -> None:
        until = time.time() + SILENCE_S
        while step.due and time.time() < until:
            before = len(step.due)
            self._read(step, 0.05)
            if len(step.due) < before:
                until = time.time() + SILENCE_S
        self._read(step, 0.1)

    def _memory(self) -> float:
        return memory_mib([one for root in self._groups.roots["service"] for one in tree(root)])

    def _seen(
        self,
        step: _Step,
        spent: Spent,
        *,
        cpu_s: float,
        memory: float,
        shown: float,
        offered: float | None = None,
        latency: Latency | None = None,
    ) -> Seen:
        ours = spent.cpu_s | {"bench": cpu_s}
        events = shown * spent.seconds
        return Seen(
            offered=offered,
            rate=shown,
            latency=latency,
            cpu_ms={name: 1000 * one / events for name, one in ours.items()},
            cores_of_others=max(0.0, spent.others_cores - cpu_s / spent.seconds),
            memory_mib=memory,
            lost=len(step.due),
            doubled=step.doubled,
        )
