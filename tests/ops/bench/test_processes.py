"""What /proc says of processes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ops.bench.processes import Reading, Spent, cpu_s, memory_mib, started, tree

BURN = """
import subprocess, sys, time
if len(sys.argv) > 1:
    child = subprocess.Popen([sys.executable, "-c", sys.argv[1]], stdout=sys.stdout)
block = b"x" * 50_000_000
while time.process_time() < 0.3: pass
print("done", flush=True)
sys.stdin.readline()
"""


def _await_lines(process: subprocess.Popen[str], count: int) -> None:
    assert process.stdout is not None
    for _ in range(count):
        assert process.stdout.readline() == "done\n"


def test_cpu_and_memory_are_of_a_process_and_its_children() -> None:
    command = [sys.executable, "-c", BURN, BURN]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        first = Reading(0.0, {"both": 0.0}, 0.0)
        _await_lines(process, 2)
        both = tree(process.pid)
        assert len(both) == 2
        assert cpu_s(both) >= 0.55
        assert cpu_s([process.pid]) < cpu_s(both)
        assert 100 < memory_mib(both) < 300
        last = Reading.now({"both": [process.pid]})
        assert Spent.between(first, last).cpu_s["both"] >= 0.55
        process.communicate("\n")


def test_what_others_use_is_what_is_left_of_a_busy_machine() -> None:
    spent = Spent.between(Reading(10.0, {"a": 1.0, "b": 2.0}, 100.0), Reading(20.0, {"a": 4.0, "b": 3.0}, 115.0))
    assert (spent.seconds, spent.cpu_s) == (10.0, {"a": 3.0, "b": 1.0})
    assert spent.others_cores == pytest.approx(1.1)


def test_a_process_that_is_gone_took_nothing() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    assert cpu_s([process.pid]) == 0
    assert memory_mib([process.pid]) == 0


def test_a_started_process_ends_with_its_block_and_leaves_its_words(tmp_path: Path) -> None:
    with started("talker", ["-c", "print('ready', flush=True); input()"], tmp_path) as process:
        pass
    assert process.returncode is not None
