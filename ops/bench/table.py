"""The one table: the same cells for the terminal and for the README."""

from __future__ import annotations

from rich.table import Table

from ops.bench.report import SIZE, Report, Run

HEAD = ("", "CPU ms an event", "events/s", "p50 ms", "p95 ms", "p99 ms", "MiB", "of its limit")
Row = tuple[str, ...]


def rows(report: Report) -> list[Row]:
    """Parts, then systems; a cell is empty where nothing was measured."""
    return [*_parts(report), *(row for run in report.runs for row in _run(report, run))]


def _parts(report: Report) -> list[Row]:
    found = [(f"fetch alone, {name}", cost) for name, cost in report.fetch.items()]
    found += [(f"decode and resize alone, {size}", cost) for size, cost in report.decode.items()]
    for model, costs in report.models.items():
        for backend in dict.fromkeys(name.rpartition(" ")[0] for name in costs):
            batches = {name.rpartition(" ")[2]: cost for name, cost in costs.items() if name.startswith(f"{backend} ")}
            batch = min(batches, key=lambda one: batches[one].cpu_ms)
            found.append((f"{model} alone, {backend}, batches of {batch}", batches[batch]))
    if report.kafka:
        found.append(("Kafka alone, consume and produce", report.kafka))
    return [_row(name, cpu=cost.cpu_ms) for name, cost in found]


def _run(report: Report, run: Run) -> list[Row]:
    seen = run.seen
    efficiency = ""
    before: list[Row] = []
    usual = run.share is None and not run.waits_s
    if run.system == "service" and usual:
        efficiency = f"{report.efficiency(run):.2f}"
        if len(run.rounds) > 1:
            efficiency += f" ({min(run.rounds):.2f}–{max(run.rounds):.2f})"
        parts = sum(report.parts_ms(run).values())
        if run.size == SIZE:
            name = f"limit of {report.machine.cores} cores: {run.model}, {run.backend}"
            before = [
                _row(name, cpu=parts, rate=report.limit_alone(run)),
                _row(f"{name}, broker and load on them too", rate=report.limit(run)),
            ]
    what = [run.system, f"{run.model}, {run.backend}"]
    what += [f"at {run.share:.0%}"] if run.share is not None else []
    what += [f"images that take {run.waits_s:g} s"] if run.waits_s else []
    what += [run.size] if run.size != SIZE else []
    row = _row(
        ", ".join(what),
        cpu=seen.cpu_ms["service"],
        rate=seen.rate,
        latency=(seen.latency.p50, seen.latency.p95, seen.latency.p99) if seen.latency else None,
        memory=seen.memory_mib,
        efficiency=efficiency,
    )
    return [*before, row]


def _row(
    name: str,
    *,
    cpu: float | None = None,
    rate: float | None = None,
    latency: tuple[float, float, float] | None = None,
    memory: float | None = None,
    efficiency: str = "",
) -> Row:
    def shown(value: float | None, digits: int) -> str:
        return "" if value is None else f"{value:.{digits}f}"

    times = [shown(one, 0) for one in latency or (None, None, None)]
    return (name, shown(cpu, 2), shown(rate, 1), *times, shown(memory, 0), efficiency)


def title(report: Report) -> str:
    """The processor, and whether it was ours alone."""
    machine = report.machine
    others = max((run.seen.cores_of_others for run in report.runs), default=0.0)
    busy = f"; others used up to {others:.1f} cores meanwhile" if others >= 0.1 else ""
    told = f" ({', '.join(machine.instructions)})" if machine.instructions else ""
    return f"{machine.processor}{told}, {machine.cores} cores{busy}"


def terminal(report: Report) -> Table:
    """For a terminal."""
    table = Table(title=title(report), box=None, title_justify="left")
    for number, name in enumerate(HEAD):
        table.add_column(name, justify="right" if number else "left", no_wrap=not number)
    for row in rows(report):
        table.add_row(*row)
    return table


def markdown(report: Report) -> str:
    """For the README."""
    lines = [HEAD, ("---", *["---:"] * (len(HEAD) - 1)), *rows(report)]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"{title(report)}, {report.began[:10]}:\n\n{table}"


def ledger(report: Report) -> list[str]:
    """Where an event's CPU goes in each service flat out, and what its surroundings take besides."""
    lines = []
    for run in report.runs:
        if run.system == "service" and run.share is None and not run.waits_s and run.size == SIZE:
            parts = ", ".join(f"{name} {ms:.2f}" for name, ms in report.parts_ms(run).items() if name != "Kafka")
            around = ", ".join(f"{name} {ms:.2f}" for name, ms in run.seen.cpu_ms.items() if name != "service")
            lines.append(
                f"{run.model}, {run.backend}: {run.seen.cpu_ms['service']:.2f} ms of CPU an event = {parts}, "
                f"the rest {report.rest_ms(run):.2f}; around it {around}"
            )
    return lines
