"""`make chaos`: the fault suite in its large form, and its table.

python -m tests.faults                                     # everything: hours
python -m tests.faults --scenario zombie --seeds 3
python -m tests.faults --scenario kill,stop --events 2000 --write docs/chaos.md
python -m tests.faults --break newest-offset               # must turn red
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from consumer.signals import StopRequest
from ops.local_kafka import LocalKafkaError
from tests.faults import proof
from tests.faults.arena import Arena
from tests.faults.breakages import RULES
from tests.faults.feed import LARGE
from tests.faults.process import DiedError
from tests.faults.proof import TRIES, Proof, prove
from tests.faults.report import Report
from tests.faults.run import Run
from tests.faults.scenarios import BY_NAME, SCENARIOS, Scenario
from tests.faults.table import COLUMNS, TIMES, Line, printed, times, write
from tests.faults.together import Together

EXAMPLES = """examples:
  python -m tests.faults --list
  python -m tests.faults --scenario zombie,kill --seeds 3
  python -m tests.faults --scenario kill --events 2000 --write docs/chaos.md
  python -m tests.faults --break newest-offset  # a rule broken on purpose: its scenario must turn red
  python -m tests.faults --break all --write docs/chaos.md

exit codes: 0 all as it should be, 1 something is not, 130 interrupted"""

INTERRUPTED = 130
"""As a shell says of a program that Ctrl-C ended."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs what is asked for, prints the table; 1 if anything in it is wrong."""
    options = _parser().parse_args(arguments)
    console = Console(highlight=False)
    if options.list:
        for scenario in SCENARIOS:
            console.print(f"{scenario.name:32}{scenario.delivery:16}{scenario.instances} instances")
        for name, rule in RULES.items():
            console.print(f"--break {name:24}{rule.meaning}; found by {rule.found_by}")
        return 0
    asked = StopRequest.on_signals()
    try:
        with Arena() as arena:
            if options.broken:
                return _prove(arena, options, asked, console)
            return _survive(arena, options, asked, console)
    except (LocalKafkaError, DiedError) as error:
        console.print(str(error), markup=False)
        return 1


def _survive(arena: Arena, options: argparse.Namespace, asked: StopRequest, console: Console) -> int:
    lines: list[Line] = []
    scenarios = options.scenario or SCENARIOS
    with _progress(console) as progress:
        together = Together(scenarios, partial(_runs, arena, options, asked, progress), options.at_once)
        for scenario in scenarios:
            if reports := together.report(scenario.name):
                lines.append(Line.of(reports))
                if options.write:
                    write(options.write, "chaos", COLUMNS, [lines[-1].cells])
                    if timed := times(reports):
                        write(options.write, "times", TIMES, timed)
    console.print(printed(COLUMNS, [(line.cells, line.bad) for line in lines]))
    return INTERRUPTED if asked.is_set() else int(any(line.bad for line in lines))


def _runs(
    arena: Arena, options: argparse.Namespace, asked: StopRequest, progress: Progress, scenario: Scenario
) -> list[Report]:
    """One scenario with every seed, a bar for each while it lasts and a line when it is over."""
    reports: list[Report] = []
    size = replace(LARGE, events=options.events, rate=options.rate)
    for seed in range(1, options.seeds + 1):
        if asked.is_set():
            break
        with _bar(progress, f"{scenario.name}, seed {seed}", size.events) as tell:
            report = Run(arena, scenario, size, seed=seed, asked=asked, tell=tell).execute()
        if asked.is_set():
            break  # an interrupted run has not published everything: its counts mean nothing
        progress.console.print(report.told(), style="red" if report.bad else "", markup=False, soft_wrap=True)
        if report.bad:
            progress.console.print(report.logs, markup=False, soft_wrap=True)
        reports.append(report)
    return reports


def _prove(arena: Arena, options: argparse.Namespace, asked: StopRequest, console: Console) -> int:
    proofs: list[Proof] = []
    with _progress(console) as progress:
        for rule in sorted(RULES) if options.broken == "all" else [options.broken]:
            with _bar(progress, f"{rule} broken", TRIES[-1]) as tell:
                proofs.append(prove(arena, rule, asked=asked, tell=tell))
            if asked.is_set():
                return INTERRUPTED
            console.print("; ".join(proofs[-1].cells), markup=False, soft_wrap=True)
            if options.write:
                write(options.write, "rules", proof.COLUMNS, [proofs[-1].cells])
    console.print(printed(proof.COLUMNS, [(one.cells, not one.found) for one in proofs]))
    return int(not all(one.found for one in proofs))


def _progress(console: Console) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=console, transient=True)


@contextmanager
def _bar(progress: Progress, name: str, total: int) -> Iterator[Callable[[int, int], None]]:
    """A bar for as long as the block lasts; gives what a run tells how far it is."""
    task = progress.add_task(name, total=total)
    yield lambda published, seen: progress.update(task, completed=seen)
    progress.remove_task(task)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.faults",
        description="Real processes on three brokers, and everything that goes wrong; counts what came of it.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--scenario", type=_scenarios, metavar="NAME,…", help="which (default: all)")
    parser.add_argument(
        "--events", type=_positive, default=LARGE.events, metavar="N", help="each (default: %(default)s)"
    )
    parser.add_argument("--rate", type=_positive, default=int(LARGE.rate), metavar="N", help="events a second, at most")
    parser.add_argument("--at-once", type=_positive, default=1, metavar="N", help="runs at a time: longer silences")
    parser.add_argument("--seeds", type=_positive, default=1, metavar="N", help="runs of each, with other dice")
    parser.add_argument(
        "--break", dest="broken", choices=["all", *sorted(RULES)], help="a rule of the service to break"
    )
    parser.add_argument("--write", type=Path, metavar="FILE", help="a Markdown file whose table gets these lines")
    parser.add_argument("--list", action="store_true", help="the scenarios and the rules")
    return parser


def _scenarios(text: str) -> list[Scenario]:
    names = text.split(",")
    for name in names:
        if name not in BY_NAME:
            raise argparse.ArgumentTypeError(f"{name!r} is no scenario: --list shows them")
    return [BY_NAME[name] for name in names]


def _positive(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 up")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
