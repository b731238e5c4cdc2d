"""The command: see ``python -m ops.bench --help``."""

from __future__ import annotations

import argparse
import re
import tempfile
import time
from pathlib import Path

from rich.console import Console

from ops import tool
from ops.bench import plot, table
from ops.bench.figures import TooFewError
from ops.bench.processes import ROOT, BenchError
from ops.bench.report import Report
from ops.bench.suite import PLANS, Suite, Tell
from ops.local_kafka import LocalKafkaError

README = ROOT / "README.md"
PLOT = ROOT / "docs" / "performance.png"
WIDTH = 150
"""Of the table where there is no terminal to ask."""
MARKS = re.compile(r"<!-- bench -->.*?<!-- /bench -->", re.DOTALL)


def main() -> int:
    """0 if everything was measured."""
    options = _options()
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=WIDTH)
    began = time.monotonic()

    def tell(line: str) -> None:
        # Never wrapped: whoever pipes it into a file wants a step a line.
        console.print(f"{time.monotonic() - began:6.1f} s  {line}", soft_wrap=True, markup=False)

    report = Report()
    complete = False
    try:
        if options.read:
            report = Report.read(options.read)
        else:
            _measure(report, options, tell)
        complete = True
    except (BenchError, TooFewError, LocalKafkaError, OSError) as error:
        console.print(str(error), style="red", markup=False)
        if not report.runs:
            return 1
        tell("what was measured until then:")
    console.print(table.terminal(report), soft_wrap=True)
    for line in table.ledger(report):
        console.print(line, soft_wrap=True, markup=False)
    if options.json and not options.read:
        report.write(options.json)
        tell(f"wrote {options.json}")
    drawn = [options.plot] if options.plot else []
    drawn += [PLOT] if options.readme and complete else []
    for file in drawn:
        if plot.is_installed():
            plot.draw(report, file)
            tell(f"wrote {file}")
        else:
            tell(f"no plot, since matplotlib is not installed: {plot.INSTALL}")
    if options.readme and complete:
        text = README.read_text("utf-8")
        fresh = f"<!-- bench -->\n{table.markdown(report)}\n<!-- /bench -->"
        README.write_text(MARKS.sub(lambda _: fresh, text), "utf-8")
        tell(f"wrote {README}")
    return int(not complete)


def _measure(report: Report, options: argparse.Namespace, tell: Tell) -> None:
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        Suite(PLANS[options.plan], Path(folder), tell, report).run()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m ops.bench",
        description="Measures the parts, the service and what one would write instead, side by side.",
        epilog="""examples:
  python -m ops.bench --json bench.json --plot bench.png    # make bench
  python -m ops.bench full --json bench.json --readme       # make bench-full
  python -m ops.bench --read bench.json                     # the table again, nothing measured""",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "plan",
        nargs="?",
        choices=PLANS,
        default="quick",
        help="4 minutes, 40 minutes, or a try of the benchmark itself (default: %(default)s)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="writes everything that was measured")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draws throughput and latency, a PNG")
    parser.add_argument("--readme", action="store_true", help=f"writes the README's table and {PLOT.name}")
    parser.add_argument("--read", type=Path, metavar="FILE", help="measures nothing: shows what --json wrote")
    return parser.parse_args()


if __name__ == "__main__":
    tool.run(main)
