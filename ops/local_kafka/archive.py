"""Kafka's classes as Java has them once they are loaded: a broker is up in 2.5 s instead of 4.5, for 3.5 s of CPU
instead of 6.

That is Java's class data sharing (JEP 350). Java writes such an archive when a process ends, so one broker is started
and stopped for it, once, and the archive lies beside the jars. It is of one Java and of these very jars: both are in
its name. Where there is none, brokers take their time.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from ops.local_kafka.errors import LocalKafkaError

SILENT = "-Xlog:cds=off", "-Xlog:cds+dynamic=off"
"""What does not fit costs time and nothing else, so nobody is told."""

log = logging.getLogger(__name__)
_in_vain: set[Path] = set()  # archives that could not be made: this process does not try again


def options(java: str, jars: Path, record: Callable[[Sequence[str]], None]) -> list[str]:
    """What Java is to be started with.

    Args:
        java: the program.
        jars: their folder.
        record: starts a broker with these options and ends it; is called if there is no archive yet.
    """
    archive = jars / f"classes-{_told(java, jars)}.jsa"
    if not archive.exists() and archive not in _in_vain:
        try:
            with (jars / "classes.lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                if not archive.exists():
                    _make(archive, record)
        except (OSError, LocalKafkaError) as error:
            _in_vain.add(archive)
            log.info("no archive of Kafka's classes, so brokers take 2 s longer to start: %s", error)
    return [f"-XX:SharedArchiveFile={archive}", "-Xshare:auto", *SILENT] if archive.exists() else []


def _told(java: str, jars: Path) -> str:
    files = [Path(os.path.realpath(java)), *sorted(jars.glob("*.jar"))]
    stats = [(str(file), stat.st_size, stat.st_mtime_ns) for file in files if (stat := file.stat())]
    return hashlib.sha256(repr(stats).encode()).hexdigest()[:12]


def _make(archive: Path, record: Callable[[Sequence[str]], None]) -> None:
    """Writes it whole or not at all: Java ends where the end of one is missing."""
    with tempfile.TemporaryDirectory(dir=archive.parent, prefix="recording-") as scratch:
        made = Path(scratch, "classes.jsa")
        record(["-XX:+IgnoreUnrecognizedVMOptions", f"-XX:ArchiveClassesAtExit={made}", *SILENT])
        with made.open("rb") as file:
            os.fsync(file.fileno())
        made.rename(archive)
