"""What of the machine a process may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from consumer.machine import usable_cores, usable_memory

MEMORY = 64 * 2**30


@pytest.fixture(autouse=True)
def _sixty_four_cores_and_gibibytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(64)))
    monkeypatch.setattr(os, "sysconf", {"SC_PHYS_PAGES": MEMORY // 4096, "SC_PAGE_SIZE": 4096}.__getitem__)


def member(folder: Path, lines: str) -> Path:
    (folder / "membership").write_text(lines)
    return folder / "membership"


def quota(group: Path, text: str) -> None:
    """Writes the limit of a version 2 group."""
    group.mkdir(parents=True, exist_ok=True)
    (group / "cpu.max").write_text(text + "\n")


def old_quota(group: Path, limit: int) -> None:
    """Writes the limit of a version 1 group, in microseconds of each 100 000."""
    group.mkdir(parents=True, exist_ok=True)
    (group / "cpu.cfs_quota_us").write_text(f"{limit}\n")
    (group / "cpu.cfs_period_us").write_text("100000\n")


@pytest.mark.parametrize(("text", "cores"), [("max 100000", 64), ("150000 100000", 2), ("50000 100000", 1), ("?", 64)])
def test_a_containers_quota_bounds_the_cores_rounded_up(tmp_path: Path, text: str, cores: int) -> None:
    quota(tmp_path, text)
    assert usable_cores(tmp_path, member(tmp_path, "0::/\n")) == cores


def test_the_tightest_quota_of_the_groups_around_the_process_holds(tmp_path: Path) -> None:
    quota(tmp_path / "pods" / "one", "max 100000")
    quota(tmp_path / "pods", "300000 100000")
    quota(tmp_path / "other", "100000 100000")
    assert usable_cores(tmp_path, member(tmp_path, "0::/pods/one\n")) == 3


def test_version_1_is_read_where_its_cpu_controller_is_mounted(tmp_path: Path) -> None:
    old_quota(tmp_path / "cpu,cpuacct" / "docker" / "abc", 250_000)
    old_quota(tmp_path / "cpu,cpuacct", -1)
    old_quota(tmp_path / "memory", 100_000)
    assert usable_cores(tmp_path, member(tmp_path, "8:memory:/\n4:cpu,cpuacct:/docker/abc\n0::/\n")) == 3


def test_a_membership_that_is_the_hosts_falls_back_to_the_containers_root(tmp_path: Path) -> None:
    old_quota(tmp_path / "cpu", 200_000)
    assert usable_cores(tmp_path, member(tmp_path, "1:cpu:/docker/not-mounted-here\n")) == 2


def test_without_any_cgroup_the_affinity_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3})
    assert usable_cores(tmp_path / "none", tmp_path / "none" / "either") == 1


@pytest.mark.parametrize(("text", "size"), [("max", MEMORY), (str(2**31), 2**31), (str(2**63), MEMORY)])
def test_a_containers_limit_bounds_the_memory(tmp_path: Path, text: str, size: int) -> None:
    (tmp_path / "memory.max").write_text(text + "\n")
    assert usable_memory(tmp_path, member(tmp_path, "0::/\n")) == size


def test_the_limit_of_version_1_is_read_where_its_memory_controller_is_mounted(tmp_path: Path) -> None:
    old_quota(tmp_path / "cpu", 100_000)
    (tmp_path / "memory" / "docker").mkdir(parents=True)
    (tmp_path / "memory" / "docker" / "memory.limit_in_bytes").write_text(f"{2**30}\n")
    assert usable_memory(tmp_path, member(tmp_path, "8:memory:/docker\n4:cpu:/docker\n0::/\n")) == 2**30
