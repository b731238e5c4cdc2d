"""The parts of one service's events, measured again whenever it is asked: `ops.bench.parts`, ``again``."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ops.bench.processes import BenchError, environment, tail


class Alone:
    """A process that measures them, and takes no CPU in between.

    Args:
        process: it, which has said that it is ready.
        log: what it complains of.
    """

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        self._process = process
        self._log = log

    def measure(self) -> dict[str, float]:
        """``fetch``, ``decode`` and ``model`` → CPU milliseconds of one image, now.

        Raises:
            BenchError: it has ended.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write("\n")
            self._process.stdin.flush()
        except OSError:
            raise self._ended() from None
        found: dict[str, float] = json.loads(self._line())
        return found

    def wait_until_ready(self) -> None:
        """Raises a `BenchError` if it ends instead."""
        while self._line().strip() != "ready":
            pass

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise self._ended()
        return line

    def _ended(self) -> BenchError:
        return BenchError(f"measuring the parts alone failed:\n{tail(self._log)}")


@contextmanager
def alone(folder: Path, *, port: int, model: Path, way: str, batch: int, seconds: float) -> Iterator[Alone]:
    """A process that is ready, ended with the block.

    Args:
        folder: for its log.
        port: the image server's.
        model: the model's directory.
        way: ``BACKEND PRECISION``.
        batch: images in one call of the model.
        seconds: of each measurement of each part.
    """
    log = folder / "alone.log"
    command = [sys.executable, "-m", "ops.bench.parts", "again", "--seconds", str(seconds), "--port", str(port)]
    command += ["--model", str(model), "--only", way, "--batches", str(batch)]
    with (
        log.open("a") as complaints,
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=complaints, text=True, env=environment()
        ) as process,
    ):
        try:
            made = Alone(process, log)
            made.wait_until_ready()
            yield made
        finally:
            process.kill()
