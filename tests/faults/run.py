"""One scenario, once: instances up, events in, faults on, every outcome waited for, everything counted."""

from __future__ import annotations

import random
import signal
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial

from consumer.signals import StopRequest
from tests.faults.arena import Arena
from tests.faults.audience import Audience
from tests.faults.faults import WAITING
from tests.faults.feed import Feed, Size
from tests.faults.journal import happened
from tests.faults.process import DiedError, Process
from tests.faults.report import Report
from tests.faults.scenarios import FATAL, Scenario

PARTITIONS = 6
START_S = 15.0
"""How long the end of a run waits for an instance that was started in its last moments."""


@contextmanager
def ground(arena: Arena, scenario: Scenario) -> Iterator[Arena]:
    """The arena that a scenario runs on: this one, or one with a single broker."""
    if scenario.only_broker:
        with Arena(brokers=1) as own:
            yield own
    else:
        yield arena


class Run:
    """A scenario on an arena. What faults need is public.

    Args:
        arena: the brokers and the pictures.
        scenario: what is done.
        size: to how many events.
        seed: of the dice: which instance, which broker, when.
        broken: a rule of `tests.faults.breakages` that every instance breaks.
        asked: ends it early; what it counts then means nothing.
        tell: is told how many events are published, and how many outcomes seen, all the while.

    Attributes:
        measures: named times in seconds, which faults add to.
        down: instances that are down on purpose: nobody starts them but their fault.
        fates_met: how often the first instance has killed itself at its point.
    """

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
        self.seed = seed
        self.random = random.Random(seed)
        self.asked = asked or StopRequest()
        self.measures: dict[str, list[float]] = defaultdict(list)
        self.down: set[Process] = set()
        self.fates_met = 0
        self.group = f"faults-{uuid.uuid4().hex[:8]}"
        self.instances: list[Process] = []
        self._outlived: list[Process] = []
        self._broken = broken
        self._tell = tell
        self._folder = arena.folder / self.group
        self._journal = self._folder / "journal.jsonl"
        self._topics = {name: f"{name}-{self.group}" for name in ("in", "out", "dead")}
        self._rounds = 0
        self._faults = 0
        self._crashes: list[int] = []
        self._last_words: list[str] = []
        self._marks: list[tuple[str, float, float]] = []
        self._supervising = threading.Lock()

    # ── the run ──────────────────────────────────────────────────────────────────────────────────

    def execute(self) -> Report:
        """Runs it, and gives everything back."""
        began = time.monotonic()
        self._folder.mkdir()
        for topic in self._topics.values():
            self.arena.kafka.create_topic(topic, PARTITIONS)
        self._audience = Audience(self.arena.servers, self.group, self._topics, PARTITIONS)
        self._feed = Feed(
            self.arena, self._topics["in"], self.size, lambda: self._audience.seen, lambda: not self._hurt_enough
        )
        try:
            self._go()
            self._audience.leave()
            for name, *during in self._marks:
                self.measures[name].append(self._audience.silence(self._feed, (during[0], during[1])))
            counts, aborted = self._audience.count(self._feed, self._journal)
        finally:
            self._give_back()
        done = happened(self._journal)
        report = Report(
            self.scenario,
            self.seed,
            len(self._feed.events),
            counts,
            aborted,
            self._faults + done.total(),
            self._crashes,
            done,
            dict(self.measures),
            time.monotonic() - began,
        )
        report.last_words = self._last_words
        if self._audience.copies:
            report.last_words.append(f"{self._audience.copies} records that the publisher knows nothing of")
        if report.bad:
            report.logs = "\n".join(
                [*self._audience.evidence, *(one.tail(60) for one in [*self._outlived, *self.instances])]
            )
        return report

    def _go(self) -> None:
        for _ in range(self.scenario.instances):
            self.instances.append(self.new_instance())
            self.start(self.instances[-1], wait=False)
        for instance in self.instances:
            instance.wait_until_ready(self.asked)
        self._feed.start()
        self._hurt()
        while self._feed.running and not self.stalled() and not self.asked.is_set():
            self.wait(lambda: not self._feed.running, 1.0)
        self._feed.stop()
        while not self.complete() and not self.stalled() and not self.asked.is_set():
            self.wait(self.complete, 1.0)
        for instance in self.instances:
            if instance.alive:
                self.wait(instance.ready, START_S)  # one just started may have no handler for SIGTERM yet
            self.down.add(instance)
            if instance.alive:
                self.ended(instance, instance.stop())

    def _hurt(self) -> None:
        """Faults, one after the other, with a few outcomes between, as long as events are published."""
        while not self.asked.is_set():
            until = self._audience.seen + self.random.randint(*self.size.between)
            self.wait(partial(self._enough, until), self.size.stall_s)
            if self._feed.over and self._hurt_enough:
                break
            fault = self.scenario.faults[self._rounds % len(self.scenario.faults)]
            fault(self)
            self._rounds += 1
            self._faults += fault not in WAITING

    @property
    def _hurt_enough(self) -> bool:
        return self._rounds >= self.scenario.rounds

    def _enough(self, outcomes: int) -> bool:
        return self._audience.seen >= outcomes or self._feed.over

    def _give_back(self) -> None:
        self._feed.stop()
        for instance in self.instances:
            with suppress(DiedError):
                instance.thaw()
                instance.kill()
        self.arena.heal(brokers=self.scenario.hurts_brokers, proxy=self.scenario.proxied != "none")
        self._audience.leave()
        self.arena.delete(*self._topics.values())

    # ── what faults ask ──────────────────────────────────────────────────────────────────────────

    def complete(self) -> bool:
        """Whether every event that was published has what it must have, as the readers saw it."""
        return self._audience.complete(self._feed)

    def stalled(self) -> bool:
        """Whether nothing has come for too long."""
        return time.monotonic() - max(self._audience.last_arrival, self.instances[0].started_at) > self.size.stall_s

    def wait(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        """Waits for something, keeping up instances that should be; whether it came true."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            self._supervise()
            self._tell(len(self._feed.events), self._audience.seen)
            if time.monotonic() > deadline or self.asked.wait(0.02):
                return condition()
        return True

    def pause(self, seconds: float) -> None:
        """Lets time pass: the length of a fault, which nothing else ends."""
        self.wait(lambda: False, seconds)

    def wait_for_outcome_after(self, moment: float) -> float:
        """Waits for the next outcome after a time (monotonic seconds); gives when it came, infinity if never."""
        self.wait(lambda: self._audience.first_after(moment) is not None, self.size.stall_s)
        return self._audience.first_after(moment) or float("inf")

    def mark(self, name: str, began: float) -> None:
        """From ``began`` (monotonic seconds) till now: the longest silence in it goes into the measures at the end."""
        self._marks.append((name, began, time.monotonic()))

    def running(self) -> list[Process]:
        """The instances that nobody holds down."""
        return [one for one in self.instances if one not in self.down]

    # ── instances ────────────────────────────────────────────────────────────────────────────────

    def new_instance(self, name: str = "") -> Process:
        """One more, not started; or another one of a name that there is already."""
        log = f"{name}-{self._rounds}" if name else f"instance-{len(self.instances) + 1}"
        name = name or log
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
        return Process(name, settings, self._folder / f"{log}.log", self.arena.lifeline)

    def start(self, instance: Process, *, wait: bool = True) -> None:
        """Starts an instance with its fate, and waits until it is ready unless told otherwise."""
        options = [*self.scenario.options, "--journal", str(self._journal)]
        if self.scenario.die_at and instance is self.instances[0] and not self._feed.over:
            passages = self.random.randint(*self.scenario.passages)
            if passages > 1:
                passages *= self.size.life
            options += ["--die", f"{self.scenario.die_at}:{passages}"]
        if self._broken:
            options += ["--break", self._broken]
        instance.start(options)
        self.down.discard(instance)
        if wait:
            instance.wait_until_ready(self.asked)

    def ended(self, instance: Process, code: int) -> None:
        """Notes an instance's end, unless it ended as asked or by its fate."""
        if code == -signal.SIGKILL and self.scenario.die_at and instance is self.instances[0]:
            self.fates_met += 1
            return
        if code == 0:
            return
        error = instance.last_error()
        self._last_words.append(f"{instance.name} ended with {code}: {error}")
        if not self.scenario.excuses(code, error, self._audience.coordinator_away_s()):
            self._crashes.append(code)

    def outlived(self, instance: Process) -> None:
        """Notes how one has ended that has a successor: as one that was told so, or it is a crash."""
        self._outlived.append(instance)
        code = instance.code()
        if code != FATAL:
            self._last_words.append(f"{instance.name}, which has a successor, ended with {code}")
            self._crashes.append(code or 0)

    def _supervise(self) -> None:
        """As an orchestrator does: what ended by itself is started again. Its exit code is told in the report."""
        if not self._supervising.acquire(blocking=False):
            return
        try:
            for instance in self.instances:
                code = instance.code()
                if instance in self.down or code is None:
                    continue
                self.ended(instance, code)
                self.start(instance, wait=False)
        finally:
            self._supervising.release()
