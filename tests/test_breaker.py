"""The breaker: which failures open it, and what closes it again."""

from __future__ import annotations

import itertools
import random
import time

import pytest

from consumer.breaker import (
    DOUBT_S,
    GIVE_UP_S,
    HOPELESS_PROBES,
    LONGEST_PAUSE_S,
    PROBES_EACH,
    Breaker,
)
from consumer.errors import event_errors
from consumer.evidence import Evidence, evidence
from consumer.places import REMEMBERED_S
from consumer.suspicion import ASK_AFTER_S, GOOD_FOR_DEADLINES, LONG_RUN, RUN, SILENCE_S, WITNESSES

OURS = ("connect_failed", "fetch_timeout", "dns_failed", "model_failed")


def got(host: str = "a") -> Evidence:
    return evidence(f"http://{host}/x.jpg", None)


def recalled(host: str = "a") -> Evidence:
    return evidence(f"http://{host}/x.jpg", None, recalled=True)


def failed(code: str = "connect_failed", host: str = "a") -> Evidence:
    return evidence(f"http://{host}/x.jpg", code, retriable=True)


class Stream:
    """Tells a breaker of one event after the other, ten a second."""

    def __init__(self, **more: float) -> None:
        self.breaker = Breaker(**more)
        self.now = 1000.0
        self.events = 0

    def tell(self, told: Evidence) -> bool:
        self.events += 1
        self.now += 0.1
        return self.breaker.finished(self.events, told, self.now)

    def suspects(self) -> bool:
        return self.breaker.suspects

    def until_open(self, told: Evidence, most: int = 1000) -> int:
        """Tells the same again and again; returns how many failures counted before it opened, or asked in vain."""
        for count in range(most):
            if not self.tell(told):
                return count
            if self.suspects():
                self.ask(reached=False)
                assert self.breaker.cause == "network"
                return count
        raise AssertionError("it did not open")

    def ask(self, *, reached: bool) -> set[str]:
        """Lets it ask whom it wants, who all answer the same; returns them."""
        self.breaker.to_ask(self.now)
        self.now += ASK_AFTER_S
        asked = self.breaker.to_ask(self.now)
        for host, url in asked.items():
            assert url == f"http://{host}/"
            self.breaker.answered(host, got(host) if reached else failed(host=host), self.now)
        return set(asked)

    def probe(self, told: Evidence, event: object = "probe") -> bool:
        self.now = max(self.now, self.breaker.probe_at)
        self.breaker.probe(event)
        return self.breaker.finished(event, told, self.now)


@pytest.fixture
def stream() -> Stream:
    return Stream()


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


# ── what makes it suspect ────────────────────────────────────────────────────────────────────────


def test_dead_names_among_healthy_hosts_are_suspected_and_never_open_it(stream: Stream) -> None:
    order = random.Random(2)
    for _ in range(300):
        assert stream.tell(got(order.choice(("well", "slow", "rare"))))
        assert not stream.suspects()
        for number in order.sample(range(1000), order.randint(0, 80)):
            code = order.choice(("dns_failed", "connect_failed", "fetch_timeout"))
            assert stream.tell(failed(code, f"www.dead-{number}.example"))
        stream.now += order.uniform(0, 100)
        if stream.suspects():
            assert stream.ask(reached=True) <= {"well", "slow", "rare"}
        assert not stream.suspects()
        assert stream.breaker.cause is None


def test_a_very_long_run_and_silence_make_it_suspect_whoever_fails(stream: Stream) -> None:
    for name in "bcdefgh":
        stream.tell(got(name))
    for _ in range(LONG_RUN - 1):
        assert stream.tell(failed())
        assert not stream.suspects()
    assert stream.tell(failed())
    assert stream.suspects()
    assert stream.now - stream.breaker.reached_at > SILENCE_S


def test_without_a_resolver_a_busy_host_with_open_connections_does_not_hide_it(stream: Stream) -> None:
    for number in range(9):
        stream.tell(got(f"host-{number}"))
    counted = 0
    while not stream.suspects():
        assert stream.tell(failed("dns_failed", f"host-{counted % 9}"))
        assert stream.tell(got("busy"))
        counted += 1
    assert counted == RUN
    assert stream.ask(reached=False) == {"busy"}, "over a connection that is new"
    assert stream.breaker.cause == "network"


def test_healthy_hosts_are_heard_of_for_three_deadlines(stream: Stream) -> None:
    stream.tell(got("well"))
    for _ in range(RUN):
        assert stream.tell(failed(host="dead"))
    assert not stream.suspects()
    stream.now += GOOD_FOR_DEADLINES * 10
    assert stream.tell(failed(host="dead"))
    assert stream.suspects()


def test_without_a_network_a_topic_of_very_many_hosts_is_soon_suspected(stream: Stream) -> None:
    """Each of its hosts has one event."""
    hosts = (f"host-{number}.example" for number in itertools.count())
    for host in itertools.islice(hosts, 2000):
        stream.tell(got(host))
    counted = 0
    while not stream.suspects():
        assert stream.tell(failed(host=next(hosts)))
        counted += 1
    assert counted < 32


# ── asked about ──────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def suspecting(stream: Stream) -> Stream:
    """Twelve hosts were reached, one after the other, and then nobody is."""
    for number in range(12):
        stream.tell(got(f"host-{number}"))
    stream.now += GOOD_FOR_DEADLINES * 10
    while not stream.suspects():
        assert stream.tell(failed(host=f"dead-{stream.events}"))
    return stream


def test_hosts_are_asked_that_were_reached_last_and_only_after_a_moment(suspecting: Stream) -> None:
    breaker, now = suspecting.breaker, suspecting.now
    assert breaker.to_ask(now) == breaker.to_ask(now + ASK_AFTER_S - 0.1) == {}
    chosen = breaker.to_ask(now + ASK_AFTER_S)
    assert chosen == {f"host-{number}": f"http://host-{number}/" for number in range(11, 11 - WITNESSES, -1)}
    assert breaker.asking
    assert breaker.to_ask(now + 10) == {}, "they are asked once"


def test_where_others_are_reached_meanwhile_nobody_is_asked(suspecting: Stream) -> None:
    breaker = suspecting.breaker
    assert breaker.to_ask(suspecting.now) == {}
    assert suspecting.tell(got("host-1"))
    assert not suspecting.suspects()
    assert breaker.to_ask(suspecting.now + 10) == {}


def test_one_that_can_be_reached_is_enough_and_later_answers_change_nothing(suspecting: Stream) -> None:
    breaker = suspecting.breaker
    breaker.to_ask(suspecting.now)
    first, second, *others = breaker.to_ask(suspecting.now + ASK_AFTER_S)
    breaker.answered(first, failed(host=first), suspecting.now)
    assert suspecting.suspects()
    breaker.answered(second, got(second), suspecting.now)
    assert not suspecting.suspects()
    for _ in range(RUN):
        suspecting.tell(failed(host=f"dead-{suspecting.events}"))
    for host in others:
        breaker.answered(host, failed(host=host), suspecting.now)
    assert breaker.cause is None
    assert suspecting.ask(reached=True), "the next suspicion is asked about anew"


def test_an_answer_that_comes_when_others_were_reached_meanwhile_opens_nothing(suspecting: Stream) -> None:
    breaker = suspecting.breaker
    breaker.to_ask(suspecting.now)
    chosen = breaker.to_ask(suspecting.now + ASK_AFTER_S)
    assert suspecting.tell(got("well"))
    for host in chosen:
        breaker.answered(host, failed(host=host), suspecting.now)
    assert breaker.cause is None
    while not suspecting.suspects():
        assert suspecting.tell(failed(host=f"dead-{suspecting.events}"))
    assert suspecting.ask(reached=True), "the next suspicion is asked about anew"


def test_when_none_can_be_reached_it_opens(suspecting: Stream) -> None:
    assert len(suspecting.ask(reached=False)) == WITNESSES
    assert (suspecting.breaker.cause, suspecting.suspects()) == ("network", False)
    assert suspecting.breaker.reason.startswith("nothing comes from 2")


def test_an_answer_that_says_nothing_is_not_one_that_it_can_be_reached(suspecting: Stream) -> None:
    breaker = suspecting.breaker
    breaker.to_ask(suspecting.now)
    for host in breaker.to_ask(suspecting.now + ASK_AFTER_S):
        breaker.answered(host, Evidence(None), suspecting.now)
    assert breaker.cause == "network"


def test_it_opens_at_once_when_all_fail_who_were_reached_before(stream: Stream) -> None:
    for name in ("a", "b", "c"):
        stream.tell(got(name))
    for number in range(RUN):
        assert stream.tell(failed(host=f"host-{number}"))
    assert stream.tell(failed(host="a"))
    assert stream.tell(failed(host="b"))
    assert not stream.tell(failed(host="c"))


class Partial(Stream):
    """Twenty hosts that were reached before are down, one is well."""

    def __init__(self) -> None:
        super().__init__()
        self.down("img")

    def down(self, name: str) -> None:
        """From now on it is these."""
        self.name = name
        for number in range(20):
            self.tell(got(f"{name}{number}.dead"))

    def until_suspected(self) -> int:
        """Events until it suspects the network, which it then finds out to be wrong."""
        before = self.events
        while not self.suspects():
            self.tell(got("well") if self.events % 10 == 0 else failed(host=f"{self.name}{self.events % 20}.dead"))
        assert "well" in self.ask(reached=True)
        return self.events - before


def test_hosts_of_which_it_was_found_out_that_they_are_down_are_suspected_less_and_less() -> None:
    partial = Partial()
    counted = [partial.until_suspected() for _ in range(7)]
    assert counted == sorted(counted)
    assert counted[0] < 25
    assert counted[-1] > 32 * RUN


@pytest.mark.parametrize("how", ["one of them works", "ten minutes pass"])
def test_patience_ends_when_one_of_them_works_again_or_after_ten_minutes(how: str) -> None:
    partial = Partial()
    for _ in range(5):
        partial.until_suspected()
    if how == "one of them works":
        partial.tell(got("img3.dead"))
    else:
        partial.now += REMEMBERED_S
        partial.down("other")
    assert partial.until_suspected() < 30


def test_open_it_asks_before_each_probe_also_those_who_fail(suspecting: Stream) -> None:
    suspecting.ask(reached=False)
    breaker = suspecting.breaker
    assert breaker.to_ask(suspecting.now) == {}
    for _ in range(3):
        suspecting.now = breaker.probe_at
        chosen = breaker.to_ask(suspecting.now)
        assert len(chosen) == WITNESSES
        for host in chosen:
            assert breaker.asking
            breaker.answered(host, failed(host=host), suspecting.now)
        assert not breaker.asking
        assert breaker.to_ask(suspecting.now) == {}, "now it is an event's turn"
        assert not suspecting.probe(failed(host="x"), suspecting.now)
    suspecting.now = breaker.probe_at
    host, *_ = breaker.to_ask(suspecting.now)
    breaker.answered(host, got(host), suspecting.now)
    assert (breaker.cause, breaker.asking) == (None, False)


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


# ── open ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def opened(stream: Stream) -> Stream:
    stream.until_open(failed())
    return stream


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
