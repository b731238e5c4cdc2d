"""Several processes of one group on one machine, and what a process takes of memory: ``python -m ops.bench.scaling``.

One process, two on the same cores, and two with half of the cores each share the partitions of a topic; what counts is
the ratio, in one run, twice each in turn. Then one process with ever more `FETCH_CONCURRENCY` while images take a fifth
of a second to come, so that all of the threads have something to do. Two minutes each; see `docs/scaling.md`.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import fmean

from rich.console import Console
from rich.table import Table

from ops import tool
from ops.bench import models
from ops.bench.image_server import url
from ops.bench.processes import BenchError, memory_mib, tree
from ops.bench.systems import Running, Surroundings, service, surroundings
from ops.bench.traffic import Seen
from ops.local_kafka import LocalKafkaError

SECONDS, WARM_S = 8.0, 3.0
ROUNDS = 2
WAYS = {"1": (1, False), "2": (2, False), "2, half of the cores each": (2, True)}
"""Processes, and whether each has cores of its own."""
CONCURRENCY = (8, 32, 128, 512)
WAITS_S = 0.2
SIZES = ("385x500", "1000x1000")

Tell = Callable[[str], None]


def choose(around: Surroundings, model: Path, tell: Tell) -> None:
    """The first starts, which measure how to run the model: all later ones go by what they found."""
    with service(around, model) as running:
        resting = _at_rest(running)[0]
        tell(f"{running.backend} is chosen; this first start takes {resting:.0f} MiB at rest, with what it tried")
    with service(around, model, instances=2, own_cores=True) as running:
        tell(f"{running.backend} with half of the cores")


def shared(around: Surroundings, model: Path, tell: Tell) -> Table:
    """One process, two, and again; the table of what they did together."""
    found: dict[str, list[Seen]] = {way: [] for way in WAYS}
    for _ in range(ROUNDS):
        for way, (instances, own_cores) in WAYS.items():
            with service(around, model, instances=instances, own_cores=own_cores) as running:
                seen = running.traffic.flat_out(partial(url, around.image_port), warm_s=WARM_S, seconds=SECONDS)
                _refuse_failures(running, seen)
            found[way].append(seen)
            tell(f"{way} in the group: {seen.rate:.1f} events/s, {seen.memory_mib:.0f} MiB")
    table = _table("processes", "events/s", "ratio", "CPU ms an event", "MiB together", "MiB each")
    first = fmean(seen.rate for seen in found["1"])
    for way, seen_each in found.items():
        rate = fmean(seen.rate for seen in seen_each)
        cpu_ms = fmean(seen.cpu_ms["service"] for seen in seen_each)
        memory = fmean(seen.memory_mib for seen in seen_each)
        each = memory / WAYS[way][0]
        table.add_row(way, f"{rate:.1f}", f"{rate / first:.2f}", f"{cpu_ms:.2f}", f"{memory:.0f}", f"{each:.0f}")
    return table


def memory(around: Surroundings, model: Path, tell: Tell) -> Table:
    """One process with ever more threads that fetch: what it takes at rest, and under load with either size."""
    heads = [f"MiB, {size}" for size in SIZES] + [f"events/s, {size}" for size in SIZES]
    table = _table("FETCH_CONCURRENCY", "MiB at rest", "of it decoders", *heads)
    for concurrency in CONCURRENCY:
        tell(f"FETCH_CONCURRENCY={concurrency}")
        with service(around, model, more={"FETCH_CONCURRENCY": str(concurrency)}) as running:
            cells, rates = _at_rest(running), []
            for size in SIZES:
                where = partial(url, around.image_port, size=size, after_s=WAITS_S)
                seen = running.traffic.flat_out(where, waits_s=WAITS_S, warm_s=WARM_S, seconds=SECONDS / 2)
                _refuse_failures(running, seen)
                cells.append(seen.memory_mib)
                rates.append(seen.rate)
        table.add_row(str(concurrency), *(f"{one:.0f}" for one in [*cells, *rates]))
    return table


def _at_rest(running: Running) -> list[float]:
    """MiB of the service with the processes that it started, and of those alone."""
    root = next(iter(running.instances.values())).pid
    return [memory_mib(tree(root)), memory_mib([one for one in tree(root) if one != root])]


def _refuse_failures(running: Running, seen: Seen) -> None:
    outcomes = running.outcomes()
    if outcomes["failed"] or outcomes["unreadable"] or seen.lost or seen.doubled:
        raise BenchError(f"events failed, were lost or doubled, so this is no measure: {outcomes}")


def _table(*heads: str) -> Table:
    table = Table(box=None)
    for head in heads:
        table.add_column(head, justify="right")
    return table


def main() -> int:
    """0 if everything was measured."""
    parser = argparse.ArgumentParser(
        prog="python -m ops.bench.scaling",
        description=__doc__,
        epilog="example: python -m ops.bench.scaling --model xception --only shared",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--model", choices=["shipped", "xception"], default="shipped", help="(default: %(default)s)")
    parser.add_argument(
        "--only", choices=["shared", "memory"], help="two processes, or memory by FETCH_CONCURRENCY (default: both)"
    )
    options = parser.parse_args()
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 150)
    began = time.monotonic()

    def tell(line: str) -> None:
        console.print(f"{time.monotonic() - began:6.1f} s  {line}", markup=False)

    steps = {"shared": shared, "memory": memory}
    try:
        model = models.model_folder(options.model, tell)
        models.with_int8_copy(model, tell)
        with tempfile.TemporaryDirectory(prefix="bench-") as folder, surroundings(Path(folder)) as around:
            choose(around, model, tell)
            tables = [step(around, model, tell) for name, step in steps.items() if options.only in (None, name)]
    except (BenchError, LocalKafkaError, OSError) as error:
        console.print(str(error), style="red", markup=False)
        return 1
    for one in tables:
        console.print(one)
    return 0


if __name__ == "__main__":
    tool.run(main)
