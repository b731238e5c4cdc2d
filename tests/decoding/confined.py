"""Tries, confined, what decoding has no use for: ``python -m tests.decoding.confined FOLDER`` prints what came of it.

As root it becomes nobody before, since limits do not hold for root.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from consumer.decoding.confinement import confine

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


def main() -> None:
    """One JSON object: what was tried → the error, or null if it went well."""
    OPEN.append(os.open(FOLDER / "open", os.O_WRONLY | os.O_CREAT))
    if os.geteuid() == 0:
        os.setuid(NOBODY)
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
