"""Every scenario in its small form, on one three-broker Apache Kafka; and the proof that they can fail."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from ops.local_kafka import jars
from tests.faults.arena import Arena
from tests.faults.feed import SMALL
from tests.faults.proof import prove
from tests.faults.report import Report
from tests.faults.run import Run, ground
from tests.faults.scenarios import BY_NAME, SCENARIOS, Scenario
from tests.faults.together import Together

pytestmark = [pytest.mark.slow, pytest.mark.kafka]

NAMES = [scenario.name for scenario in SCENARIOS if not scenario.large_only]

QUICKLY_BROKEN = ["no-transactions", "unknown-is-failure"]
"""Rules whose scenario turns red at once; `python -m tests.faults --break RULE` tries any of them."""


@pytest.fixture(scope="module")
def arena() -> Iterator[Arena]:
    if reason := jars.why_not():
        if os.environ.get("CI"):
            pytest.fail(f"CI is set and there is no Apache Kafka: {reason}", pytrace=False)
        pytest.skip(f"no Apache Kafka: {reason}")
    with Arena() as made:
        yield made


@pytest.fixture(scope="module")
def together(arena: Arena, request: pytest.FixtureRequest) -> Iterator[Together[Report]]:
    """Runs the scenarios that were chosen, several at a time."""
    chosen = {item.callspec.params.get("name") for item in request.session.items if hasattr(item, "callspec")}

    def execute(scenario: Scenario) -> Report:
        with ground(arena, scenario) as where:
            return Run(where, scenario, SMALL).execute()

    made = Together([BY_NAME[name] for name in NAMES if name in chosen], execute)
    yield made
    made.close()


@pytest.mark.parametrize("name", NAMES)
def test_every_event_has_one_outcome_in_order_through(together: Together[Report], name: str) -> None:
    report = together.report(name)
    assert report.faults > 0, report.told()
    assert report.bad == {}, f"{report.told()}\n{report.logs}"


@pytest.mark.parametrize("rule", QUICKLY_BROKEN)
def test_a_broken_rule_turns_its_scenario_red(arena: Arena, together: Together[Report], rule: str) -> None:
    together.close()  # nothing else may make it red
    assert prove(arena, rule).found
