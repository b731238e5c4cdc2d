"""One service process, from the outside: started, asked, stopped, killed, frozen."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import requests

from consumer.signals import StopRequest
from ops.local_kafka.lifeline import Lifeline
from ops.local_kafka.ports import free_ports

READY_S = 90.0
"""A second on an idle machine; many times that while brokers start beside it."""
END_S = 40.0
"""DRAIN_S and the 5 s after it, with room."""


class DiedError(Exception):
    """A process ended that should not have; the message has the end of its log."""


class Process:
    """A name, settings, and at most one process at a time. Its log stays through its lives.

    Args:
        name: for the log's file, and as INSTANCE_ID if the settings name none and ``stable`` is said.
        settings: environment variables.
        log: where it writes.
        lifeline: ends it if this process is killed.
    """

    def __init__(self, name: str, settings: Mapping[str, str], log: Path, lifeline: Lifeline) -> None:
        self.name = name
        self.log = log
        self._settings = dict(settings)
        self._lifeline = lifeline
        self._process: subprocess.Popen[bytes] | None = None
        self._port = 0
        self.started_at = 0.0
        """When it was started last, monotonic seconds."""

    @property
    def alive(self) -> bool:
        """Whether it runs; a frozen one does."""
        return self._process is not None and self._process.poll() is None

    def start(self, options: Sequence[str] = (), **more: str) -> None:
        """Starts `tests.faults.instance` with these options and, for this life, these settings."""
        self._reap()
        (self._port,) = free_ports(1)
        environ = os.environ | self._settings | {"HTTP_PORT": str(self._port)} | more
        with self.log.open("ab") as log:
            log.write(f"── {self.name} {' '.join(options)}\n".encode())
            log.flush()
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.faults.instance", *options],
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for the driver, which ends them in order
            )
        self._lifeline.hold(self._process)
        self.started_at = time.monotonic()

    def ready(self) -> bool:
        """Whether it says so now."""
        try:
            return requests.get(f"http://127.0.0.1:{self._port}/readyz", timeout=2).status_code == 200
        except requests.RequestException:
            return False

    def wait_until_ready(self, asked: StopRequest) -> None:
        """Waits; returns early if it dies by its own fate or this program is asked to stop.

        Raises:
            DiedError: it ended by itself, or is not ready in time.
        """
        deadline = time.monotonic() + READY_S
        while not self.ready():
            if not self.alive:
                if self.code() == -signal.SIGKILL:
                    return
                raise DiedError(f"{self.name} ended with {self.code()} at its start:\n{self.tail()}")
            if time.monotonic() > deadline:
                raise DiedError(f"{self.name} is not ready after {READY_S:g} s:\n{self.tail()}")
            if asked.wait(0.02):
                return

    def wait_until_dead(self, timeout_s: float) -> bool:
        """Waits for its end; whether it came."""
        if self._process is None:
            return True
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    def kill(self) -> None:
        """SIGKILL."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """SIGTERM; returns its exit code."""
        self._end(signal.SIGTERM)
        return self.code() or 0

    def freeze(self) -> None:
        """SIGSTOP: it keeps its connections and its beliefs, and does nothing."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT: it goes on where it stood."""
        self._signal(signal.SIGCONT)

    def code(self) -> int | None:
        """The exit code, negative for a signal; null while it runs or before it was started."""
        return None if self._process is None else self._process.poll()

    def tail(self, lines: int = 30) -> str:
        """The end of its log."""
        return "\n".join(self.log.read_text("utf-8", errors="replace").splitlines()[-lines:])

    def last_error(self) -> str:
        """The last line of its log that is an error."""
        lines = self.log.read_text("utf-8", errors="replace").splitlines()
        return next((line for line in reversed(lines) if " ERROR " in line), "no error in its log")

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self.alive:
            self._process.send_signal(number)

    def _end(self, number: signal.Signals) -> None:
        self._signal(number)
        if not self.wait_until_dead(END_S):
            self._signal(signal.SIGKILL)
            self.wait_until_dead(END_S)
            raise DiedError(f"{self.name} still ran {END_S:g} s after {number.name}:\n{self.tail()}")
        self._reap()

    def _reap(self) -> None:
        if self._process is not None and not self.alive:
            self._lifeline.release(self._process)
