"""One scenario, once: instances up, events in, faults on, every outcome waited for, everything counted."""

from __future__ import annotations

import json
import math
import random
import signal
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from confluent_kafka import KafkaError, Message, Producer

from consumer.signals import StopRequest
from tests.faults import watch
from tests.faults.arena import Arena
from tests.faults.process import DiedError, Process
from tests.faults.scenarios import Scenario
from tests.faults.tally import Counts, Event, Place, Sample, Seen, count, evidence, silences

PARTITIONS = 6
KEYS = 41
AHEAD = 1_500
"""Most events that wait for their outcome: the publisher holds still meanwhile, as one that is told of the lag."""
SETTLE_S = 60.0
"""How long an open transaction may block readers at the end: its own time-out of 10 s, and a busy machine."""


@dataclass(frozen=True)
class Size:
    """How large a run is.

    Attributes:
        events: how many are published.
        rate: events a second, at most.
        stall_s: no outcome for so long, with nothing hurt any more, ends the run: the rest is lost.
    """

    events: int
    rate: float
    stall_s: float


SMALL = Size(300, 120.0, 30.0)
LARGE = Size(20_000, 400.0, 60.0)


@dataclass
class Report:
    """What came of a run.

    Attributes:
        counts: see there.
        aborted: records that are in the log and were never to be seen.
        faults: how often something was done.
        crashes: exit codes of instances that ended by themselves, and were started again.
        measures: named times in seconds.
        seconds: what it all took.
        logs: the end of each instance's log, where something is bad.
    """

    scenario: Scenario
    seed: int
    events: int
    counts: Counts
    aborted: int
    faults: int
    crashes: list[int]
    measures: dict[str, list[float]]
    seconds: float
    logs: str = ""

    def told(self) -> str:
        """In one line."""
        measures = ", ".join(
            f"{name} {'/'.join(f'{one:.1f}' for one in of[:9])} s" for name, of in sorted(self.measures.items())
        )
        counts = self.counts.bad() or "nothing wrong"
        return (
            f"{self.scenario.name}, seed {self.seed}: {self.events} events, {self.faults} faults in "
            f"{self.seconds:.0f} s: {counts}; silence {self.counts.silence_s:.1f} s, {self.aborted} aborted records"
            + (f"; ended by themselves with {self.crashes}" if self.crashes else "")
            + (f"; {measures}" if measures else "")
            + (f"  NOT AS IT SHOULD BE: {self.bad}" if self.bad else "")
        )

    @property
    def bad(self) -> dict[str, float]:
        """Everything that should not be; empty is green."""
        found: dict[str, float] = dict(self.counts.bad(may_double=self.scenario.delivery == "at-least-once"))
        if 1 in self.crashes:
            found["unexpected_ends"] = self.crashes.count(1)
        for name, bound in self.scenario.bounds.items():
            worst = max(self.measures.get(name, [math.inf]))
            if worst > bound:
                found[name] = worst
        return found


@dataclass
class _Published:
    """What is known of the events so far; appended to by the producer's thread, read by all."""

    events: list[Event] = field(default_factory=list)
    at: dict[int, tuple[int, int]] = field(default_factory=dict)
    over: bool = False


class Run:
    """A scenario on an arena. What faults need is public."""

    def __init__(
        self,
        arena: Arena,
        scenario: Scenario,
        size: Size,
        *,
        seed: int = 1,
        broken: str | None = None,
        asked: StopRequest | None = None,
        tell: Callable[[int, int], None] = lambda published, seen: None,
    ) -> None:
        self.arena = arena
        self.scenario = scenario
        self.size = size
        self.random = random.Random(seed)
        self.seed = seed
        self.asked = asked or StopRequest()
        self.measures: dict[str, list[float]] = defaultdict(list)
        self.down: set[Process] = set()
        """Instances that are down on purpose: nobody starts them but their fault."""
        self.group = f"faults-{uuid.uuid4().hex[:8]}"
        self.instances: list[Process] = []
        self._broken = broken
        self._tell = tell
        self._folder = arena.folder / self.group
        self._journal = self._folder / "aborted.jsonl"
        self._topics = {name: f"{name}-{self.group}" for name in ("in", "out", "dead")}
        self._published = _Published()
        self._live: list[Seen] = []
        self._outcomes: set[int] = set()
        self._letters: list[tuple[Message, float]] = []
        self._dead: set[tuple[int, int]] = set()
        self._last_arrival = 0.0
        self._evidence: list[str] = []
        self._crashes: list[int] = []
        self._supervising = threading.Lock()

    # ── the run ──────────────────────────────────────────────────────────────────────────────────

    def execute(self) -> Report:
        """Runs it, and gives everything back."""
        began = time.monotonic()
        self._folder.mkdir()
        for topic in self._topics.values():
            self.arena.kafka.create_topic(topic, PARTITIONS)
        servers = self.arena.servers
        sampler = watch.Sampler(servers, self.group, self._topics["in"], PARTITIONS)
        readers = [
            watch.Reader(servers, self._topics["out"], PARTITIONS, self._on_outcome),
            watch.Reader(servers, self._topics["dead"], PARTITIONS, self._on_letter),
        ]
        publisher = threading.Thread(target=self._publish, name="publisher", daemon=True)
        faults = 0
        try:
            for _ in range(self.scenario.instances):
                self.instances.append(self.new_instance())
            for instance in self.instances:
                self.start(instance, wait=False)
            for instance in self.instances:
                instance.wait_until_ready(self.asked)
            publisher.start()
            faults = self._hurt()
            self._published_all(publisher)
            self._wait_for_the_rest()
            for instance in self.instances:
                self.down.add(instance)
                if instance.alive and (code := instance.stop()) != 0:
                    self._crashes.append(code)
            samples = self._close(sampler, readers)
            counts, aborted = self._count(samples)
        finally:
            self._published.over = True
            for instance in self.instances:
                with suppress(DiedError):
                    instance.thaw()
                    instance.kill()
            self.arena.heal(brokers=self.scenario.hurts_brokers, proxy=self.scenario.proxied != "none")
            self._close(sampler, readers)
        self.arena.delete(*self._topics.values())
        report = Report(
            self.scenario,
            self.seed,
            len(self._published.events),
            counts,
            aborted,
            faults,
            self._crashes,
            dict(self.measures),
            time.monotonic() - began,
        )
        if report.bad:
            report.logs = "\n".join([*self._evidence, *(instance.tail(60) for instance in self.instances)])
        return report

    def _hurt(self) -> int:
        """Faults, one after the other, with a few outcomes between, as long as events are published."""
        done = 0
        while not self.asked.is_set():
            seen = len(self._outcomes)
            wanted = seen + self.random.randint(15, 40)
            self.wait(partial(self._seen, wanted), self.size.stall_s)
            if (self._published.over and done) or not self.scenario.faults:
                break
            self.scenario.faults[done % len(self.scenario.faults)](self)
            done += 1
        return done

    def _seen(self, wanted: int) -> bool:
        return len(self._outcomes) >= wanted or self._published.over

    def _published_all(self, publisher: threading.Thread) -> None:
        while publisher.is_alive() and not self.asked.is_set():
            if not self.wait(lambda: not publisher.is_alive(), self.size.stall_s) and self.stalled():
                break  # the service stands still, and the publisher with it
        self._published.over = True
        publisher.join()

    def _wait_for_the_rest(self) -> None:
        self.wait(self.complete, self.size.stall_s)
        while not self.complete() and not self.stalled() and not self.asked.is_set():
            self.wait(self.complete, 1.0)

    # ── what faults and the driver ask ───────────────────────────────────────────────────────────

    def complete(self) -> bool:
        """Whether every event that was published has what it must have, as the readers saw it."""
        return self._published.over and all(
            event.number in self._outcomes if event.readable else (event.partition, event.offset) in self._dead
            for event in self._published.events
        )

    def stalled(self) -> bool:
        """Whether nothing has come for too long."""
        return time.monotonic() - self._last_arrival > self.size.stall_s

    def wait(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        """Waits for something, keeping up instances that should be; whether it came true."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            self._supervise()
            self._tell(len(self._published.events), len(self._outcomes))
            if time.monotonic() > deadline or self.asked.wait(0.02):
                return condition()
        return True

    def pause(self, seconds: float) -> None:
        """Lets time pass: the length of a fault, which nothing else ends."""
        self.wait(lambda: False, seconds)

    def wait_for_outcome_after(self, moment: float) -> float:
        """Waits for the next outcome after a time (monotonic seconds); gives when it came, infinity if never."""
        self.wait(lambda: self._last_arrival > moment, self.size.stall_s)
        return min((one.arrived for one in list(self._live) if one.arrived > moment), default=math.inf)

    def silence_since(self, moment: float) -> float:
        """The longest silence of any partition that ended after a time (monotonic seconds)."""
        return max(silences(list(self._published.events), list(self._live), since=moment).values(), default=0.0)

    def running(self) -> list[Process]:
        """The instances that nobody holds down."""
        return [one for one in self.instances if one not in self.down]

    def new_instance(self) -> Process:
        """One more, not started."""
        name = f"instance-{len(self.instances) + 1}"
        scenario = self.scenario
        through_proxy = scenario.proxied == "all" or (scenario.proxied == "first" and not self.instances)
        settings = {
            "KAFKA_BOOTSTRAP_SERVERS": self.arena.proxied if through_proxy else self.arena.servers,
            "KAFKA_GROUP_ID": self.group,
            "INPUT_TOPIC": self._topics["in"],
            "OUTPUT_TOPIC": self._topics["out"],
            "DEAD_LETTER_TOPIC": self._topics["dead"],
            "DELIVERY": scenario.delivery,
            "FETCH_ALLOW_NETS": "127.0.0.0/8",
            "FETCH_ALLOW_PORTS": "any",
            "FETCH_CONCURRENCY": "8",
            "LOG_FORMAT": "text",
            **scenario.settings,
        }
        if scenario.stable:
            settings["INSTANCE_ID"] = name
        return Process(name, settings, self._folder / f"{name}.log", self.arena.lifeline)

    def start(self, instance: Process, *, wait: bool = True) -> None:
        """Starts an instance with its fate, and waits until it is ready unless told otherwise."""
        options = [*self.scenario.options, "--journal", str(self._journal)]
        if self.scenario.die_at and instance is self.instances[0] and not self._published.over:
            options += ["--die", f"{self.scenario.die_at}:{self.random.randint(*self.scenario.passages)}"]
        if self._broken:
            options += ["--break", self._broken]
        instance.start(options)
        self.down.discard(instance)
        if wait:
            instance.wait_until_ready(self.asked)

    def _supervise(self) -> None:
        """As an orchestrator does: what ended by itself is started again. Its exit code is told in the report."""
        if not self._supervising.acquire(blocking=False):
            return
        try:
            for instance in self.instances:
                code = instance.code()
                if instance in self.down or code is None:
                    continue
                if code != -signal.SIGKILL:  # which was its fate
                    self._crashes.append(code)
                self.start(instance, wait=False)
        finally:
            self._supervising.release()

    # ── publishing and watching ──────────────────────────────────────────────────────────────────

    def _publish(self) -> None:
        producer = Producer(
            {
                "bootstrap.servers": self.arena.servers,
                "partitioner": "murmur2_random",
                "enable.idempotence": True,  # through broker crashes too, each event once and in order
                "message.timeout.ms": 300_000,
                "linger.ms": 2,
                "log_level": 0,
            }
        )
        began = time.monotonic()
        for number in range(self.size.events):
            while not self._published.over and (
                time.monotonic() < began + number / self.size.rate or number - len(self._outcomes) > AHEAD
            ):
                producer.poll(0.002)
            if self._published.over:
                break
            self._produce(producer, number)
        producer.flush(60)
        self._published.over = True

    def _produce(self, producer: Producer, number: int) -> None:
        key, value = b"key-%d" % (number % KEYS), self._value(number)

        def delivered(error: KafkaError | None, message: Message) -> None:
            if error is None:
                place = (message.partition(), message.offset())
                self._published.at[number] = place
                readable = value is not None and value[:1] == b"{"
                self._published.events.append(Event(number, key, *place, readable, time.monotonic()))

        producer.produce(self._topics["in"], key=key, value=value, on_delivery=delivered)

    def _value(self, number: int) -> bytes | None:
        if number % 31 == 7:
            return b"no event"
        if number % 101 == 50:
            return None
        pictures = self.arena.pictures
        url = self.arena.missing(number) if number % 23 == 5 else pictures[number % len(pictures)].url
        return json.dumps({"event_id": str(number), "url": url}).encode()

    def _on_outcome(self, message: Message, arrived: float) -> None:
        seen = watch.outcome_number(message, arrived)
        self._live.append(seen)
        self._outcomes.add(seen.number)
        self._last_arrival = arrived

    def _on_letter(self, message: Message, arrived: float) -> None:
        self._letters.append((message, arrived))  # which event it is about may not be known yet
        self._dead.add(watch.source_of(message))
        self._last_arrival = arrived

    def _close(self, sampler: watch.Sampler, readers: list[watch.Reader]) -> list[Sample]:
        for reader in readers:
            reader.close()
        return sampler.close()

    def _count(self, samples: list[Sample]) -> tuple[Counts, int]:
        servers, published = self.arena.servers, self._published
        numbers = {place: number for number, place in published.at.items()}
        reading = watch.outcome_reading(self.arena.answers, published.at)
        lettering = watch.letter_reading(numbers)
        with ThreadPoolExecutor(4) as threads:
            out, dead, raw_out, raw_dead = (
                threads.submit(watch.read_all, servers, self._topics[name], PARTITIONS, isolation, SETTLE_S)
                for isolation in ("read_committed", "read_uncommitted")
                for name in ("out", "dead")
            )
        outcomes = [reading(one, 0.0) for one in out.result()]
        letters = [lettering(one, 0.0) for one in dead.result()]
        self._evidence = evidence(published.events, outcomes, letters)
        counts = count(
            published.events,
            outcomes,
            letters,
            live=[*self._live, *(lettering(*one) for one in self._letters)],
            samples=samples,
            aborted=journal(self._journal),
        )
        raw, committed = (sum(len(one.result()) for one in of) for of in ((raw_out, raw_dead), (out, dead)))
        return counts, raw - committed


def journal(path: Path) -> set[Place]:
    """The records that instances noted as aborted on purpose."""
    if not path.exists():
        return set()
    lines = path.read_text("utf-8").splitlines()
    return {(topic, partition, offset) for line in lines for topic, partition, offset in json.loads(line)}
