"""The stream around a breaker, in a small world: one broker in memory, hosts that come and go, a clock of its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from queue import SimpleQueue
from typing import cast

from consumer.breaker import Breaker
from consumer.errors import ConnectFailed, FetchTimeout
from consumer.evidence import evidence
from consumer.health import Health
from consumer.metrics import Metrics
from consumer.records import Message, Outcome, Record
from consumer.stream.core import StreamCore
from consumer.stream.limits import Limits
from consumer.stream.loop import Finished, StreamLoop
from consumer.stream.protocol import Publish, Published, Result
from consumer.stream.publisher import Publisher
from consumer.stream.source import Listener, Source

IN_FLIGHT = 64
DRAIN_S = 25.0


class World:
    """Hosts that answer or do not, a model that does or does not, and a topic of two partitions.

    Attributes:
        down: the hosts that do not answer; ``*`` is all of them.
        hangs: whether whoever is asked does not answer until the deadline, even if it ends before that.
        takes_s: what work for a host takes; nothing if it is not in here. What it comes to is decided at its end.
    """

    def __init__(self, events: Iterable[tuple[int, str]], in_flight: int = IN_FLIGHT, deadline_s: float = 10.0) -> None:
        self.now = 0.0
        self._stood_s = 0.0
        self.takes_s: dict[str, float] = {}
        self.hangs = False
        self.questions: Counter[str] = Counter()
        self._questions: list[tuple[float, Future[None]]] = []
        self._deadline_s = deadline_s
        self._working: list[tuple[float, Future[Outcome], Record, str | None]] = []
        self.down: set[str] = set()
        self.model_fails = False
        self.asked: Counter[str] = Counter()
        self.published: list[tuple[int, int, str | None]] = []
        self.topic: dict[int, list[Record]] = {0: [], 1: []}
        self.listener: Listener | None = None
        self.paused: set[int] = set()
        self.polls = 0
        for partition, host in events:
            self.put(partition, host)
        self.health = Health(60, clock=self.clock)
        self.health.running()
        self.core = StreamCore(Limits(in_flight=in_flight, queued=32))
        self.loop = StreamLoop(
            self.core,
            cast(Source, self),
            cast(Publisher, self),
            self,
            topic="in",
            drain_s=DRAIN_S,
            metrics=Metrics(),
            health=self.health,
            breaker=Breaker(deadline_s),
            ask=self.ask,
            clock=self.clock,
            now=self.clock,
            inbox=_Inbox(),
            stood_still_s=self._stood_still_s,
        )
        self.loop._source.subscribe(self.loop)  # what `run` does first
        self.loop.assigned([0, 1])

    def clock(self) -> float:
        self.now += 1e-6
        return self.now

    def put(self, partition: int, host: str) -> None:
        records = self.topic[partition]
        records.append(Record("in", partition, len(records), 0, None, host.encode()))

    def turn(self, seconds: float, step_s: float = 0.05) -> None:
        for _ in range(round(seconds / step_s)):
            over = [one for one in self._working if one[0] <= self.now]
            self._working = [one for one in self._working if one[0] > self.now]
            for _, done, record, code in over:
                done.set_result(self._outcome(record, code))
            for when, answer in self._questions:
                if when <= self.now and not answer.done():
                    answer.set_exception(FetchTimeout("nobody answers"))
            self.loop.tick()
            self.now += step_s

    def freeze(self, seconds: float) -> None:
        """The process stands still: of what is in flight one has its answer, and all others miss their deadline."""
        self.now += seconds
        self._stood_s = seconds
        first, *others = self._working
        self._working = [first, *((self.now, done, record, "fetch_timeout") for _, done, record, _ in others)]

    def _stood_still_s(self) -> float:
        stood_s, self._stood_s = self._stood_s, 0.0
        return stood_s

    def outcomes(self, code: str | None) -> int:
        return sum(one[2] == code for one in self.published)

    @property
    def held(self) -> str:
        return next((one.text for one in self.health.ready().reasons if one.name == "breaker"), "")

    # ── the work ─────────────────────────────────────────────────────────────────────────────────

    def submit(self, record: Record) -> Future[Outcome]:
        host = _host(record)
        self.asked[host] += 1
        done: Future[Outcome] = Future()
        if self.hangs or host in self.takes_s:
            done.set_running_or_notify_cancel()
            takes_s = self._deadline_s if self.hangs else self.takes_s[host]
            self._working.append((self.now + takes_s, done, record, "fetch_timeout" if self.hangs else None))
        else:
            done.set_result(self._outcome(record))
        return done

    def ask(self, url: str) -> Future[None]:
        """Whether its host can be reached: known at once, unless it hangs."""
        host = url.removeprefix("http://").removesuffix("/")
        self.questions[host] += 1
        answer: Future[None] = Future()
        if self.hangs:
            self._questions.append((self.now + self._deadline_s, answer))
        elif host in self.down or "*" in self.down:
            answer.set_exception(ConnectFailed("it is down"))
        else:
            answer.set_result(None)
        return answer

    def _outcome(self, record: Record, code: str | None = None) -> Outcome:
        host = _host(record)
        if code is not None:
            pass
        elif host == "missing":
            code = "http_status"
        elif host in self.down or "*" in self.down:
            code = "connect_failed" if self.takes_s.get(host, 0.0) < self._deadline_s else "fetch_timeout"
        elif self.model_fails:
            code = "model_failed"
        message = Message("out", None, f"{record.partition} {record.offset}".encode(), (), 0)
        told = evidence(f"http://{host}/", code)
        return Outcome("failed" if code else "predicted", (message,), code, evidence=told)

    # ── the clients ──────────────────────────────────────────────────────────────────────────────

    def subscribe(self, listener: Listener) -> None:
        self.listener = listener
        self.read = {0: 0, 1: 0}

    def poll(self, most: int, timeout_s: float) -> list[Record]:
        self.polls += 1
        found: list[Record] = []
        for partition in self.core.partitions - self.paused:
            while len(found) < most and self.read[partition] < len(self.topic[partition]):
                found.append(self.topic[partition][self.read[partition]])
                self.read[partition] += 1
        return found

    def pause(self, partitions: Iterable[int]) -> None:
        self.paused |= set(partitions)

    def resume(self, partitions: Iterable[int]) -> None:
        self.paused -= set(partitions)

    def joined(self) -> bool:
        return True

    def in_vain(self) -> bool:
        return False

    def unbegun(self) -> Mapping[int, bool]:
        return {}

    def lag(self, partition: int, next_offset: int | None) -> int | None:
        return len(self.topic[partition]) - (self.read[partition] if next_offset is None else next_offset)

    def publish(self, publication: Publish, budget_s: float) -> Published:
        for claim, outcome in zip(publication.claims, publication.outcomes, strict=True):
            self.published.append((claim.partition, claim.offset, outcome.code))
        return Published(Result.COMMITTED)

    def start(self, budget_s: float) -> None:
        """Nothing to do."""

    def tend(self) -> None:
        """Nothing to do."""

    def abort_hanging(self) -> None:
        """Nothing to do."""

    def close(self, budget_s: float = 0.0) -> None:
        """Nothing to do."""

    def committed(self, partitions: Iterable[int], timeout_s: float) -> Mapping[int, int] | None:
        raise AssertionError("no publication fails here")


class _Inbox(SimpleQueue[Finished]):
    """Waits for nobody: time is the world's."""

    def get(self, block: bool = True, timeout: float | None = None) -> Finished:
        return super().get_nowait()


def _host(record: Record) -> str:
    assert record.value is not None
    return record.value.decode()
