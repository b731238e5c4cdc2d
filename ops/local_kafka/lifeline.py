"""No orphans: processes that end when we end, however we end.

A context manager and `atexit` cover every end but SIGKILL, and a test run that hangs gets just that. So
a small process of its own session holds the reading end of a pipe whose only writing end is ours. The
kernel closes ours when we die, whatever the cause; the watcher then kills what it was told to watch.
(Linux's PR_SET_PDEATHSIG would fire when the *thread* that started the broker ends, which a fault test
with a thread of its own would trip over, and it is not to be had on macOS.)
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TextIO


class Lifeline:
    """Tells a watcher process what to kill, and which folder to remove, should this process die."""

    def __init__(self, folder: Path | None = None) -> None:
        command = [sys.executable, "-I", __file__, *([str(folder)] if folder else [])]
        # Its own session: Ctrl-C reaches every process of the terminal's group, and must not reach it.
        self._watcher = subprocess.Popen(command, stdin=subprocess.PIPE, text=True, start_new_session=True)

    def hold(self, process: subprocess.Popen[bytes]) -> None:
        """From now on this process ends with us."""
        self._tell(f"+{process.pid}")

    def release(self, process: subprocess.Popen[bytes]) -> None:
        """It has ended and was waited for, so that its number may be given to a stranger."""
        self._tell(f"-{process.pid}")

    def close(self) -> None:
        """Ends the watcher, which ends whatever is still held."""
        assert self._watcher.stdin is not None
        self._watcher.stdin.close()
        self._watcher.wait()

    def _tell(self, line: str) -> None:
        assert self._watcher.stdin is not None
        self._watcher.stdin.write(line + "\n")
        self._watcher.stdin.flush()


def watch(pipe: TextIO, folder: str | None) -> None:
    """The watcher: reads what is to be held until the pipe closes, then kills it."""
    held: set[int] = set()
    for line in pipe:
        pid = int(line[1:])
        if line.startswith("+"):
            held.add(pid)
        else:
            held.discard(pid)
    for pid in held:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    if folder:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    watch(sys.stdin, sys.argv[1] if len(sys.argv) > 1 else None)
