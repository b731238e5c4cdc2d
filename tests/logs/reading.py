"""What was logged, read back."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from typing import Any

import pytest

Out = pytest.CaptureFixture[str]

NASTY = "a\nb\r\tc\x1b[31md\x00\x07\x85\u2028\u2029e\u202e\x9bf\x7f\ud800"

log = logging.getLogger("here")


def fail(error: Exception, cause: Exception | None = None) -> None:
    raise error from cause


def records(text: str) -> list[dict[str, Any]]:
    """The JSON objects of a log; a line that is none fails the test."""
    return [json.loads(line) for line in text.splitlines()]


def run(script: str, **environ: str) -> tuple[list[dict[str, Any]], str, int]:
    """Runs a script of its own process: the records on its stdout, its stderr, its exit code."""
    script = f"import logging, os, sys\nfrom consumer.logs import configure\nlog = logging.getLogger('here')\n{script}"
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env=os.environ | {"PYTHONUNBUFFERED": ""} | environ,  # so that something is held back
    )
    return records(done.stdout), done.stderr, done.returncode
