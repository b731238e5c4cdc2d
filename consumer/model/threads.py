"""How many cores this process really has: what the scheduler and the container let it use."""

from __future__ import annotations

import math
import os
from pathlib import Path

CGROUP_V2 = Path("/sys/fs/cgroup/cpu.max")


def usable_cores(quota: Path = CGROUP_V2) -> int:
    """Cores by affinity, and no more than a cgroup's CPU quota, rounded up; at least 1."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        limit, period = quota.read_text("ascii").split()
    except (OSError, ValueError):
        return cores
    if limit == "max":
        return cores
    return max(1, min(cores, math.ceil(int(limit) / int(period))))
