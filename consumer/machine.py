"""What of the machine this process may use: the cores and the memory that system and container leave it.

A pool of more threads than cores does not run faster; under a CPU quota it is stopped for the rest of each period
instead, which a caller sees as latency. Who takes more memory than the container has is ended.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

CGROUPS = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")

UNTOLD = 2 * 2**30
"""Bytes of memory of a machine that does not tell."""


def usable_cores(cgroups: Path = CGROUPS, membership: Path = MEMBERSHIP) -> int:
    """Cores by affinity, and no more than the tightest CPU quota around the process, rounded up; at least 1.

    Args:
        cgroups: where the cgroup file systems are mounted, version 1 or 2.
        membership: which groups this process is in, as `/proc/self/cgroup` writes it.
    """
    affinity = getattr(os, "sched_getaffinity", None)  # Linux has it
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    quotas = [
        math.ceil(quota) for folder in _groups(cgroups, membership, "cpu") if (quota := _quota(folder)) is not None
    ]
    return max(1, min([cores, *quotas]))


def usable_memory(cgroups: Path = CGROUPS, membership: Path = MEMBERSHIP) -> int:
    """Bytes of the machine's memory, and no more than the tightest limit around the process.

    Args:
        cgroups: see `usable_cores`.
        membership: see `usable_cores`.
    """
    limits = [limit for folder in _groups(cgroups, membership, "memory") if (limit := _limit(folder)) is not None]
    try:
        limits.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, ValueError):  # not every system tells
        limits.append(UNTOLD)
    return min(limits)


def _groups(cgroups: Path, membership: Path, controller: str) -> Iterator[Path]:
    """The process's own group and those around it: each may have a limit, and all of them hold.

    In a container the path of the membership is often the host's, which is not mounted there; the
    container's own group is then the root.
    """
    try:
        lines = membership.read_text("utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        mount = cgroups / controllers if controllers else cgroups
        inside = PurePosixPath(path.lstrip("/"))
        for group in (inside, *inside.parents):
            yield mount / group


def _quota(group: Path) -> float | None:
    """Cores that the group may use, or null without a limit or such a group."""
    try:
        if (unified := group / "cpu.max").exists():
            limit, period = unified.read_text("ascii").split()
        else:
            limit = (group / "cpu.cfs_quota_us").read_text("ascii").strip()
            period = (group / "cpu.cfs_period_us").read_text("ascii").strip()
        return int(limit) / int(period) if int(limit) > 0 else None
    except (OSError, ValueError):  # no such group; "max"
        return None


def _limit(group: Path) -> int | None:
    """Bytes that the group may take, or null without a limit or such a group."""
    for name in ("memory.max", "memory.limit_in_bytes"):
        try:
            return int((group / name).read_text("ascii"))
        except (OSError, ValueError):  # no such group; "max"
            continue
    return None
