"""How our Kafka clients are made: the defaults that the service rests on, and what a user may change.

Everything that `consumer.kafka_settings` lets through wins over the defaults here.
"""

from __future__ import annotations

import logging
import os
import re
import secrets
import socket
from collections import deque
from dataclasses import dataclass
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicPartition

from consumer.errors import SettingsError
from consumer.kafka_settings import REFUSED, REPEATED_AFTER_MS, variable_of
from consumer.logs import Repeats, kafka_logger
from consumer.settings import Settings
from consumer.stream.prompt import PromptConsumer
from consumer.stream.timely import TimelyProducer

log = logging.getLogger(__name__)

Config = dict[str, Any]

CommitAnswer = tuple[KafkaError | None, list[TopicPartition]]
"""What librdkafka says of a commit: an error of the whole, and each partition's offset with its own."""

CLASSIC_ONLY = ("session.timeout.ms", "heartbeat.interval.ms", "partition.assignment.strategy")
"""Properties that ``group.protocol=consumer`` refuses: there the broker decides."""


@dataclass(frozen=True, slots=True)
class Instance:
    """Who this process is to the brokers.

    With a stable name its restart takes over its place in the group (static membership) and its
    transactions at once. A made-up one is new with every start.
    """

    name: str
    stable: bool

    @classmethod
    def of(cls, settings: Settings) -> Instance:
        """The configured name, or a fresh one that no other process has."""
        if settings.instance_id:
            return cls(settings.instance_id, stable=True)
        return cls(f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}", stable=False)


AWAY = {KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN, KafkaError._RESOLVE, KafkaError._TIMED_OUT}
"""Several words for one trouble: three brokers that are away complain in turn, each in its own."""


class Troubles:
    """The last thing that a client complained about: the reason that its calls do not give.

    A wrong password shows in the error callback only; the call itself just times out. librdkafka complains
    at every attempt to connect; one line in 30 s is enough.
    """

    def __init__(self, client: str) -> None:
        self._client = client
        self._repeats = Repeats(log)
        self.last: str | None = None

    def __call__(self, error: KafkaError) -> None:
        """librdkafka's ``error_cb``."""
        if error.code() == KafkaError._ALL_BROKERS_DOWN and self.last is not None:
            return  # follows each failure of the only broker, and says less
        text = re.sub(r" \(after [^)]*\)", "", error.str())
        self._repeats.warning("away" if error.code() in AWAY else error.code(), "Kafka %s: %s", self._client, text)
        self.last = text


def common(settings: Settings, instance: Instance, kind: str) -> Config:
    """What each of our clients has."""
    return {
        "bootstrap.servers": settings.kafka.bootstrap_servers,
        "client.id": f"image-consumer-{instance.name}",
        "logger": kafka_logger(),
        "error_cb": Troubles(kind),
        "log_level": 2,  # critical: failed connections are told by error_cb, once
        "reconnect.backoff.max.ms": 2_000,  # of 10 s: a broker that is back is noticed at once
        # Of true for producers and admin clients: a question about a topic that was deleted would make it again, with
        # the broker's default number of partitions.
        "allow.auto.create.topics": False,
    }


def consumer_config(settings: Settings, instance: Instance) -> Config:
    """The consumer of the input topic."""
    given = settings.kafka.for_consumer()
    config = common(settings, instance, "consumer") | {
        "group.id": settings.kafka.group_id,
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "isolation.level": "read_committed",
        "enable.partition.eof": True,  # tells an empty partition from one whose last offsets are markers
        "partition.assignment.strategy": "cooperative-sticky",
        "session.timeout.ms": 10_000,  # of 45 s: the silence after a crash without INSTANCE_ID
        # Of 3 s. A member notices a rebalance at its next heartbeat, and a partition that moves waits for two of
        # them. A heartbeat is some 100 bytes.
        "heartbeat.interval.ms": 300,
        "max.poll.interval.ms": 60_000,  # of 300 s: how long a member that is stuck holds the group up
        "fetch.wait.max.ms": 100,
        "queued.max.messages.kbytes": 8 * 1024,  # of 64 MiB: an event is about 200 bytes
        "topic.metadata.refresh.interval.ms": 30_000,  # of 300 s: how soon a new partition is found
    }
    if instance.stable:
        config["group.instance.id"] = instance.name
    if given.get("group.protocol", "classic").lower() == "consumer":
        for name in CLASSIC_ONLY:
            config.pop(name, None)
        # There a name is its dead owner's until the broker's session ends (45 s by default), and whoever comes back
        # under it meanwhile is refused for good (UNRELEASED_INSTANCE_ID). Only the transactions have it, then.
        config.pop("group.instance.id", None)
    # What a user wants where an offset is missing is `consumer.stream.placement`'s to do: see `strict`.
    return config | given | {"auto.offset.reset": "error"}


def is_strict(settings: Settings) -> bool:
    """Whether the service ends where an offset is missing, rather than go on at the first that is there."""
    return settings.kafka.for_consumer().get("auto.offset.reset") == "error"


def producer_config(settings: Settings, instance: Instance) -> Config:
    """The producer of outcomes and dead letters; transactional under ``exactly-once``."""
    config = common(settings, instance, "producer") | {
        "enable.idempotence": True,
        "acks": "all",
        "linger.ms": 1,  # a publication is flushed as a whole, so waiting for company costs latency only
        "compression.type": "lz4",
        "message.max.bytes": 2 * 2**20,  # of 1 MB: a dead letter is its event plus headers; brokers decide
    }
    transactional = settings.delivery == "exactly-once"
    if transactional:
        config["transactional.id"] = f"{settings.kafka.group_id}-{instance.name}"
        config["transaction.timeout.ms"] = 10_000  # of 60 s: how long a dead instance's outcomes block readers
        # Of 100 ms: how a request that was sent twice is told from one that was not, by the time that its answer
        # took (`consumer.stream.exactly_once.PROMPT_S`).
        config["retry.backoff.ms"] = config["reconnect.backoff.ms"] = REPEATED_AFTER_MS
    else:
        config["message.timeout.ms"] = 30_000
    return config | settings.kafka.for_producer(transactional=transactional)


def admin_config(settings: Settings, instance: Instance) -> Config:
    """The client that asks about topics and rights."""
    return common(settings, instance, "admin client") | settings.kafka.for_admin()


UNHURRIED_S = 3600.0
"""How long a question to a group's coordinator may take: the most that librdkafka allows. Where the time runs out
before the coordinator is found, librdkafka aborts the whole process once it is: an assertion on memory that it has
freed (rd_kafka_admin_coord_request in rdkafka_admin.c, librdkafka #4605). So whoever waits no longer lets go of the
client, with which the question ends in order."""


class AnsweringConsumer(PromptConsumer):
    """A consumer that keeps what became of its commits: the answers come inside ``poll``."""

    def __init__(self, config: Config) -> None:
        self.commit_answers: deque[CommitAnswer] = deque()
        super().__init__(config | {"on_commit": lambda *answer: self.commit_answers.append(answer)})


def make_consumer(config: Config) -> AnsweringConsumer:
    """A consumer, or a `SettingsError` that names the variable which librdkafka refuses."""
    try:
        return AnsweringConsumer(config)
    except KafkaException as error:
        raise _refused(error, config) from None


def make_producer(config: Config) -> TimelyProducer:
    """A producer, or a `SettingsError` that names the variable which librdkafka refuses."""
    try:
        return TimelyProducer(config)
    except KafkaException as error:
        raise _refused(error, config) from None


ALIASES = {
    "queue.buffering.max.ms": "linger.ms",
    "message.send.max.retries": "retries",
    "max.in.flight": "max.in.flight.requests.per.connection",
    "compression.codec": "compression.type",
    "message.timeout.ms": "delivery.timeout.ms",
    "metadata.broker.list": "bootstrap.servers",
    "request.required.acks": "acks",
    "sasl.mechanisms": "sasl.mechanism",
}
"""The two names of a property: whichever was set, librdkafka may complain of the other."""


def _refused(error: KafkaException, config: Config) -> SettingsError:
    text = error.args[0].str()
    names = {own: other for own, other in ALIASES.items() if other in config}
    names |= {other: own for own, other in ALIASES.items() if own in config}
    names |= {name: name for name in config}
    # What nobody could have set is named as the reason only: max.in.flight must be 5 when enable.idempotence is true.
    named = max((one for one in names if one in text), key=lambda one: (one not in REFUSED, len(one)), default=None)
    if named is None:
        return SettingsError(f"librdkafka refuses: {text}")
    return SettingsError(f"{variable_of(names[named])} is not accepted: {text}")
