"""The table of `make chaos`: a line a scenario, on the terminal and in a Markdown file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table

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
BEGIN, END = "<!-- chaos -->", "<!-- /chaos -->"


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


def printed(lines: Sequence[Line]) -> Table:
    """For the terminal."""
    table = Table(*COLUMNS, box=None, pad_edge=False)
    for line in lines:
        table.add_row(*line.cells, style="red" if line.bad else "")
    return table


def write(path: Path, lines: Sequence[Line]) -> None:
    """Puts the lines into the file's table, each in place of the one of the same name, new ones at its end."""
    text = path.read_text("utf-8") if path.exists() else f"# Chaos\n\n{BEGIN}\n{END}\n"
    before, _, rest = text.partition(BEGIN)
    table, _, after = rest.partition(END)
    rows = {row.split("|")[1].strip(): row for row in table.strip().splitlines()[2:]}
    rows |= {line.cells[0]: _row(line.cells) for line in lines}
    head = [_row(COLUMNS), _row(["---", *["---:"] * (len(COLUMNS) - 1)])]
    path.write_text(before + BEGIN + "\n" + "\n".join([*head, *rows.values()]) + "\n" + END + after, "utf-8")


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
