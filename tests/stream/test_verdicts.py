"""Each class of a transaction's errors has its answer, by a script of the producer's calls."""

from __future__ import annotations

import threading

import pytest
from confluent_kafka import KafkaError

from consumer.errors import BrokerError
from consumer.stream.exactly_once import MOST_LEAVING, PROMPT_S
from consumer.stream.protocol import Result
from consumer.stream.timely import LEAVING
from tests.stream.scripted import (
    ABORTABLE,
    BAD_STATE,
    CONCURRENT,
    FATAL,
    FENCED,
    FORBIDDEN_ID,
    GENERATION,
    GOOD,
    NONE_OF_THREE,
    ONE,
    RETRIABLE,
    TIMED_OUT,
    Ticking,
    scripted,
)


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
