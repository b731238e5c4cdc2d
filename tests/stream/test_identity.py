"""What the looks at the input topic tell of the brokers."""

from __future__ import annotations

from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any, cast

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient

from consumer.stream.identity import LOOK_EVERY_S, TopicIdentity


class Admin:
    """Brokers that answer every look with this error, if there is one."""

    def __init__(self) -> None:
        self.now = 0.0
        self.error: int | None = None
        self.identity = TopicIdentity(cast(AdminClient, self), "in", lambda: self.now)

    def describe_topics(self, topics: TopicCollection, request_timeout: float) -> dict[str, Future[Any]]:
        answer: Future[Any] = Future()
        if self.error is None:
            answer.set_result(SimpleNamespace(topic_id="an-id"))
        else:
            answer.set_exception(KafkaException(KafkaError(self.error)))
        return {"in": answer}

    def look(self, error: int | None) -> bool:
        """One look that comes to this, and whether the brokers seem to be away then."""
        self.error = error
        self.now += LOOK_EVERY_S
        self.identity.look()
        self.identity.look()
        return self.identity.in_vain


def test_brokers_answer_nothing_once_two_looks_in_a_row_have_run_out_of_time() -> None:
    admin = Admin()
    looks = [None, KafkaError._TIMED_OUT, None, KafkaError._TIMED_OUT, KafkaError._TRANSPORT, KafkaError._TIMED_OUT]
    assert [admin.look(error) for error in looks] == [False, False, False, False, True, True]
    assert not admin.look(None)


def test_a_broker_that_refuses_to_tell_has_answered() -> None:
    admin = Admin()
    assert not any(admin.look(KafkaError.TOPIC_AUTHORIZATION_FAILED) for _ in range(5))
    assert not admin.look(KafkaError._TIMED_OUT)
    assert not admin.look(KafkaError.UNKNOWN_TOPIC_OR_PART)
    assert not admin.look(KafkaError._TIMED_OUT)
