"""The table of `make chaos`: a line a scenario, on the terminal and in a Markdown file."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import confluent_kafka
from rich.table import Table

from ops.local_kafka import jars
from tests.faults.report import Report

COLUMNS = (
    "scenario",
    "runs",
    "events",
    "faults",
    "lost",
    "doubled",
    "reordered",
    "aborted, visible",
    "committed too far",
    "wrong",
    "aborted records",
    "longest silence",
)


@dataclass(frozen=True)
class Line:
    """A scenario's runs, added up; of the silences the longest."""

    cells: tuple[str, ...]
    bad: bool

    @classmethod
    def of(cls, reports: Sequence[Report]) -> Line:
        """The line of one scenario's reports, at least one."""
        counts = [report.counts for report in reports]
        numbers = (
            len(reports),
            sum(report.events for report in reports),
            sum(report.faults for report in reports),
            *(
                sum(getattr(one, name) for one in counts)
                for name in ("lost", "doubled", "reordered", "aborted_visible", "committed_too_far", "wrong")
            ),
            sum(report.aborted for report in reports),
        )
        silence = f"{max(one.silence_s for one in counts):.1f} s"
        cells = (reports[0].scenario.name, *(f"{number:,}".replace(",", " ") for number in numbers), silence)
        return cls(cells, any(report.bad for report in reports))


TIMES = ("scenario: what was timed", "times", "median", "longest", "bound")


def times(reports: Sequence[Report]) -> list[tuple[str, ...]]:
    """A line for each time that a scenario has a bound for."""
    lines: list[tuple[str, ...]] = []
    for name, bound in reports[0].scenario.bounds.items():
        found = sorted(one for report in reports for one in report.measures.get(name, ()))
        if found:
            middle, longest = found[len(found) // 2], found[-1]
            cells = (f"{len(found)}", f"{middle:.2f} s", f"{longest:.2f} s", f"{bound:g} s")
            lines.append((f"{reports[0].scenario.name}: {name}", *cells))
    return lines


def printed(columns: Sequence[str], lines: Sequence[tuple[Sequence[str], bool]]) -> Table:
    """For the terminal: cells, and whether they are bad news."""
    table = Table(*columns, box=None, pad_edge=False)
    for cells, bad in lines:
        table.add_row(*cells, style="red" if bad else "")
    return table


def write(path: Path, mark: str, columns: Sequence[str], lines: Sequence[Sequence[str]]) -> None:
    """Puts lines into the table between ``<!-- mark -->`` and its end, each in place of the one with its first cell.

    New ones come at the table's end; a file that has no such table gets one at its own.
    """

    def table(former: str) -> str:
        rows = {row.split("|")[1].strip(): row for row in former.strip().splitlines()[2:]}
        rows |= {line[0]: _row(line) for line in lines}
        numbers = [all(cell[:1].isdigit() for cell in column) for column in zip(*lines, strict=True)]
        head = [_row(columns), _row(["---:" if number else "---" for number in numbers])]
        return "\n".join([*head, *rows.values()])

    _between(path, mark, table)


def write_conditions(path: Path, command: str) -> None:
    """Puts between ``<!-- made -->`` and its end by which command the last lines were made, and on what."""
    memory_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    on = (
        f"{os.cpu_count()} cores and {memory_gb:.0f} GB, {platform.system()}, Python {platform.python_version()}, "
        f"librdkafka {confluent_kafka.libversion()[0]}, Apache Kafka {jars.version()}"
    )
    _between(path, "made", lambda _: f"```\n{command}\n```\n\nThe last lines were made with this, on {on}.")


def _between(path: Path, mark: str, change: Callable[[str], str]) -> None:
    begin, end = f"<!-- {mark} -->", f"<!-- /{mark} -->"
    text = path.read_text("utf-8") if path.exists() else ""
    before, found, rest = text.partition(begin)
    former, _, after = rest.partition(end) if found else ("", "", "\n")
    path.write_text(f"{before}{begin}\n{change(former)}\n{end}{after}", "utf-8")


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
