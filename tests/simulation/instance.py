"""One instance of the service in its process: the real loop over clients that are not."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Literal, cast

from confluent_kafka.admin import AdminClient
from greenlet import greenlet

from consumer.breaker import Breaker
from consumer.health import Health
from consumer.metrics import Metrics
from consumer.settings import Settings
from consumer.stream import clients
from consumer.stream.at_least_once import PlainPublisher
from consumer.stream.core import StreamCore
from consumer.stream.exactly_once import TransactionalPublisher
from consumer.stream.identity import TopicIdentity
from consumer.stream.limits import Limits
from consumer.stream.loop import StreamLoop
from consumer.stream.orphans import Orphans
from consumer.stream.publisher import Publisher
from consumer.stream.seat import Seat
from consumer.stream.source import Source
from tests.simulation.admin import Admin
from tests.simulation.agenda import Agenda
from tests.simulation.broker import Broker
from tests.simulation.consumer import Consumer
from tests.simulation.debts import WatchedPublisher
from tests.simulation.dice import Dice
from tests.simulation.group import Assignor
from tests.simulation.outage import Outages, Patience
from tests.simulation.process import Process
from tests.simulation.producer import Producer
from tests.simulation.work import DEAD_LETTERS, OUTPUT, Place, SimulatedInbox, SimulatedWork

if TYPE_CHECKING:
    from tests.simulation.oracle import Oracle

LARGEST = 10_000
"""The producers' ``message.max.bytes``."""

METRICS = Metrics()
"""One for all: counting is not what is tested here, and making them takes longer than a short history."""

LOOK_S = 0.1
"""How often somebody looks whether an answer is there, who waits for it and for nothing else."""

REPORT_EVERY_S = 10.0
"""Rarer than the service's second, which would be an eighth of a campaign's time."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What instances are made of; a test puts a broken one in the place of a sound one."""

    core: Callable[[Limits], StreamCore] = StreamCore
    source: type[Source] = Source
    loop: type[StreamLoop] = StreamLoop
    transactional: type[TransactionalPublisher] = TransactionalPublisher
    plain: type[PlainPublisher] = PlainPublisher
    breaker: type[Breaker] = Breaker
    publisher: Literal["exactly-once", "at-least-once"] = "exactly-once"


SOUND = Parts()


@dataclass(frozen=True, slots=True)
class Name:
    """`consumer.stream.clients.Instance`, without its process id."""

    name: str
    stable: bool


@cache
def consumer_config(assignor: Assignor) -> dict[str, Any]:
    """The properties that the service gives its consumer."""
    chosen = "KAFKA_GROUP_PROTOCOL" if assignor == "consumer" else "KAFKA_PARTITION_ASSIGNMENT_STRATEGY"
    settings = Settings.from_env({chosen: assignor})
    return clients.consumer_config(settings, clients.Instance("simulated", stable=False))


class SimulatedInstance:
    """Runs at once; ``ended`` is told of its end unless it is killed."""

    def __init__(
        self,
        name: Name,
        agenda: Agenda,
        dice: Dice,
        broker: Broker,
        oracle: Oracle,
        *,
        parts: Parts,
        limits: Limits,
        assignor: Assignor,
        longest_s: float,
        threads: int,
        outages: Outages,
        hub: greenlet,
        ended: Callable[[SimulatedInstance, BaseException | None], None],
    ) -> None:
        self.name = name
        self.leaving = False
        self.process = process = Process(name.name, agenda, dice, self._run, lambda error: ended(self, error), hub=hub)
        static = name.stable and assignor != "consumer"
        config = consumer_config(assignor) | ({"group.instance.id": name.name} if static else {})
        consumer = Consumer(process, broker, agenda, dice, config)
        admin = partial(Admin, process, broker, agenda, dice)
        orphans = None
        if static and assignor != "range":
            orphans = Orphans(cast(Callable[[], AdminClient], admin), "group", broker.input, agenda.clock)
        seat = Seat(cast(Callable[[], AdminClient], admin), "group", name.name, self._wait) if static else None
        identity = TopicIdentity(cast(AdminClient, admin()), broker.input, agenda.clock)
        source = parts.source(
            cast(clients.AnsweringConsumer, consumer),
            broker.input,
            orphans=orphans,
            identity=identity,
            seat=seat,
            clock=agenda.clock,
        )

        def begun(place: Place) -> None:
            oracle.begun(consumer.began, place, unaware=identity.mark != broker.mark)

        breaker = parts.breaker(longest_s)  # nothing takes longer here, so that is the fetch's deadline
        work = SimulatedWork(
            process,
            agenda,
            dice,
            longest_s=longest_s,
            threads=threads,
            outages=outages,
            patience=Patience(longest_s, oracle.complain),
            terms=source.terms,
            begun=begun,
            complain=oracle.complain,
        )
        exactly = parts.publisher == "exactly-once"

        def make() -> Producer:
            transactional = f"group-{name.name}" if exactly else None
            return Producer(
                process, broker, agenda, dice, name=transactional, largest=LARGEST, ended=oracle.ended,
                produced=work.produced,
            )  # fmt: skip

        publisher: Publisher
        if exactly:
            publisher = parts.transactional(
                make,
                source,
                stable_name=name.stable,
                transaction_timeout_s=10.0,
                topics=(OUTPUT, DEAD_LETTERS),
                clock=agenda.clock,
                pause=process.wait,
            )
        else:
            publisher = WatchedPublisher(
                parts.plain(make, source, largest=LARGEST, clock=agenda.clock),
                terms=source.terms,
                committed=oracle.committed_up_to,
                stops=lambda: process.stops,
                clock=agenda.clock,
                complain=oracle.complain,
            )
        self._loop = parts.loop(
            parts.core(limits),
            source,
            publisher,
            work,
            topic=broker.input,
            drain_s=5.0,
            metrics=METRICS,
            health=Health(60.0, clock=agenda.clock),
            breaker=breaker,
            ask=work.ask,
            report_every_s=REPORT_EVERY_S,
            clock=agenda.clock,
            now=agenda.clock,
            inbox=SimulatedInbox(process),
        )
        process.start()

    @property
    def alive(self) -> bool:
        """Whether it runs and is to go on running."""
        return not (self.process.dead or self.leaving)

    def leave(self) -> None:
        """SIGTERM."""
        self.leaving = True
        self._loop.stop()
        self.process.wake()

    def _wait(self, answer: Future[Any], most_s: float) -> None:
        for _ in range(round(most_s / LOOK_S)):
            if not answer.done():
                self.process.wait(LOOK_S)

    def _run(self) -> None:
        self._loop.run()
