"""An open breaker: probes, whom it waits for, and what closes it."""

from __future__ import annotations

import time

import pytest

from consumer.breaker import GIVE_UP_S, HOPELESS_PROBES, LONGEST_PAUSE_S, PROBES_EACH, Breaker
from consumer.evidence import Evidence
from consumer.suspicion import RUN
from tests.breaker.telling import Stream, failed, got, recalled


def test_what_was_begun_before_it_opened_counts_unless_it_failed_of_ours_and_closes_nothing(opened: Stream) -> None:
    assert not opened.tell(failed(host="b"))
    assert opened.tell(got("c"))
    assert opened.tell(failed("http_status", "d"))
    assert opened.breaker.cause == "network"


def test_pauses_between_probes_double_up_to_the_longest(opened: Stream) -> None:
    pauses = [opened.breaker.probe_at - opened.now]
    for number in range(7):
        assert not opened.probe(failed(), number)
        pauses.append(opened.breaker.probe_at - opened.now)
    assert pauses == pytest.approx([1, 2, 4, 8, 16, LONGEST_PAUSE_S, LONGEST_PAUSE_S, LONGEST_PAUSE_S])


def test_an_outage_of_days_ends_like_any_other(opened: Stream) -> None:
    for number in range(10_000):
        assert not opened.probe(failed(host=f"host-{number % 3}"), number)
    assert opened.breaker.probe_at - opened.now == LONGEST_PAUSE_S
    assert opened.probe(got("host-1"))
    assert opened.breaker.cause is None


@pytest.mark.parametrize("told", [got("b"), failed("http_status"), failed("image_corrupt"), failed("model_failed")])
def test_a_probe_that_reaches_a_host_closes_it_whatever_else_it_comes_to(opened: Stream, told: Evidence) -> None:
    assert opened.probe(told)
    assert opened.breaker.cause is None


def test_a_probe_that_asks_nobody_counts_and_the_next_may_begin_at_once(opened: Stream) -> None:
    assert opened.probe(failed("url_invalid"))
    assert opened.breaker.cause == "network"
    assert opened.breaker.probe_at == opened.now


def test_when_all_works_again_nothing_of_before_is_held_against_anybody(opened: Stream) -> None:
    opened.probe(got("b"))
    opened.tell(got("a"))
    opened.now += 60
    assert opened.until_open(failed("connect_failed", "c")) == RUN - 1


def test_no_event_waits_for_ever(opened: Stream) -> None:
    for _ in range(PROBES_EACH - 1):
        assert not opened.probe(failed(), "this one")
        assert not opened.probe(failed(), "another")
    assert opened.probe(failed(), "this one")
    assert opened.breaker.cause == "network"


def test_a_single_host_is_waited_for_for_an_hour_and_counts_as_dead_until_it_works_again(opened: Stream) -> None:
    assert not opened.probe(failed(), 1)
    opened.now += GIVE_UP_S
    assert opened.probe(failed(), 2)
    assert opened.breaker.cause is None
    for _ in range(1000):
        assert opened.tell(failed())
    assert opened.tell(got("a"))
    assert opened.until_open(failed()) == RUN - 1


def test_several_hosts_are_waited_for_without_end(opened: Stream) -> None:
    assert not opened.probe(failed(host="b"), 1)
    for number in range(100):
        opened.now += GIVE_UP_S
        assert not opened.probe(failed(), number)


def test_a_probe_that_was_given_up_is_not_waited_for(opened: Stream) -> None:
    opened.breaker.probe("revoked")
    opened.breaker.abandoned()
    assert opened.breaker.finished("revoked", got("b"), opened.now)
    assert opened.breaker.cause == "network"


def test_a_model_that_answers_no_probe_is_given_up(stream: Stream) -> None:
    stream.until_open(failed("model_failed"))
    for number in range(HOPELESS_PROBES):
        assert not stream.breaker.hopeless
        assert not stream.probe(failed("model_failed"), number % 2)
    assert stream.breaker.hopeless


def test_only_an_answer_of_the_model_shows_that_it_works(stream: Stream) -> None:
    stream.until_open(failed("model_failed"))
    for says_nothing in (failed("http_status"), recalled()):
        assert stream.probe(says_nothing)
        assert stream.breaker.cause == "model"
    assert stream.probe(got())
    assert stream.breaker.cause is None


def test_a_network_that_goes_while_the_model_is_probed_does_not_end_the_process(stream: Stream) -> None:
    stream.until_open(failed("model_failed"))
    for number in range(50):
        assert not stream.probe(failed("connect_failed"), number)
    assert not stream.breaker.hopeless


@pytest.mark.parametrize("code", ["model_failed", "image_corrupt"])
def test_a_network_that_comes_back_does_not_say_that_the_model_works(stream: Stream, code: str) -> None:
    stream.until_open(failed("model_failed"))
    reason = stream.breaker.reason
    stream.probe(failed("connect_failed"))
    assert stream.breaker.cause == "network"
    stream.probe(failed(code))
    assert (stream.breaker.cause, stream.breaker.reason) == ("model", reason)
    stream.probe(got())
    assert stream.breaker.cause is None


def test_an_outage_of_the_network_does_not_forget_how_often_the_model_failed(stream: Stream) -> None:
    for _ in range(RUN - 1):
        assert stream.tell(failed("model_failed"))
    for number in range(RUN):
        stream.tell(failed(host=f"host-{number}"))
    assert stream.ask(reached=False) == {"a"}
    assert "hosts" in stream.breaker.reason
    assert not stream.probe(failed("model_failed"))
    assert stream.breaker.cause == "model"


def test_probes_that_the_network_failed_are_not_held_against_the_model(stream: Stream) -> None:
    stream.until_open(failed("model_failed"))
    for number in range(2 * HOPELESS_PROBES):
        stream.probe(failed("connect_failed"), number)
    stream.probe(failed("http_status"))
    assert stream.breaker.cause == "model"
    assert not stream.breaker.hopeless


def test_closed_it_costs_next_to_nothing() -> None:
    breaker = Breaker()
    told = [got(f"host-{number % 50}") for number in range(1000)]
    cheapest = min(_seconds(breaker, told) for _ in range(20)) / len(told)
    assert cheapest < 2e-6 * 3, "2 µs an event, on a machine that may be three times slower than ours"


def _seconds(breaker: Breaker, told: list[Evidence]) -> float:
    began = time.perf_counter()
    for number, one in enumerate(told):
        breaker.finished(number, one, 1.0)
    return time.perf_counter() - began
