"""Each class of a transaction's errors: provoked on Apache Kafka where that can be done, by a script elsewhere."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest
from confluent_kafka import KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from consumer.errors import BrokerError
from consumer.records import Message, Outcome, Record
from consumer.stream import clients, exactly_once
from consumer.stream.exactly_once import MOST_LEAVING, PROMPT_S, TransactionalPublisher
from consumer.stream.protocol import Claim, Publish, Result
from consumer.stream.publisher import Publisher, make_publisher
from consumer.stream.source import Source
from consumer.stream.timely import LEAVING, TimelyProducer
from tests.brokers import Kafka
from tests.stream.stage import PARTITIONS, Member, ShuffledWork, Stage

BUDGET_S = 8.0

REFUSED_S = 0.3
"""Within it the broker has refused a batch; nobody who does not poll is told."""


class Told:
    """A listener that only remembers what is its own."""

    def __init__(self) -> None:
        self.mine: set[int] = set()

    def assigned(self, partitions: list[int]) -> None:
        self.mine |= set(partitions)

    def revoked(self, partitions: list[int]) -> None:
        self.mine -= set(partitions)

    lost = revoked


class Joined:
    """A member of the stage's group without a loop, and a publisher of its own."""

    def __init__(self, stage: Stage, name: str, source_type: type[Source] = Source) -> None:
        settings = stage.named(name)
        self.instance = clients.Instance.of(settings)
        self._config = clients.consumer_config(settings, self.instance)
        self._config.pop("group.instance.id")  # two of one name are wanted in one group here
        self.source = source_type(clients.make_consumer(self._config), settings.input_topic)
        self.publisher: Publisher = make_publisher(settings, self.instance, self.source)
        self.told = Told()

    def join(self, *others: Joined) -> None:
        """Becomes a member; with the others polling too, until everybody has something."""
        self.source.subscribe(self.told)
        everybody = (self, *others)
        while not all(one.told.mine for one in everybody) or sum(len(one.told.mine) for one in everybody) != PARTITIONS:
            for one in everybody:
                one.source.poll(1, 0.05)

    def close(self) -> None:
        self.publisher.close(1.0)
        self.source.close()


@pytest.fixture
def stage(kafka: Kafka) -> Stage:
    return Stage(kafka, "exactly-once")


@pytest.fixture
def first(stage: Stage) -> Iterator[Joined]:
    made = Joined(stage, "one")
    yield made
    made.close()


def publication(stage: Stage, *values: bytes, offset: int = 0) -> Publish:
    claims = tuple(Claim(0, 1, offset + n) for n in range(len(values)))
    outcomes = tuple(Outcome("predicted", (Message(stage.output, b"k", value, (), 0),)) for value in values)
    return Publish(claims, outcomes, {0: offset + len(values)})


def seen(stage: Stage, at_least: int) -> list[bytes | None]:
    return [message.value for message in stage.outcomes(at_least)]


# ── on Apache Kafka ──────────────────────────────────────────────────────────────────────────────


def test_of_two_instances_with_one_name_the_older_is_fenced_and_its_outcome_is_not_seen(
    stage: Stage, first: Joined, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exactly_once, "PROMPT_S", BUDGET_S)  # slow answers cost the producer, and so the name
    first.join()
    first.publisher.start(BUDGET_S)
    assert first.publisher.publish(publication(stage, b"a"), BUDGET_S).result is Result.COMMITTED
    second = Joined(stage, "one")
    second.publisher.start(BUDGET_S)
    answer = first.publisher.publish(publication(stage, b"b", offset=1), BUDGET_S)
    assert answer.result is Result.FENCED
    assert "INSTANCE_ID" in answer.reason
    assert seen(stage, 1) == [b"a"]
    second.close()


def test_a_transaction_that_the_broker_timed_out_is_published_again_by_a_new_producer(kafka: Kafka) -> None:
    stage = Stage(kafka, "exactly-once", KAFKA_TRANSACTION_TIMEOUT_MS="1000")

    class Slow(Source):
        slow = True

        def positions(self, offsets: Any) -> list[TopicPartition]:
            if self.slow:  # between the outcomes and their offsets, until the broker has ended the transaction
                threading.Event().wait(3.0)
            return super().positions(offsets)

    late = Joined(stage, "one", Slow)
    late.join()
    late.publisher.start(BUDGET_S)
    assert late.publisher.publish(publication(stage, b"a"), BUDGET_S).result is Result.ABORTED
    cast(Slow, late.source).slow = False
    assert late.publisher.publish(publication(stage, b"a"), BUDGET_S).result is Result.COMMITTED
    assert seen(stage, 1) == [b"a"]
    late.close()


def test_the_metadata_of_an_earlier_generation_commit_nothing(stage: Stage) -> None:
    class Stale(Source):
        kept: Any = None

        def group_metadata(self) -> Any:
            return self.kept or super().group_metadata()

    old = Joined(stage, "one", Stale)
    old.join()
    old.publisher.start(BUDGET_S)
    source = cast(Stale, old.source)
    source.kept = source.group_metadata()
    new = Joined(stage, "two")
    new.join(old)
    answer = old.publisher.publish(publication(stage, b"a"), BUDGET_S)
    assert answer.result is Result.ABORTED
    assert "generation" in answer.reason
    source.kept = None
    assert old.publisher.publish(publication(stage, b"b"), BUDGET_S).result is Result.COMMITTED
    assert seen(stage, 1) == [b"b"]
    old.close()
    new.close()


def test_whoever_is_no_member_of_the_group_publishes_nothing(stage: Stage, first: Joined) -> None:
    first.publisher.start(BUDGET_S)
    answer = first.publisher.publish(publication(stage, b"a"), BUDGET_S)
    assert (answer.result, answer.reason) == (Result.ABORTED, "not a member of the group")
    assert seen(stage, 0) == []


def test_a_publication_that_is_larger_than_the_producers_queue_is_sent_in_pieces(kafka: Kafka) -> None:
    stage = Stage(kafka, "exactly-once", KAFKA_QUEUE_BUFFERING_MAX_MESSAGES="5")
    member = Joined(stage, "one")
    member.join()
    member.publisher.start(BUDGET_S)
    values = [b"%d" % number for number in range(60)]
    assert member.publisher.publish(publication(stage, *values), BUDGET_S).result is Result.COMMITTED
    assert seen(stage, 60) == values
    member.close()


@pytest.mark.parametrize(
    ("delivery", "refused_s"), [("exactly-once", 0.0), ("exactly-once", REFUSED_S), ("at-least-once", 0.0)]
)
def test_an_outcome_that_only_the_broker_finds_too_large_is_reduced_and_its_batch_is_not(
    kafka: Kafka, delivery: str, refused_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is asked of the producer when the broker refuses the batch; with ``refused_s``, to hand offsets over."""
    hand_over = TimelyProducer.send_offsets_to_transaction

    def later(producer: TimelyProducer, *given: Any) -> None:
        time.sleep(refused_s)
        hand_over(producer, *given)

    monkeypatch.setattr(TimelyProducer, "send_offsets_to_transaction", later)
    stage = Stage(kafka, delivery)
    resource = ConfigResource(ResourceType.TOPIC, stage.output)
    limit = ConfigEntry("max.message.bytes", "20000", incremental_operation=AlterConfigOpType.SET)
    resource.add_incremental_config(limit)
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers})  # kept: without a variable it is destroyed
    admin.incremental_alter_configs([resource])[resource].result()
    stage.publish(60)

    class LargeWork(ShuffledWork):
        """One outcome is too large in itself; all of them together are too large for one batch."""

        def _echo(self, record: Record, pause: float) -> Outcome:
            number = int(record.value or b"")
            small = super()._echo(record, pause)
            value = b"%d " % number + self._random.randbytes(50_000 if number == 11 else 1_000)
            message = Message(stage.output, record.key, value, (), record.partition)
            return Outcome("predicted", (message,), reduced=lambda: small)

    member = Member(stage.settings, LargeWork(stage.output, seed=4))
    outcomes = stage.outcomes(at_least=60)
    member.stop()
    sizes = {int((one.value or b"").split(b" ")[0]): len(one.value or b"") for one in outcomes}
    assert sorted(sizes) == list(range(60))
    assert [number for number, size in sizes.items() if size < 100] == [11]
    if delivery == "exactly-once":
        assert len(outcomes) == 60


# ── by a script ──────────────────────────────────────────────────────────────────────────────────

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


@pytest.mark.parametrize(
    ("script", "result", "calls"),
    [
        ({}, Result.COMMITTED, GOOD),
        # The same call again; a producer that was asked twice is not used again, since the first may come late.
        ({"offsets": [RETRIABLE]}, Result.COMMITTED, [*GOOD[:3], "offsets", "commit", "purge"]),
        ({"commit": [TIMED_OUT]}, Result.COMMITTED, [*GOOD, "commit", "purge"]),
        ({"offsets": [GENERATION]}, Result.ABORTED, [*GOOD[:3], "abort", "purge"]),
        ({"offsets": [ABORTABLE]}, Result.ABORTED, [*GOOD[:3], "abort", "purge"]),
        # The next producer ends what cannot be aborted. An error in the place of the commit's answer leaves a doubt.
        ({"commit": [ABORTABLE]}, Result.UNKNOWN, [*GOOD, "abort", "purge"]),
        ({"offsets": [GENERATION], "abort": [BAD_STATE]}, Result.ABORTED, [*GOOD[:3], "abort", "purge"]),
        ({"commit": [ABORTABLE], "abort": [BAD_STATE]}, Result.UNKNOWN, [*GOOD, "abort", "purge"]),
        ({"begin": [FATAL]}, Result.ABORTED, ["begin", "purge"]),
        ({"produce": [FATAL]}, Result.ABORTED, ["begin", "produce", "purge"]),
        ({"offsets": [FATAL]}, Result.ABORTED, [*GOOD[:3], "purge"]),
        ({"commit": [FATAL]}, Result.UNKNOWN, [*GOOD, "purge"]),
        ({"offsets": [NONE_OF_THREE]}, Result.ABORTED, [*GOOD[:3], "purge"]),
        ({"commit": [NONE_OF_THREE]}, Result.UNKNOWN, [*GOOD, "purge"]),
        ({"commit": [BAD_STATE]}, Result.UNKNOWN, [*GOOD, "purge"]),
        ({"offsets": [CONCURRENT]}, Result.COMMITTED, [*GOOD[:3], "offsets", "commit", "purge"]),
        ({"offsets": [FENCED]}, Result.FENCED, [*GOOD[:3], "purge"]),
    ],
)
def test_each_class_of_errors_has_its_answer(
    script: dict[str, list[KafkaError]], result: Result, calls: list[str]
) -> None:
    publisher, called = scripted({name: list(errors) for name, errors in script.items()})
    assert publisher.publish(ONE, 60.0).result is result
    assert called == calls


def test_a_call_that_fails_at_once_is_not_made_again_at_once() -> None:
    publisher, called = scripted({"offsets": [RETRIABLE]}, look_s=0.001)
    assert publisher.publish(ONE, 60.0).result is Result.COMMITTED
    assert called == [*GOOD[:3], "pause", "offsets", "commit", "purge"]


def test_a_producer_whose_answer_took_long_is_not_used_again_since_librdkafka_may_have_asked_twice() -> None:
    publisher, called = scripted({}, look_s=PROMPT_S)
    assert publisher.publish(ONE, 60.0).result is Result.COMMITTED
    assert called == [*GOOD, "purge"]


@pytest.mark.parametrize(("call", "result"), [("offsets", Result.ABORTED), ("commit", Result.UNKNOWN)])
def test_what_is_not_answered_within_the_budget_is_aborted_before_the_commit_and_unknown_after_it(
    call: str, result: Result
) -> None:
    publisher, called = scripted({call: [TIMED_OUT] * 50})
    assert publisher.publish(ONE, 5.0).result is result
    assert called[-1] == "purge"
    assert ("abort" in called) is (call == "offsets")


def test_a_made_up_name_is_nobodys_so_that_what_looks_like_fencing_is_a_transaction_that_timed_out() -> None:
    publisher, _ = scripted({"offsets": [FENCED]}, stable=False)
    assert publisher.publish(ONE, 60.0).result is Result.ABORTED
    assert publisher.publish(ONE, 60.0).result is Result.COMMITTED


def test_a_stable_name_is_not_lost_by_a_transaction_that_timed_out_while_this_machine_was_held() -> None:
    brokers_clock = Ticking(0.05)
    publisher, _ = scripted({"offsets": [FENCED]}, brokers_clock=brokers_clock)
    brokers_clock.look_s = 11.0
    assert publisher.publish(ONE, 60.0).result is Result.ABORTED
    publisher, _ = scripted({"offsets": [FENCED]})
    assert publisher.publish(ONE, 60.0).result is Result.FENCED


def test_a_producer_that_broke_is_replaced_at_once_which_ends_what_it_left_open() -> None:
    publisher, called = scripted({"commit": [FATAL]})
    assert publisher.publish(ONE, 60.0).result is Result.UNKNOWN
    called.clear()
    publisher.tend()
    assert called == ["init"]
    publisher.tend()
    assert called == ["init"]


def test_no_other_is_made_while_too_many_that_were_given_up_are_not_gone(caplog: pytest.LogCaptureFixture) -> None:
    publisher, called = scripted({"commit": [FATAL]})
    assert publisher.publish(ONE, 60.0).result is Result.UNKNOWN
    called.clear()
    gone = threading.Event()
    threads = [threading.Thread(target=gone.wait, name=LEAVING) for _ in range(MOST_LEAVING)]
    for thread in threads:
        thread.start()
    assert not publisher.replace(5.0)
    assert called == []
    assert f"{MOST_LEAVING} that were given up are not gone yet" in caplog.text
    gone.set()
    for thread in threads:
        thread.join()
    assert publisher.replace(5.0)


def test_one_that_tells_between_publications_that_it_broke_is_replaced_too() -> None:
    publisher, called = scripted({"poll": [FATAL], "abort": [FATAL]})
    publisher.tend()
    assert called == ["abort", "purge"]
    publisher.tend()
    assert publisher.publish(ONE, 60.0).result is Result.COMMITTED
    assert called == ["abort", "purge", "init", *GOOD]


@pytest.mark.parametrize("script", [{"poll": [FENCED]}, {"poll": [FATAL], "abort": [FENCED]}])
def test_one_that_was_fenced_between_publications_is_not(script: dict[str, list[KafkaError]]) -> None:
    publisher, called = scripted({name: list(errors) for name, errors in script.items()})
    publisher.tend()
    publisher.tend()
    assert publisher.publish(ONE, 60.0).result is Result.FENCED
    assert "init" not in called


@pytest.mark.parametrize("call", ["offsets", "produce"])
def test_a_right_that_is_taken_away_ends_the_service_with_a_line(call: str) -> None:
    publisher, _ = scripted({call: [FORBIDDEN_ID]})
    with pytest.raises(BrokerError, match=r"not authorised to publish: .*; grant Write on the transactional id"):
        publisher.publish(ONE, 60.0)


def test_a_coordinator_that_does_not_answer_at_start_is_told_in_one_line() -> None:
    with pytest.raises(BrokerError, match="the transaction coordinator did not answer"):
        scripted({"init": [TIMED_OUT] * 50})
