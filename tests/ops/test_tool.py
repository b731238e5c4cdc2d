"""A tool that is told to end gives back what it started, and shows no stack."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

TOOL = """
import time
from ops import tool

def main():
    try:
        print("started", flush=True)
        while True:
            time.sleep(0.01)  # not pause(), which a signal that comes right before it does not wake
    finally:
        print("given back", flush=True)

tool.run(main)
"""


@pytest.mark.parametrize(
    ("told", "code", "said"), [(signal.SIGINT, 130, "interrupted\n"), (signal.SIGTERM, 143, "")], ids=["Ctrl-C", "TERM"]
)
def test_a_tool_that_is_told_to_end_gives_back_what_it_started(told: signal.Signals, code: int, said: str) -> None:
    command = [sys.executable, "-c", TOOL]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "started\n"
        process.send_signal(told)
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (code, "given back\n", said)


@pytest.mark.parametrize("code", [0, 1])
def test_a_tool_that_ends_by_itself_ends_with_its_own_code(code: int) -> None:
    script = f"from ops import tool; tool.run(lambda: {code})"
    assert subprocess.run([sys.executable, "-c", script], check=False, timeout=30).returncode == code
