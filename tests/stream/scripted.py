"""A producer whose calls fail as a test says, and a publisher that uses it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from confluent_kafka import KafkaError, KafkaException, Producer

from consumer.records import Message, Outcome
from consumer.stream.exactly_once import TransactionalPublisher
from consumer.stream.protocol import Claim, Publish
from consumer.stream.source import Source

RETRIABLE = KafkaError(KafkaError.COORDINATOR_LOAD_IN_PROGRESS, "later", False, True, False)
ABORTABLE = KafkaError(KafkaError._INCONSISTENT, "a message failed", False, False, True)
FATAL = KafkaError(KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER, "broke", True, False, False)
FENCED = KafkaError(KafkaError._FENCED, "fenced", True, False, False)
NONE_OF_THREE = KafkaError(KafkaError.UNKNOWN, "who knows", False, False, False)
GENERATION = KafkaError(KafkaError.ILLEGAL_GENERATION, "moved on", False, False, False)
TIMED_OUT = KafkaError(KafkaError._TIMED_OUT, "no answer", False, True, False)
BAD_STATE = KafkaError(KafkaError.INVALID_TXN_STATE, "bad state", False, False, False)
CONCURRENT = KafkaError(KafkaError.CONCURRENT_TRANSACTIONS, "another one", False, True, False)
FORBIDDEN_ID = KafkaError(KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED, "no right", True, False, False)


class Scripted:
    """A producer whose calls fail as a script says, one error for each call, and then succeed."""

    def __init__(self, calls: list[str], script: dict[str, list[KafkaError]]) -> None:
        self._calls = calls
        self._script = script

    def _call(self, name: str) -> None:
        self._calls.append(name)
        if self._script.get(name):
            raise KafkaException(self._script[name].pop(0))

    def init_transactions(self, _: float) -> None:
        self._call("init")

    def begin_transaction(self) -> None:
        self._call("begin")

    def produce(self, *_: Any, on_delivery: Any, **__: Any) -> None:
        self._call("produce")
        on_delivery(None, None)

    def flush(self, _: float) -> int:
        return 0

    def __len__(self) -> int:
        return 0

    def send_offsets_to_transaction(self, *_: Any) -> None:
        self._call("offsets")

    def commit_transaction(self, _: float) -> None:
        self._call("commit")

    def abort_transaction(self, _: float) -> None:
        self._call("abort")

    def list_topics(self, topic: str, timeout: float) -> Any:
        return SimpleNamespace(topics={topic: SimpleNamespace(error=None, partitions={0: None})})

    def purge(self) -> None:
        self._calls.append("purge")

    def poll(self, _: float) -> int:
        if self._script.get("poll"):
            raise KafkaException(self._script["poll"].pop(0))
        return 0


class Still:
    """A source that is a member, of an assignment that does not change."""

    def group_metadata(self) -> str:
        return "metadata"

    def positions(self, offsets: Any) -> list[Any]:
        return list(offsets.items())


class Ticking:
    """Seconds; each look takes some."""

    def __init__(self, look_s: float) -> None:
        self._now = 0.0
        self.look_s = look_s

    def __call__(self) -> float:
        self._now += self.look_s
        return self._now


def scripted(
    script: dict[str, list[KafkaError]],
    *,
    stable: bool = True,
    look_s: float = 0.05,
    brokers_clock: Ticking | None = None,
) -> tuple[TransactionalPublisher, list[str]]:
    calls: list[str] = []
    publisher = TransactionalPublisher(
        lambda: cast(Producer, Scripted(calls, script)),
        cast(Source, Still()),
        stable_name=stable,
        transaction_timeout_s=10.0,
        clock=Ticking(look_s),
        brokers_clock=brokers_clock,
        pause=lambda _: calls.append("pause"),
    )
    publisher.start(5.0)
    calls.clear()
    return publisher, calls


ONE = Publish((Claim(0, 1, 0),), (Outcome("predicted", (Message("out", b"k", b"v", (), 0),)),), {0: 1})
GOOD = ["begin", "produce", "offsets", "commit"]
