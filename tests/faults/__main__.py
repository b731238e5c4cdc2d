"""`make chaos`: the fault suite in its large form, and its table.

python -m tests.faults                                     # everything: hours
python -m tests.faults --scenario zombie --seeds 3
python -m tests.faults --scenario kill,stop --events 2000 --write docs/chaos.md
python -m tests.faults --break newest-offset               # must turn red
"""

from __future__ import annotations

import argparse
import shlex
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from consumer.signals import StopRequest
from ops.local_kafka import LocalKafkaError
from tests.faults import proof
from tests.faults.arena import Arena
from tests.faults.breakages import RULES
from tests.faults.feed import large
from tests.faults.process import DiedError
from tests.faults.proof import TRIES, Proof, prove
from tests.faults.report import Report
from tests.faults.run import Run, ground
from tests.faults.scenarios import BY_NAME, SCENARIOS, Scenario
from tests.faults.table import COLUMNS, TIMES, Line, printed, times, write, write_conditions
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
    scenarios = options.scenario or SCENARIOS
    if options.write:
        write_conditions(options.write, shlex.join(["python", "-m", "tests.faults", *sys.argv[1:]]))
    with _progress(console) as progress:
        campaign = Campaign(arena, options, asked, progress, len(scenarios))
        together = Together(scenarios, campaign.run, options.at_once)
        lines = [line for scenario in scenarios if (line := together.report(scenario.name))]
    console.print(printed(COLUMNS, [(line.cells, line.bad) for line in lines]))
    if asked.is_set():
        return INTERRUPTED
    return int(len(lines) < len(scenarios) or any(line.bad for line in lines))


class Campaign:
    """Scenarios with all their seeds, each line written as soon as it is there; what breaks one does not stop the rest.

    Args:
        total: how many scenarios there are.
    """

    def __init__(
        self, arena: Arena, options: argparse.Namespace, asked: StopRequest, progress: Progress, total: int
    ) -> None:
        self._arena = arena
        self._options = options
        self._asked = asked
        self._progress = progress
        self._total = total
        self._done = 0
        self._began = time.monotonic()
        self._lock = threading.Lock()

    def run(self, scenario: Scenario) -> Line | None:
        """One scenario; null if it was interrupted, or could not be run to its end, which is said."""
        try:
            reports = list(self._reports(scenario))
        except Exception as error:  # noqa: BLE001 - whatever it was, it is told, and the other scenarios go on
            self._tell(f"{scenario.name} broke off: {type(error).__name__}: {error}", bad=True)
            self._arena.heal(brokers=True, proxy=True)
            return None
        if not reports:
            return None
        line = Line.of(reports)
        with self._lock:
            self._done += 1
            minutes = (time.monotonic() - self._began) / 60
            left = minutes / self._done * (self._total - self._done)
            self._tell(f"{self._done} of {self._total} done in {minutes:.1f} min, about {left:.0f} min to go")
            if self._options.write:
                write(self._options.write, "chaos", COLUMNS, [line.cells])
                if timed := times(reports):
                    write(self._options.write, "times", TIMES, timed)
        return line

    def _reports(self, scenario: Scenario) -> Iterator[Report]:
        """With every seed, a bar for each while it lasts and a line when it is over."""
        size = large(self._options.events, self._options.rate)
        for seed in range(self._options.first_seed, self._options.first_seed + self._options.seeds):
            if self._asked.is_set():
                return
            name = f"{scenario.name}, seed {seed}"
            with ground(self._arena, scenario) as arena, _bar(self._progress, name, size.events) as tell:
                report = Run(arena, scenario, size, seed=seed, asked=self._asked, tell=tell).execute()
            if self._asked.is_set():
                return  # an interrupted run has not published everything: its counts mean nothing
            self._tell(report.told(), bad=bool(report.bad))
            if report.bad:
                self._tell(report.logs)
            yield report

    def _tell(self, text: str, *, bad: bool = False) -> None:
        self._progress.console.print(text, style="red" if bad else "", markup=False, soft_wrap=True)


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
        "--events", type=_positive, default=large().events, metavar="N", help="each (default: %(default)s)"
    )
    parser.add_argument(
        "--rate", type=_positive, default=int(large().rate), metavar="N", help="events a second, at most"
    )
    parser.add_argument("--at-once", type=_positive, default=1, metavar="N", help="runs at a time: longer silences")
    parser.add_argument("--seeds", type=_positive, default=1, metavar="N", help="runs of each, with other dice")
    parser.add_argument("--first-seed", type=_positive, default=1, metavar="N", help="the first of the seeds")
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
