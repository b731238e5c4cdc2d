"""What makes the breaker suspect that the network is at fault, and whom it asks."""

from __future__ import annotations

import itertools
import random

import pytest

from consumer.evidence import Evidence
from consumer.places import REMEMBERED_S
from consumer.suspicion import ASK_AFTER_S, GOOD_FOR_DEADLINES, LONG_RUN, RUN, SILENCE_S, WITNESSES
from tests.breaker.telling import Stream, failed, got

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
