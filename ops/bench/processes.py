"""Processes of ours, and what the system says of them: CPU time, memory, and how busy the rest of the machine is.

Linux only: it reads /proc.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

TICK_S = 1 / os.sysconf("SC_CLK_TCK")
ROOT = Path(__file__).parents[2]
END_S = 40.0


class BenchError(Exception):
    """A step cannot be done; the message says why and shows the end of the process's log."""


def environment() -> dict[str, str]:
    """Of every process that runs this project's code here."""
    return os.environ | {"PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}


@contextmanager
def started(name: str, command: list[str], folder: Path, **environ: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process with its output in ``folder/NAME.log``, ended with the block."""
    log = folder / f"{name}.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, *command],
            env=environment() | environ,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is for us: we end them in order
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def tail(log: Path, lines: int = 15) -> str:
    """The end of a log, for a message."""
    return "\n".join(log.read_text("utf-8", "replace").splitlines()[-lines:])


def tree(root: int) -> list[int]:
    """A process and all that descend from it."""
    parents: dict[int, list[int]] = {}
    for one in _pids():
        with suppress(OSError):
            parents.setdefault(_stat(one)[1], []).append(one)
    found = [root]
    for one in found:
        found += parents.get(one, [])
    return found


def cpu_s(pids: list[int]) -> float:
    """CPU seconds, user and system, that these processes have taken so far, with children that they waited for."""
    return sum(_cpu_ticks(one) for one in pids) * TICK_S


def memory_mib(pids: list[int]) -> float:
    """Proportional set size of these processes in MiB: what they share is counted once."""
    kib = 0
    for one in pids:
        with suppress(OSError):
            for line in Path(f"/proc/{one}/smaps_rollup").read_text("utf-8").splitlines():
                if line.startswith("Pss:"):
                    kib += int(line.split()[1])
    return kib / 1024


@dataclass(frozen=True, slots=True)
class Reading:
    """CPU seconds since the start: of named groups of processes, and of the whole machine (``busy_s``)."""

    at: float
    groups: dict[str, float]
    busy_s: float

    @classmethod
    def now(cls, groups: dict[str, list[int]]) -> Reading:
        """One look at all of them; groups are lists of processes, each with its descendants."""
        spent = {name: cpu_s([one for root in roots for one in tree(root)]) for name, roots in groups.items()}
        return cls(time.monotonic(), spent, _busy_s())


@dataclass(frozen=True, slots=True)
class Spent:
    """What happened between two readings: cores in use on average, by group; ``others`` are not ours."""

    seconds: float
    cpu_s: dict[str, float]
    others_cores: float

    @classmethod
    def between(cls, first: Reading, last: Reading) -> Spent:
        """The later minus the earlier."""
        seconds = last.at - first.at
        by_group = {name: last.groups[name] - first.groups[name] for name in first.groups}
        others = (last.busy_s - first.busy_s - sum(by_group.values())) / seconds
        return cls(seconds, by_group, max(0.0, others))


def _busy_s() -> float:
    """Of /proc/stat: user, nice, system, irq, softirq, and steal, which is other guests' on the same cores."""
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(
        int, Path("/proc/stat").read_text("ascii").splitlines()[0].split()[1:9]
    )
    return (user + nice + system + irq + softirq + steal) * TICK_S


def _pids() -> list[int]:
    return [int(one) for one in os.listdir("/proc") if one.isdigit()]


def _stat(pid: int) -> tuple[list[str], int]:
    """The fields of /proc/PID/stat behind the name, which may hold spaces; and the parent."""
    fields = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
    return fields, int(fields[1])


def _cpu_ticks(pid: int) -> int:
    try:
        fields, _ = _stat(pid)
    except OSError:  # it ended
        return 0
    return sum(map(int, fields[11:15]))
