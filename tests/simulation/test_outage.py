"""How many events an outage may cost, as the simulation judges it."""

from __future__ import annotations

from consumer.breaker import GIVE_UP_S
from consumer.evidence import Evidence
from consumer.places import REMEMBERED_S
from consumer.suspicion import RUN
from tests.simulation.outage import Patience

FAILED = Evidence("fetch_timeout", network=False, place="one")


def given_up(patience: Patience, first: int, count: int, now: float) -> None:
    """So many events fail at that time, and are published as failed."""
    for offset in range(first, first + count):
        failure = patience.worked_on((0, 0, offset), FAILED, now)
        assert failure is not None
        patience.published(failure)


def test_a_run_of_failures_that_become_outcomes_is_a_breach() -> None:
    breaches: list[str] = []
    patience = Patience(10.0, breaches.append)
    given_up(patience, 0, RUN - 1, 0.0)
    assert breaches == []
    given_up(patience, RUN, 1, 0.0)
    assert len(breaches) == 1


def test_failures_that_the_breaker_has_forgotten_are_not_counted() -> None:
    """Found by seed 314077: 13 of them, half an hour in which nothing was heard, and 12 more."""
    breaches: list[str] = []
    patience = Patience(10.0, breaches.append)
    given_up(patience, 0, 13, 0.0)
    given_up(patience, 13, 12, REMEMBERED_S + 1)
    assert breaches == []


def test_a_host_that_is_asked_in_vain_keeps_them_in_mind() -> None:
    breaches: list[str] = []
    patience = Patience(10.0, breaches.append)
    given_up(patience, 0, 13, 0.0)
    patience.asked("another", False, REMEMBERED_S - 1)
    given_up(patience, 13, 12, REMEMBERED_S + 1)
    assert REMEMBERED_S + 1 < GIVE_UP_S
    assert len(breaches) > 0
