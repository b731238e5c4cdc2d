"""Plays a scenario with clients of either kind: those of confluent-kafka, or the simulated ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from confluent_kafka import KafkaException, TopicPartition

from tests.simulation.group import Assignor
from tests.simulation.scenarios import Scenario

ANSWER_S = 5.0
PATIENCE_S = 20.0


class Stage(Protocol):
    """Where a scenario is played: topics ``in`` with two partitions and ``out`` with one."""

    input: str
    output: str

    def producer(self, name: str, timeout_s: float) -> Any:
        """A transactional producer: 10 000 bytes a message at most, of which the broker takes 5 000."""

    def consumer(self, instance: str | None, assignor: Assignor = "range") -> Any:
        """A consumer of the group, ``read_committed``."""

    def nobody(self) -> Any:
        """Metadata of a consumer that never joined."""

    def wait(self, seconds: float) -> None:
        """Lets time pass."""

    def now(self) -> float:
        """Seconds."""

    def read(self) -> list[bytes]:
        """What a ``read_committed`` reader finds in ``out``."""


class Player:
    """Carries out the steps; `play` gives the answers."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._producers: dict[str, Any] = {}
        self._consumers: dict[str, Any] = {}
        self._assigned: dict[str, list[int] | None] = {}
        self._metadata: dict[str, Any] = {}
        self._told: dict[str, int] = {}
        """How often a consumer was told what it is to have."""

    def play(self, scenario: Scenario) -> list[tuple[str, str]]:
        """Each step and its answer, in the form of the scenario's own steps."""
        return [(step, self._step(step)) for step, _ in scenario.steps]

    def close(self) -> None:
        """Gives everything back."""
        for one in self._consumers.values():
            one.close()

    def _step(self, step: str) -> str:
        actor, _, rest = step.partition(" ")
        try:
            return str(self._do(actor, rest))
        except KafkaException as raised:
            error = raised.args[0]
            kind = "plain"
            if error.fatal():
                kind = "fatal"
            elif error.txn_requires_abort():
                kind = "abortable"
            elif error.retriable():
                kind = "retriable"
            return f"{kind} {error.name()}"

    def _do(self, actor: str, rest: str) -> object:
        words = rest.split()
        if actor == "read":
            return self._read(int(words[0]))
        if actor == "wait":
            self._stage.wait(float(words[0]))
            return "ok"
        if actor.startswith("m"):
            name = words[-1]
            metadata = self._stage.nobody() if name == "nobody" else self._consumers[name].consumer_group_metadata()
            self._metadata[actor] = metadata
            return "ok"
        return self._produce(actor, words) if actor.startswith("p") else self._consume(actor, words)

    def _produce(self, actor: str, words: list[str]) -> object:
        if words[0] in ("init", "made") and len(words) > 1:
            timeout_s = float(words[4]) if len(words) > 3 else 30.0
            self._producers[actor] = self._stage.producer(words[2], timeout_s)
        producer = self._producers[actor]
        match words:
            case ["init", *_]:
                self._again(producer.init_transactions)
            case ["begin"]:
                producer.begin_transaction()
            case ["produce", *what]:
                value = b"x" * int(what[0]) if len(what) > 1 else what[0].encode()
                producer.produce(self._stage.output, key=None, value=value, headers=[], partition=0)
            case ["flush"]:
                assert producer.flush(ANSWER_S) == 0
            case ["offsets", offset, "by", name]:
                place = [TopicPartition(self._stage.input, 0, int(offset))]
                producer.send_offsets_to_transaction(place, self._metadata[name], ANSWER_S)
            case ["commit"]:
                self._again(producer.commit_transaction)
            case ["abort"]:
                self._again(producer.abort_transaction)
        return "ok"

    def _consume(self, actor: str, words: list[str]) -> object:
        match words:
            case ["joins", "by", "heartbeats"]:
                return self._join_by_heartbeats(actor)
            case ["joins", *more]:
                return self._join(actor, more[-1] if more else None)
            case ["leaves"]:
                self._consumers.pop(actor).close()
                del self._assigned[actor]
                self._settle(lambda: True)
            case ["polls", "for", seconds]:
                deadline = self._stage.now() + float(seconds)
                self._settle(lambda: self._stage.now() >= deadline)
            case ["told"]:
                return self._told[actor]
            case ["polls"]:
                return self._poll_for_error(actor)
            case ["committed"]:
                (found,) = self._consumer(actor).committed([TopicPartition(self._stage.input, 0)], timeout=2.0)
                return found.offset if found.offset >= 0 else -1
            case ["commits", offset]:
                place = TopicPartition(self._stage.input, 0, int(offset))
                self._consumer(actor).commit(offsets=[place], asynchronous=False)
        return "ok"

    def _consumer(self, actor: str) -> Any:
        if actor not in self._consumers:
            self._consumers[actor] = self._stage.consumer(None)
        return self._consumers[actor]

    def _join(self, actor: str, instance: str | None) -> str:
        consumer = self._consumers[actor] = self._stage.consumer(instance)
        self._assigned[actor] = None

        def assigned(_: Any, partitions: list[TopicPartition]) -> None:
            self._assigned[actor] = sorted(one.partition for one in partitions)

        def gone(_: Any, partitions: list[TopicPartition]) -> None:
            self._assigned[actor] = None

        consumer.subscribe([self._stage.input], on_assign=assigned, on_revoke=gone, on_lost=gone)
        if instance:  # its predecessor is not polled: it would be fenced at once
            before = {name for name in self._assigned if name != actor}
            self._settle(lambda: self._assigned[actor] is not None, without=before)
        else:
            self._settle(lambda: None not in self._assigned.values())
        # Which ones depends on the member ids, which the broker makes up.
        return f"{len(self._assigned[actor] or ())} of 2"

    def _join_by_heartbeats(self, actor: str) -> str:
        """Until both partitions are with somebody; a member that gets none is told nothing."""
        consumer = self._consumers[actor] = self._stage.consumer(None, "consumer")
        self._assigned[actor] = []
        self._told[actor] = 0

        def assigned(_: Any, partitions: list[TopicPartition]) -> None:
            self._told[actor] += 1
            self._assigned[actor] = [*(self._assigned[actor] or ()), *(one.partition for one in partitions)]

        def gone(_: Any, partitions: list[TopicPartition]) -> None:
            left = {one.partition for one in partitions}
            self._assigned[actor] = [one for one in self._assigned[actor] or () if one not in left]

        consumer.subscribe([self._stage.input], on_assign=assigned, on_revoke=gone, on_lost=gone)
        self._settle(lambda: self._is_shared_out(actor))
        return f"{len(self._assigned[actor] or ())} of 2"

    def _is_shared_out(self, latest: str) -> bool:
        counts = [len(one or ()) for one in self._assigned.values()]
        needed = len(counts) <= 2 and not self._assigned[latest]
        return sum(counts) == 2 and not needed and self._consumers[latest].consumer_group_metadata() is not None

    def _settle(self, until: Callable[[], bool], without: set[str] = frozenset()) -> None:  # type: ignore[assignment] # frozenset, since defaults are shared
        deadline = self._stage.now() + PATIENCE_S
        while True:
            for name in [name for name in self._assigned if name not in without]:
                self._consumers[name].poll(0.05)
            if until():
                return
            assert self._stage.now() < deadline, "the group did not settle"

    def _poll_for_error(self, actor: str) -> str:
        deadline = self._stage.now() + PATIENCE_S
        while self._stage.now() < deadline:
            message = self._consumers[actor].poll(0.1)
            error = None if message is None else message.error()
            if error is not None and error.name() not in ("_PARTITION_EOF", "_AUTO_OFFSET_RESET"):
                return f"{'fatal' if error.fatal() else 'plain'} {error.name()}"
        return "ok"

    def _read(self, at_least: int) -> str:
        deadline = self._stage.now() + PATIENCE_S
        found = self._stage.read()
        while len(found) < at_least and self._stage.now() < deadline:
            found = self._stage.read()
        return b" ".join(found).decode()

    def _again(self, call: Callable[[float], None]) -> None:
        """As long as it says that it may be called again."""
        deadline = self._stage.now() + PATIENCE_S
        while True:
            try:
                call(ANSWER_S)
            except KafkaException as error:
                if not error.args[0].retriable() or self._stage.now() > deadline:
                    raise
            else:
                return
