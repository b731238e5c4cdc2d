"""One image through the service's decoder: what it came to, how long it took, and the most memory it held."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from consumer.decoding.decoder import Decoder
from consumer.errors import EventError

PREDICTED = "predicted"
"""What a case is expected to come to that is no failure; else a code of the contract."""

SIZE = (128, 128)
MAX_PIXELS = 50_000_000
DEADLINE_S = 10.0


@dataclass(frozen=True, slots=True)
class Measured:
    """``outcome`` is `PREDICTED` or a code; ``peak_bytes`` what the decoder's process held at most, above its idle size."""

    name: str
    outcome: str
    seconds: float
    peak_bytes: int

    def line(self) -> str:
        """As a row of a table."""
        return f"{self.outcome:18} {self.seconds * 1000:8.1f} ms {self.peak_bytes / 2**20:7.1f} MiB  {self.name}"


def children() -> set[int]:
    """The processes that this one has started and not yet seen off."""
    tasks = Path(f"/proc/{os.getpid()}/task")
    found: set[int] = set()
    for task in tasks.iterdir():
        with suppress(FileNotFoundError):  # that thread has just ended
            found.update(map(int, (task / "children").read_text("ascii").split()))
    return found


def memory(pid: int, field: str = "VmHWM") -> int:
    """Bytes that a process holds (``VmRSS``), or held at most since `forget_peak` (``VmHWM``)."""
    status = Path(f"/proc/{pid}/status").read_text("ascii", "replace")
    return int(status.split(f"{field}:")[1].split()[0]) * 1024


def forget_peak(pid: int) -> None:
    """The peak counts from now on."""
    Path(f"/proc/{pid}/clear_refs").write_text("5", "ascii")


class Bench:
    """A decoder with one process, measured image by image."""

    def __init__(self, using: Decoder) -> None:
        self._using = using
        self.deaths = 0
        """How many images ended the process; one that is worn and replaced does not count."""

    def _lent_next(self) -> int:
        self._using.start()
        process = self._using._idle.queue[-1]
        assert process is not None
        return process.pid

    def measure(self, name: str, body: bytes) -> Measured:
        """Decodes it; with no memory if the process ended or was replaced."""
        pid = self._lent_next()
        forget_peak(pid)
        idle, died = memory(pid, "VmRSS"), self._using.deaths
        began = time.monotonic()
        try:
            self._using.decode(body, DEADLINE_S)
            outcome = PREDICTED
        except EventError as error:
            outcome = error.code
        seconds = time.monotonic() - began
        peak = memory(pid) - idle if pid in children() else 0
        self.deaths += self._using.deaths > died or outcome == "fetch_timeout"
        return Measured(name, outcome, seconds, peak)


@contextmanager
def bench() -> Iterator[Bench]:
    """With the service's own limits."""
    using = Decoder(SIZE, MAX_PIXELS, processes=1)
    try:
        yield Bench(using)
    finally:
        using.close()
