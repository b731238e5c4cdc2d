"""``KAFKA_…`` variables: any librdkafka property, for every client that has it.

``KAFKA_LINGER_MS`` reaches each client that knows ``linger.ms``; ``KAFKA_CONSUMER_…`` and
``KAFKA_PRODUCER_…`` reach one kind. A property that the delivery guarantee rests on is refused.
Values are librdkafka's business: a wrong one is found when the client is made.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Final, Literal

from consumer.errors import SettingsError

Scope = Literal["*", "C", "P"]

EMBEDDED = "embedded"
"""``KAFKA_BOOTSTRAP_SERVERS`` of this value makes the service start a broker of its own."""

FOREIGN = re.compile(
    r"KAFKA_(HOME|OPTS|HEAP_OPTS|GC_LOG_OPTS|JMX_OPTS|JMX_PORT|LOG4J_OPTS|JVM_PERFORMANCE_OPTS"
    r"|SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_[0-9]+_(TCP|UDP)(_(PROTO|PORT|ADDR))?)?)"
)
"""Variables of others: of Kafka's own scripts, and the links that Kubernetes makes for a Service that
is called kafka. They neither stop the start nor take part."""

REFUSED = {
    "enable.auto.commit": "offsets are committed with their outcomes",
    "auto.commit.interval.ms": "offsets are committed with their outcomes",
    "auto.commit.enable": "offsets are committed with their outcomes",
    "enable.auto.offset.store": "the ledger knows which offsets are finished",
    "offset.store.method": "offsets live in the group",
    "offset.store.path": "offsets live in the group",
    "isolation.level": "events of aborted transactions are no events",
    "enable.idempotence": "a retry must not double an outcome",
    "acks": "an outcome must be on every in-sync replica before its offset is committed",
    "request.required.acks": "an outcome must be on every in-sync replica before its offset is committed",
    "enable.gapless.guarantee": "it is implied",
    "delivery.report.only.error": "an outcome counts as delivered once its report says so",
    "transactional.id": "set INSTANCE_ID instead",
    "group.instance.id": "set INSTANCE_ID instead",
    "partitioner": "keys go where Java clients put them (murmur2)",
}

REPEATED_AFTER_MS: Final = 300
"""How soon a transactional producer sends a request once more, at the least: by the time that an answer took,
`consumer.stream.exactly_once` tells a request that was sent once from one that was sent twice."""

REPEATING = ("retry.backoff.ms", "retry.backoff.max.ms", "reconnect.backoff.ms")
"""The properties that say how soon. (librdkafka itself refuses a ``reconnect.backoff.max.ms`` below the other.)"""

SECRET = re.compile(r"password|passphrase|secret|sasl\.oauthbearer\.config|pem$|jaas")


@dataclass(frozen=True, slots=True)
class KafkaSettings:
    """Properties as they were given: for every client, for consumers only, for producers only."""

    common: Mapping[str, str] = field(default_factory=dict)
    consumer_only: Mapping[str, str] = field(default_factory=dict)
    producer_only: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> KafkaSettings:
        """Sorts the ``KAFKA_`` variables by the clients that they reach.

        Raises:
            SettingsError: no such property, one that another kind of client has, or one that the
                delivery guarantee rests on.
        """
        common: dict[str, str] = {}
        consumer: dict[str, str] = {}
        producer: dict[str, str] = {}
        for variable, value in environ.items():
            if not variable.startswith("KAFKA_") or FOREIGN.fullmatch(variable) or value == "":
                continue
            for prefix, into, scopes in (
                ("KAFKA_CONSUMER_", consumer, "*C"),
                ("KAFKA_PRODUCER_", producer, "*P"),
                ("KAFKA_", common, "*CP"),
            ):
                if variable.startswith(prefix):
                    into[_property(variable, prefix, value, scopes)] = value
                    break
        return cls(common, consumer, producer)

    @property
    def bootstrap_servers(self) -> str:
        """Where the brokers are, or ``embedded``."""
        return self.common.get("bootstrap.servers", "localhost:9092")

    @property
    def group_id(self) -> str:
        """The consumer group that this instance belongs to."""
        return self.for_consumer().get("group.id", "image-consumer")

    def embedded_at(self, address: str) -> KafkaSettings:
        """These settings with the embedded broker's address, and what makes it answer quickly.

        Its empty fetches sleep for the whole ``fetch.wait.max.ms``, and its group waits for the whole
        session of a member that left.
        """
        common = dict(self.common) | {"bootstrap.servers": address}
        quick = {"fetch.wait.max.ms": "10", "session.timeout.ms": "6000"}
        return KafkaSettings(common, quick | dict(self.consumer_only), self.producer_only)

    def for_consumer(self) -> dict[str, str]:
        """What was set for consumers, the narrower variable winning."""
        return {k: v for k, v in self.common.items() if _scopes()[k] in "*C"} | dict(self.consumer_only)

    def for_producer(self, *, transactional: bool = True) -> dict[str, str]:
        """What was set for producers, the narrower variable winning; a plain one is spared transactional properties."""
        given = {k: v for k, v in self.common.items() if _scopes()[k] in "*P"} | dict(self.producer_only)
        return {k: v for k, v in given.items() if transactional or not k.startswith("transaction")}

    def check_transactional(self) -> None:
        """Whether a transactional producer can be made of what was set.

        Raises:
            SettingsError: it would send a request once more sooner than `REPEATED_AFTER_MS`.
        """
        given = self.for_producer()
        for name in REPEATING:
            value = given.get(name, str(REPEATED_AFTER_MS))
            # librdkafka also reads 0100 and 0x64, which are less than they look.
            if not re.fullmatch(r"[1-9][0-9]{2,8}", value) or int(value) < REPEATED_AFTER_MS:
                variable = variable_of(name, "KAFKA_PRODUCER_" if name in self.producer_only else "KAFKA_")
                raise SettingsError(
                    f"{variable}={value!r} is not accepted: under exactly-once it takes {REPEATED_AFTER_MS} or more "
                    "(milliseconds): a request that is repeated sooner could pass for one that was sent once; "
                    f"{variable_of(name, 'KAFKA_CONSUMER_')} is free"
                )

    def for_admin(self) -> dict[str, str]:
        """What was set for every kind of client: addresses, security, time-outs."""
        return {k: v for k, v in self.common.items() if _scopes()[k] == "*"}

    def rows(self) -> list[tuple[str, str, str, str, bool]]:
        """The lines of `Settings.rows` for Kafka: the two defaults, then whatever was set."""
        meanings = {
            "bootstrap.servers": ("localhost:9092", "brokers, host:port, comma separated; or embedded"),
            "group.id": ("image-consumer", "consumer group"),
        }
        given = [("KAFKA_", self.common), ("KAFKA_CONSUMER_", self.consumer_only)]
        given.append(("KAFKA_PRODUCER_", self.producer_only))
        rows = []
        for name, (default, meaning) in meanings.items():
            value = self.common.get(name, default)
            rows.append((variable_of(name), value, default, meaning, value != default))
        for prefix, properties in given:
            for name, value in sorted(properties.items()):
                if prefix == "KAFKA_" and name in meanings:
                    continue
                told = "***" if SECRET.search(name) else value
                rows.append((variable_of(name, prefix), told, "", f"librdkafka's {name}", True))
        return rows


def variable_of(name: str, prefix: str = "KAFKA_") -> str:
    """The variable that sets a property: ``linger.ms`` → ``KAFKA_LINGER_MS``."""
    return prefix + name.upper().replace(".", "_")


@cache
def _scopes() -> dict[str, Scope]:
    """Property → the kinds of client that have it."""
    lines = files("consumer").joinpath("librdkafka_properties.txt").read_text("ascii").splitlines()
    return {line[2:]: line[0] for line in lines if line and not line.startswith("#")}  # type: ignore[misc] # one letter is a key of the Literal


@cache
def _by_variable() -> dict[str, str]:
    """The part of a variable's name after its prefix → the property."""
    return {variable_of(name, ""): name for name in _scopes()}


def _property(variable: str, prefix: str, value: str, scopes: str) -> str:
    rest = variable.removeprefix(prefix)
    name = _by_variable().get(rest)
    if name is None:
        near = difflib.get_close_matches(rest, _by_variable(), n=1, cutoff=0.6)
        hint = f"did you mean {prefix}{near[0]}?" if near else "see librdkafka's CONFIGURATION.md"
        raise SettingsError(f"{variable} names no librdkafka property: {hint}")
    if name in REFUSED:
        raise SettingsError(f"{variable} must not be set: {REFUSED[name]}")
    if _scopes()[name] not in scopes:
        kind = "producers" if _scopes()[name] == "P" else "consumers"
        raise SettingsError(f"{variable}: only {kind} have {name}, set {variable_of(name)}")
    if name == "auto.offset.reset" and value not in {"earliest", "smallest", "beginning", "error"}:
        raise SettingsError(
            f"{variable}={value!r} is not accepted: it takes earliest or error, since latest would skip "
            "events of new partitions; to begin at the end, set the group's offsets there before the start"
        )
    return name
