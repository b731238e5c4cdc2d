"""Where the CPU time of an event goes, thread by thread and line by line: ``python -m ops.bench.profile``.

The service runs flat out. The kernel says what each of its threads took (``/proc/PID/task/*/schedstat``, to the
nanosecond); py-spy says what they are called, and afterwards, for as long again, which line of Python held the
interpreter's lock. A minute; it needs Linux, ``pip install py-spy``, and the right to trace a process that closes
its memory to others (root has it).
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import suppress
from functools import partial
from pathlib import Path

from ops import tool
from ops.bench import models
from ops.bench.image_server import url
from ops.bench.processes import BenchError, tree
from ops.bench.systems import Running, service, surroundings

WARM_S = 4.0
SAMPLES_A_SECOND = 200
LINES = 25
DECODERS = "processes for decoding"
_NUMBER = re.compile(r"[-_ ]?\d+$")


def threads_of(pid: int) -> dict[int, str]:
    """Python's threads by the system's number, called as the service calls them, without their own number."""
    told = json.loads(_spy("dump", "--json", "--nonblocking", "--pid", str(pid)))
    return {one["os_thread_id"]: _NUMBER.sub("", one["thread_name"] or "Python") for one in told}


def spent_ms(pid: int, names: dict[int, str]) -> Counter[str]:
    """CPU so far, by kind of thread; a thread that Python does not know has the name that the system knows."""
    spent: Counter[str] = Counter()
    for process in tree(pid):
        with suppress(OSError):  # it, or one of its threads, has ended
            for task in Path(f"/proc/{process}/task").iterdir():
                ms = int((task / "schedstat").read_text("ascii").split()[0]) / 1e6
                native = f"native: {_NUMBER.sub('', (task / 'comm').read_text().strip().partition('/')[0])}"
                spent[names.get(int(task.name), native) if process == pid else DECODERS] += ms  # type: ignore[assignment] # a Counter of fractions
    ended = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[13:15]
    spent[DECODERS] += 1000 * sum(map(int, ended)) / os.sysconf("SC_CLK_TCK")  # type: ignore[assignment] # a Counter of fractions
    return spent


def by_line(raw: str) -> Counter[tuple[str, str]]:
    """Samples of ``py-spy record --format raw --threads``, by kind of thread and by the line that ran."""
    found: Counter[tuple[str, str]] = Counter()
    for line in raw.splitlines():
        stack, _, count = line.rpartition(" ")
        frames = stack.split(";")
        name = re.sub(r"^thread \(\w+\): ", "", frames[0]).strip('"')
        found[_NUMBER.sub("", name), frames[-1]] += int(count)
    return found


def look(running: Running, seconds: float, folder: Path) -> None:
    """Prints both tables, of a service that is under load."""
    (process,) = running.instances.values()
    names = threads_of(process.pid)
    before, events = spent_ms(process.pid, names), running.outcomes()["predicted"]
    time.sleep(seconds)
    spent = spent_ms(process.pid, names)
    spent.subtract(before)
    events = running.outcomes()["predicted"] - events
    if not events:
        raise BenchError("no event came to an outcome meanwhile")
    print(f"\n{events / seconds:.0f} events/s with {running.backend}; CPU milliseconds an event, by thread:\n")
    for name, ms in spent.most_common():
        if ms / events >= 0.0005:
            print(f"{ms / events:8.3f}  {name}")
    print(f"{spent.total() / events:8.3f}  together")
    raw = folder / "lines"
    options = ("--gil", "--threads", "--format", "raw", "--rate", str(SAMPLES_A_SECOND), "--output", str(raw))
    _spy("record", *options, "--duration", str(round(seconds)), "--pid", str(process.pid))
    lines = by_line(raw.read_text())
    share = 100 / (SAMPLES_A_SECOND * round(seconds))
    print(
        f"\nthe interpreter's lock was held for {lines.total() * share:.0f} % of the time, and of that the most by:\n"
    )
    for (name, line), count in lines.most_common(LINES):
        print(f"{count * share:7.1f} %  {name:8}  {line}")


def _found() -> str:
    """py-spy of this environment, whether it is active or not, or that of the system.

    Raises:
        BenchError: there is none.
    """
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))
    found = shutil.which("py-spy", path=path)
    if found is None:
        raise BenchError("py-spy is not here: pip install py-spy")
    return found


def _spy(*command: str) -> str:
    done = subprocess.run([_found(), *command], capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchError(f"py-spy failed: {done.stderr.strip().splitlines()[-1]}")
    return done.stdout


def main() -> int:
    """0 if it was measured."""
    parser = argparse.ArgumentParser(
        prog="python -m ops.bench.profile",
        description=__doc__,
        epilog="example: python -m ops.bench.profile --model xception --seconds 20",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--model", choices=("shipped", "xception"), default="shipped", help="(default: %(default)s)")
    parser.add_argument(
        "--seconds", type=float, default=8.0, metavar="S", help="of each of the two looks (default: %(default)g)"
    )
    options = parser.parse_args()
    try:
        _found()  # not after half a minute
        model = models.model_folder(options.model, print)
        models.with_int8_copy(model, print)
        with (
            tempfile.TemporaryDirectory(prefix="bench-") as folder,
            surroundings(Path(folder)) as around,
            service(around, model) as running,
        ):
            where, seconds = partial(url, around.image_port), 4 * options.seconds
            loading = threading.Thread(
                target=running.traffic.flat_out, args=(where,), kwargs={"warm_s": WARM_S, "seconds": seconds}
            )
            loading.start()
            time.sleep(2 * WARM_S)
            look(running, options.seconds, Path(folder))
            loading.join()
    except BenchError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    tool.run(main)
