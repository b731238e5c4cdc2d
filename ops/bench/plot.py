"""The plot: throughput and latency against the load that is offered (extra ``bench``: matplotlib)."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from ops.bench.report import SIZE, Report, Run

INSTALL = "pip install '.[bench]'"


def is_installed() -> bool:
    """Whether matplotlib is there."""
    return importlib.util.find_spec("matplotlib") is not None


def draw(report: Report, file: Path) -> None:
    """Writes a PNG: one line for each system, its percentiles below."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - an extra

    figure = Figure(figsize=(9, 7), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    for number, (name, runs) in enumerate(_series(report).items()):
        colour = f"C{number}"
        offered = [run.seen.offered or run.seen.rate for run in runs]
        above.plot(offered, [run.seen.rate for run in runs], "o-", color=colour, label=name)
        timed = [(run.seen.offered, run.seen.latency) for run in runs if run.seen.offered and run.seen.latency]
        loads = [one for one, _ in timed]
        for style, field in (("o-", "p50"), ("^:", "p99")):
            values = [getattr(latency, field) for _, latency in timed]
            below.plot(loads, values, style, color=colour, label=f"{name}, {field}" if number == 0 else None)
    above.set_ylabel("outcomes, events/s")
    above.legend(frameon=False)
    above.set_title(f"{report.machine.processor}, {report.machine.cores} cores; Xception at 224 × 224", fontsize=10)
    below.set_xlabel("offered, events/s")
    below.set_ylabel("record timestamp to readable outcome, ms\n(circles p50, triangles p99)")
    below.set_yscale("log")
    for axes in (above, below):
        axes.grid(alpha=0.3)
        axes.set_xscale("log")
    figure.savefig(file, dpi=120)


def _series(report: Report) -> dict[str, list[Run]]:
    found: dict[str, list[Run]] = {}
    for run in report.runs:
        if run.model == "xception" and not run.waits_s and run.size == SIZE:
            found.setdefault(f"{run.system}, {run.backend}", []).append(run)
    return {name: sorted(runs, key=lambda run: run.seen.offered or float("inf")) for name, runs in found.items()}
