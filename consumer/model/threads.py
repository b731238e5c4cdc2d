"""How many cores this process really has, and how the model's calls share them.

A pool of more threads than the scheduler and the container let it use does not run faster; under a CPU quota it is
stopped for the rest of each period instead, which a caller sees as latency.

**Lanes.** The model answers several calls side by side, each on a core of its own, rather than one on all cores: the
threads of one call wait for each other after every layer, and whoever takes a core for a moment, a decoder above all,
stops them all. Xception on two cores, with two programs beside it that took a third of a core each: 107 images/s
in int8 and 63 in TensorFlow's bfloat16 in two lanes, 85 and 45 in one. An image that comes alone is answered later for
it, after 13 ms instead of 8 (int8).
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

CGROUPS = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")

MOST_LANES = 8
"""Each holds the activations of a batch, and a thread that asks."""


def usable_cores(cgroups: Path = CGROUPS, membership: Path = MEMBERSHIP) -> int:
    """Cores by affinity, and no more than the tightest CPU quota around the process, rounded up; at least 1.

    Args:
        cgroups: where the cgroup file systems are mounted, version 1 or 2.
        membership: which groups this process is in, as `/proc/self/cgroup` writes it.
    """
    affinity = getattr(os, "sched_getaffinity", None)  # Linux has it
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    quotas = [math.ceil(quota) for folder in _groups(cgroups, membership) if (quota := _quota(folder)) is not None]
    return max(1, min([cores, *quotas]))


def lanes() -> int:
    """How many calls of the model run side by side on this machine's cores."""
    return min(usable_cores(), MOST_LANES)


def _groups(cgroups: Path, membership: Path) -> Iterator[Path]:
    """The process's own CPU group and those around it: each may have a quota, and all of them hold.

    In a container the path of the membership is often the host's, which is not mounted there; the
    container's own group is then the root.
    """
    try:
        lines = membership.read_text("utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
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
