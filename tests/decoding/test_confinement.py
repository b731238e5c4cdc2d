"""What an image that takes its decoder over gains by it: tried by a process that is confined as decoders are."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.decoding.confined import ATTEMPTS, NOBODY

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="it is Linux's kernel that confines")

SERVICE = f"""
import ctypes, os
from consumer.decoding.confinement import close_memory
if os.geteuid() == 0:
    os.setuid({NOBODY})
    ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # to change one's user closes the memory too: open it again

def look():
    \"""Has another process read this one's environment.\"""
    if child := os.fork():
        os.waitpid(child, 0)
        return
    try:
        with open(f"/proc/{{os.getppid()}}/environ", "rb") as there:
            print(b"s3cr3t" in there.read(), flush=True)
    except PermissionError:
        print("refused", flush=True)
    os._exit(0)

look()
close_memory()
look()
"""


@pytest.fixture
def anybodys() -> Iterator[Path]:
    """A folder in which any user may do anything; pytest's own are in one that is root's."""
    with TemporaryDirectory() as name:
        Path(name).chmod(0o777)
        yield Path(name)


def test_a_process_that_is_confined_can_do_nothing_but_compute_and_answer(anybodys: Path) -> None:
    command = [sys.executable, "-m", "tests.decoding.confined", str(anybodys)]
    told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    found = json.loads(told.stdout)
    assert set(found) == {*ATTEMPTS, "raise its rights"}
    assert [name for name, error in found.items() if error is None] == []
    assert told.stderr == ""
    assert (anybodys / "open").read_bytes() == b""


def test_the_memory_of_the_service_is_closed_to_other_processes_of_its_user() -> None:
    command = [sys.executable, "-c", SERVICE]
    environment = os.environ | {"KAFKA_SASL_PASSWORD": "s3cr3t"}
    told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60, env=environment)
    assert told.stdout.split() == ["True", "refused"]
