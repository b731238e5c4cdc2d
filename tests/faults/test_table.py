"""The table of `make chaos`, and how its command answers what it cannot do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.faults.__main__ import main
from tests.faults.breakages import RULES
from tests.faults.report import Report
from tests.faults.scenarios import BY_NAME, SCENARIOS
from tests.faults.table import COLUMNS, Line, times, write, write_conditions
from tests.faults.tally import Counts

GOOD = Counts(0, 0, 0, 0, 0, 0, silence_s=1.25)


def report(name: str, counts: Counts, measures: dict[str, list[float]] | None = None) -> Report:
    return Report(
        BY_NAME[name],
        seed=1,
        events=20_000,
        counts=counts,
        aborted=7,
        faults=3,
        crashes=[],
        happened=dict.fromkeys(BY_NAME[name].must_happen, 1),
        measures=measures or {},
        seconds=60.0,
    )


def test_a_line_adds_its_runs_up_and_shows_the_longest_silence() -> None:
    longer = Counts(0, 0, 0, 0, 0, 0, silence_s=9.0)
    line = Line.of([report("kill", GOOD), report("kill", longer)])
    assert line.cells == ("kill", "2", "40 000", "6", "0", "0", "0", "0", "0", "0", "14", "9.0 s")
    assert not line.bad


def test_what_is_doubled_is_bad_unless_the_promise_allows_it() -> None:
    doubled = Counts(0, 5, 0, 0, 0, 0, silence_s=0.0)
    assert Line.of([report("kill", doubled)]).bad
    assert not Line.of([report("kill-alo", doubled)]).bad


@pytest.mark.parametrize("code", [1, 5, -11, -9, -15])
def test_an_end_that_nobody_asked_for_is_bad(code: int) -> None:
    died = report("kill", GOOD)
    died.crashes.append(code)
    assert died.bad == {"unexpected ends": 1}


@pytest.mark.parametrize(
    ("name", "what"),
    [("kill-after-poll", "died after-poll"), ("aborts", "aborted"), ("lost-answers", "lost an answer")],
)
def test_a_fault_that_did_not_happen_is_bad(name: str, what: str) -> None:
    assert not report(name, GOOD).bad
    nothing = replace(report(name, GOOD), happened={})
    assert nothing.bad == {f"never {what}": 1}
    assert not nothing.harm  # and proves no broken rule


def test_a_time_whose_median_is_above_its_bound_is_bad_and_so_is_one_that_was_not_measured() -> None:
    assert not report("back-stable", GOOD, {"ready to outcome": [0.4, 1.9]}).bad
    assert report("back-stable", GOOD, {"ready to outcome": [0.4, 2.1]}).bad
    assert not report("back-stable", GOOD, {"ready to outcome": [0.4, 2.1, 0.5]}).bad
    assert report("back-stable", GOOD).bad


def test_times_are_told_beside_their_bound() -> None:
    reports = [report("back-stable", GOOD, {"ready to outcome": [0.25, 1.9]}), report("back-stable", GOOD)]
    assert times(reports) == [("back-stable: ready to outcome", "2", "1.90 s", "1.90 s", "2 s")]


def test_only_an_instance_with_a_stable_name_that_lost_its_coordinator_may_be_fenced() -> None:
    fenced = "the consumer cannot go on: Broker: Static consumer fenced by other consumer with same group.instance.id"
    assert BY_NAME["group-coordinator-kill"].excuses(5, fenced, 0.0)
    assert BY_NAME["cut-all"].excuses(5, fenced, 0.0)
    assert not BY_NAME["cut-all"].excuses(5, "stuck: the loop does not turn", 0.0)
    assert not BY_NAME["cut-all"].excuses(1, fenced, 0.0)
    assert not BY_NAME["cut-one"].excuses(5, fenced, 0.0)  # its name is made up
    assert not BY_NAME["kill"].excuses(5, fenced, 5.0)  # a session is ten seconds there
    assert BY_NAME["kill"].excuses(5, fenced, 8.0)  # nobody hurt it, and yet it did not answer for so long
    assert not BY_NAME["kill-during-rebalance"].excuses(5, fenced, 0.5)
    assert BY_NAME["kill-during-rebalance"].excuses(5, fenced, 3.2)


def test_a_line_takes_the_place_of_its_former_self_and_leaves_the_text_around_it(tmp_path: Path) -> None:
    page = tmp_path / "chaos.md"
    page.write_text("before\n<!-- chaos -->\n<!-- /chaos -->\nafter\n", "utf-8")
    write(page, "chaos", COLUMNS, [Line.of([report("kill", GOOD)]).cells, Line.of([report("stop", GOOD)]).cells])
    write(page, "chaos", COLUMNS, [Line.of([report("kill", GOOD), report("kill", GOOD)]).cells])
    lines = page.read_text("utf-8").splitlines()
    assert lines[0] == "before"
    assert lines[-1] == "after"
    assert [line.split("|")[1:3] for line in lines[4:-2]] == [[" kill ", " 2 "], [" stop ", " 1 "]]


def test_the_page_says_by_which_command_its_lines_were_made_and_on_what(tmp_path: Path) -> None:
    page = tmp_path / "chaos.md"
    page.write_text("before\n<!-- made -->\nlast time's\n<!-- /made -->\nafter\n", "utf-8")
    write_conditions(page, "python -m tests.faults --seeds 3")
    lines = page.read_text("utf-8").splitlines()
    assert "python -m tests.faults --seeds 3" in lines
    assert "last time's" not in lines
    assert any(" cores and " in line and "Apache Kafka 4" in line for line in lines)
    assert [lines[0], lines[-1]] == ["before", "after"]


def test_each_scenario_has_a_name_of_its_own_and_each_rule_one_that_finds_it() -> None:
    assert len(BY_NAME) == len(SCENARIOS)
    assert {rule.found_by for rule in RULES.values()} <= set(BY_NAME)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--scenario", "kil"], "'kil' is no scenario: --list shows them"),
        (["--events", "0"], "'0' is not a whole number from 1 up"),
        (["--break", "everything"], "invalid choice: 'everything'"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert told in capsys.readouterr().err.splitlines()[-1]
