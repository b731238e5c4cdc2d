"""What is spared for images that come again, end to end: ``python -m ops.bench.repeats``.

Two services are up, one with `FETCH_SHARED` and `MODEL_CACHE_BYTES` off and one with both as they are by default.
The same events go to one and the other in turn, a few seconds each; what counts is the ratio. Three minutes for a
model; see `docs/repeats.md`.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import astuple, dataclass
from functools import partial
from pathlib import Path
from statistics import fmean

from rich.console import Console
from rich.table import Table

from ops import tool
from ops.bench import models
from ops.bench.image_server import url
from ops.bench.processes import BenchError
from ops.bench.systems import Running, Surroundings, service, surroundings
from ops.bench.traffic import Url
from ops.local_kafka import LocalKafkaError

SECONDS, WARM_S, ROUNDS = 4.0, 1.5, 3
OFF = {"FETCH_SHARED": "false", "MODEL_CACHE_BYTES": "0"}
ON = {"FETCH_SHARED": "true", "MODEL_CACHE_BYTES": str(32 * 2**20)}
SHARED, RECALLED = "image_consumer_shared_fetches_total", "image_consumer_recalled_answers_total"


@dataclass(frozen=True, slots=True)
class Events:
    """What is published: its name, the URL of each event, and how long an image takes to come."""

    name: str
    url: Url
    waits_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Found:
    """What one service made of one kind of events: events a second, its CPU for each, shares of all events."""

    rate: float
    cpu_ms: float
    shared: float
    recalled: float

    @classmethod
    def mean(cls, found: list[Found]) -> Found:
        """Of several rounds."""
        return cls(*map(fmean, zip(*map(astuple, found), strict=True)))


def kinds(port: int) -> list[Events]:
    """From events in which nothing comes again to such in which everything does."""
    return [
        Events("every image is new", lambda number: f"{url(port, number)}?new"),
        Events("64 images under many URLs", partial(url, port)),
        Events("one URL", lambda _: url(port, 0)),
        Events("one URL, 0.1 s away", lambda _: url(port, 0, after_s=0.1), 0.1),
    ]


def measure(around: Surroundings, folder: Path, tell: Callable[[str], None]) -> dict[str, list[Found]]:
    """Each kind of events through the service that spares nothing and the one that does."""
    made = {}
    with service(around, folder, more=OFF) as off, service(around, folder, more=ON) as on:
        for events in kinds(around.image_port):
            tell(events.name)
            rounds = [[_measured(running, events) for running in (off, on)] for _ in range(ROUNDS)]
            made[events.name] = [Found.mean(list(of_one)) for of_one in zip(*rounds, strict=True)]
    return made


def _measured(running: Running, events: Events) -> Found:
    names = (SHARED, RECALLED)
    before, done = [running.counted(name) for name in names], sum(running.outcomes().values())
    seen = running.traffic.flat_out(events.url, waits_s=events.waits_s, warm_s=WARM_S, seconds=SECONDS)
    outcomes = running.outcomes()
    if outcomes["failed"] or outcomes["unreadable"] or seen.lost or seen.doubled:
        raise BenchError(f"{events.name}: events failed, were lost or doubled, so this is no measure: {outcomes}")
    count = sum(outcomes.values()) - done
    shared, recalled = ((running.counted(name) - one) / count for name, one in zip(names, before, strict=True))
    return Found(seen.rate, seen.cpu_ms["service"], shared, recalled)


def table(model: str, found: dict[str, list[Found]]) -> Table:
    """Events a second and CPU of the service for each, off and on, and the ratios."""
    made = Table(title=f"{model} model, batches as tuned", box=None, title_justify="left")
    for name in ("", "events/s off", "on", "ratio", "CPU ms off", "on", "ratio", "shared", "recalled"):
        made.add_column(name, justify="right" if name else "left", no_wrap=True)
    for name, (off, on) in found.items():
        rates = f"{off.rate:.0f}", f"{on.rate:.0f}", f"{on.rate / off.rate:.2f}"
        costs = f"{off.cpu_ms:.2f}", f"{on.cpu_ms:.2f}", f"{on.cpu_ms / off.cpu_ms:.2f}"
        made.add_row(name, *rates, *costs, f"{on.shared:.0%}", f"{on.recalled:.0%}")
    return made


def run(names: list[str], folder: Path, tell: Callable[[str], None]) -> list[Table]:
    """Each model with each kind of events.

    Raises:
        BenchError: a step cannot be done.
    """
    tables = []
    with surroundings(folder) as around:
        for name in names:
            model = models.model_folder(name, tell)
            models.with_int8_copy(model, tell)
            tell(f"{name} model: two services")
            tables.append(table(name, measure(around, model, tell)))
    return tables


def main() -> int:
    """0 if everything was measured."""
    parser = argparse.ArgumentParser(
        prog="python -m ops.bench.repeats",
        description=__doc__,
        epilog="example: python -m ops.bench.repeats --models shipped",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    known = ["shipped", "xception"]
    parser.add_argument("--models", nargs="+", choices=known, default=known, help="which (default: both)")
    options = parser.parse_args()
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 150)
    began = time.monotonic()

    def tell(line: str) -> None:
        console.print(f"{time.monotonic() - began:6.1f} s  {line}", markup=False)

    try:
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            tables = run(options.models, Path(folder), tell)
    except (BenchError, LocalKafkaError, OSError) as error:
        console.print(str(error), style="red", markup=False)
        return 1
    for one in tables:
        console.print(one)
    return 0


if __name__ == "__main__":
    tool.run(main)
