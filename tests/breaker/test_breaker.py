"""Which failures open the breaker."""

from __future__ import annotations

import random

import pytest

from consumer.breaker import DOUBT_S, HOPELESS_PROBES
from consumer.errors import event_errors
from consumer.evidence import evidence
from consumer.places import REMEMBERED_S
from consumer.suspicion import RUN
from tests.breaker.telling import OURS, Stream, failed, got, recalled

# ── what opens it ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("code", OURS)
def test_a_run_of_failures_that_may_be_ours_opens_it_and_the_last_one_does_not_count(stream: Stream, code: str) -> None:
    assert stream.until_open(failed(code)) == RUN - 1
    assert stream.breaker.cause == ("model" if code == "model_failed" else "network")


@pytest.mark.parametrize("error", [error for error in event_errors() if error.code not in OURS])
def test_what_an_event_fails_of_by_itself_never_opens_it(stream: Stream, error: type) -> None:
    for number in range(500):
        assert stream.tell(failed(error.code, f"host-{number % 40}"))  # type: ignore[attr-defined] # every code has one


def test_a_resolver_that_says_that_there_is_no_such_host_works(stream: Stream) -> None:
    for number in range(500):
        assert stream.tell(evidence(f"http://no-such-{number}.example/", "dns_failed", retriable=False))


def test_one_dead_host_of_two_never_opens_it_in_whatever_order_they_come(stream: Stream) -> None:
    order = random.Random(1)
    for _ in range(5000):
        assert stream.tell(failed(host="dead") if order.random() < 0.7 else got("well"))


def test_thousands_of_events_that_fail_at_once_because_their_host_is_down_are_not_the_network(stream: Stream) -> None:
    for _ in range(5):
        assert stream.tell(got("well"))
        for _ in range(4000):
            stream.now -= 0.1
            assert stream.tell(failed("fetch_timeout", "dead"))
            assert not stream.suspects()


def test_a_topic_whose_only_host_is_down_waits_for_it(stream: Stream) -> None:
    for _ in range(100):
        stream.tell(got("only"))
    assert stream.until_open(failed(host="only")) == RUN - 1


def test_failures_that_are_ten_minutes_old_say_nothing_any_more(stream: Stream) -> None:
    for name in "abcde":
        stream.tell(got(name))
    for name in "abcd":
        for _ in range(RUN // 4 - 1):
            assert stream.tell(failed(host=name))
    stream.now += REMEMBERED_S
    for _ in range(10):
        assert stream.tell(got("e"))
        for _ in range(RUN // 2):
            assert stream.tell(failed(host="a"))


def test_a_topic_in_which_something_fails_every_quarter_of_an_hour_and_nothing_else_comes_is_not_paused(
    stream: Stream,
) -> None:
    for _ in range(10 * RUN):
        assert stream.tell(failed())
        stream.now += 1.5 * REMEMBERED_S


# ── and the rest ─────────────────────────────────────────────────────────────────────────────────


def test_failures_of_the_model_count_although_every_fetch_works_and_other_events_fail_in_between(
    stream: Stream,
) -> None:
    for _ in range(RUN - 1):
        assert stream.tell(failed("model_failed"))
        assert stream.tell(failed("http_status"))
    assert not stream.tell(failed("model_failed"))
    assert stream.breaker.reason == "the model failed for 20 events in a row"


def test_a_machine_on_which_no_decoder_starts_pauses_the_intake_and_is_given_up_in_the_end(stream: Stream) -> None:
    refused = evidence("http://a/x.jpg", "overloaded", stage="decode")
    for _ in range(RUN - 1):
        assert stream.tell(refused)
    assert not stream.tell(refused)
    assert stream.breaker.cause == "decoder"
    assert stream.breaker.reason == "no process for decoding could be started for 20 events in a row"
    assert stream.probe(evidence("http://a/x.jpg", "image_corrupt", stage="decode"))
    assert stream.breaker.reason == "", "it is closed"
    stream.until_open(refused)
    for number in range(HOPELESS_PROBES):
        assert not stream.breaker.hopeless
        assert not stream.probe(refused, number % 2)
    assert stream.breaker.hopeless


def test_a_mistake_of_ours_that_a_stranger_finds_stops_nothing(stream: Stream) -> None:
    """Not even if hardly anything else comes in; and an image that takes too long to decode is not the network's."""
    for stage in ("fetch", "decode", "predict"):
        for _ in range(10 * RUN):
            assert stream.tell(evidence("http://a/x.jpg", "model_failed", stage=stage, foreseen=False))
            assert stream.tell(evidence("http://a/x.jpg", "fetch_timeout", stage="decode"))
    assert stream.breaker.cause is None


def test_a_model_that_answers_now_and_then_is_not_broken(stream: Stream) -> None:
    for _ in range(100):
        for _ in range(RUN - 1):
            assert stream.tell(failed("model_failed"))
        assert stream.tell(got())


def test_known_images_do_not_hide_that_the_model_is_broken_for_all_others(stream: Stream) -> None:
    for _ in range(RUN - 1):
        assert stream.tell(failed("model_failed"))
        assert stream.tell(recalled())
    assert not stream.tell(failed("model_failed"))
    assert stream.breaker.cause == "model"


def test_a_known_image_shows_that_the_network_works(stream: Stream) -> None:
    stream.until_open(failed())
    assert stream.probe(recalled())
    assert stream.breaker.cause is None


def test_the_reason_counts_and_names_nobody(stream: Stream) -> None:
    hosts = [f"shop-{n}.example" for n in range(RUN)]
    for n, host in enumerate(hosts):
        stream.tell(failed("dns_failed" if n < 3 else "connect_failed", host))
    assert stream.breaker.reason == "nothing comes from 20 of 20 hosts: 17 connect_failed, 3 dns_failed"


def test_a_failure_that_may_be_ours_is_doubted_unless_it_took_its_time_while_others_were_reached(
    stream: Stream,
) -> None:
    stream.tell(got("b"))
    breaker, now = stream.breaker, stream.now
    assert breaker.doubtful(failed("connect_failed"), now)
    assert breaker.doubtful(failed("model_failed"), now)
    assert not breaker.doubtful(failed("http_status"), now)
    assert not breaker.doubtful(failed("fetch_timeout"), now + DOUBT_S - 0.1)
    assert breaker.doubtful(failed("fetch_timeout"), now + DOUBT_S)
