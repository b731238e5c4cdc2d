"""Tries, confined, what decoding has no use for: ``python -m tests.decoding.confined FOLDER`` prints what came of it.

As root it becomes nobody before, since limits do not hold for root.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from consumer.decoding.confinement import confine, landlock_version

NOBODY = 65534

OPEN: list[int] = []
FOLDER = Path(sys.argv[1] if len(sys.argv) > 1 else "/")


def raise_limits() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))


ATTEMPTS: dict[str, Callable[[], object]] = {
    "read a file": lambda: Path("/etc/passwd").read_bytes(),
    "read the service's environment": lambda: Path(f"/proc/{os.getppid()}/environ").read_bytes(),
    "make a file": lambda: (FOLDER / "new").write_text("x"),
    "write to a file that was open": lambda: os.write(OPEN[0], b"x"),
    "list a folder": lambda: os.listdir("/"),
    "connect to somebody": socket.socket,
    "make a pipe": os.pipe,
    "clone a descriptor": lambda: os.dup(0),
    "hold a file in memory": lambda: os.memfd_create("x"),
    "start a process": os.fork,
    "start a program": lambda: subprocess.run(["/bin/true"], check=True),
    "start a thread": lambda: threading.Thread(target=print).start(),
    "raise its limits": raise_limits,
}


def trace() -> None:
    if ctypes.CDLL(None, use_errno=True).ptrace(PTRACE_ATTACH, ANOTHER[0], 0, 0):
        raise OSError(ctypes.get_errno(), "ptrace")


PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PTRACE_ATTACH = 1, 4, 16
ANOTHER: list[int] = []

BY_NAME: dict[str, Callable[[], object]] = {
    "remove a file": (FOLDER / "open").unlink,
    "rename a file": lambda: (FOLDER / "open").rename(FOLDER / "elsewhere"),
    "empty a file": lambda: os.truncate(FOLDER / "full", 0),
    "link a file": lambda: (FOLDER / "link").symlink_to("open"),
    "make a folder": (FOLDER / "folder").mkdir,
    "trace a process": trace,
}
SIGNALS: dict[str, Callable[[], object]] = {"end a process": lambda: os.kill(ANOTHER[0], 15)}
if landlock_version() >= 3:
    ATTEMPTS |= BY_NAME
if landlock_version() >= 6:
    ATTEMPTS |= SIGNALS


def start_another() -> None:
    """A process of the same user that may be traced, and that ends with this one, be it stopped by then or not."""
    ends, _ = os.pipe()
    if child := os.fork():
        ANOTHER.append(child)
        return
    prctl = ctypes.CDLL(None).prctl
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)
    os.closerange(0, ends)  # nobody waits for what this one might say
    os.closerange(ends + 1, 64)
    os.read(ends, 1)
    os._exit(0)


def main() -> None:
    """One JSON object: what was tried → the error, or null if it went well."""
    OPEN.append(os.open(FOLDER / "open", os.O_WRONLY | os.O_CREAT))
    (FOLDER / "full").write_text("x")
    (FOLDER / "full").chmod(0o666)
    if os.geteuid() == 0:
        os.setuid(NOBODY)
    start_another()
    confine()
    told: dict[str, str | None] = {}
    for name, attempt in ATTEMPTS.items():
        try:
            attempt()
            told[name] = None
        except (OSError, RuntimeError, ValueError) as error:
            told[name] = str(error)
    told["raise its rights"] = None if ctypes.CDLL(None).prctl(39, 0, 0, 0, 0) != 1 else "no_new_privs"
    os.write(2, b"a line in somebody's log\n")
    print(json.dumps(told))


if __name__ == "__main__":
    main()
