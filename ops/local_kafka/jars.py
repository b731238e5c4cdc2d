"""Apache Kafka's jars: from Maven Central once, then from `.cache/kafka-VERSION/` in the checkout."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from ops.local_kafka.errors import LocalKafkaError

HERE = Path(__file__).parent
POM = HERE / "pom.xml"
CACHE = HERE.parents[1] / ".cache"
LEAST_JAVA = 17
"""Kafka 4's brokers are compiled for Java 17."""


def version() -> str:
    """The version of Apache Kafka that the pom names."""
    match = re.search(r"<kafka\.version>([^<]+)</kafka\.version>", POM.read_text("utf-8"))
    if match is None:
        raise LocalKafkaError(f"{POM} names no kafka.version")
    return match[1]


def folder() -> Path:
    """Where the jars are, or will be."""
    return CACHE / f"kafka-{version()}"


def java() -> str:
    """The `java` to run: that of ``JAVA_HOME``, else the first on the path.

    Raises:
        LocalKafkaError: there is none, or it is older than Java 17.
    """
    home = os.environ.get("JAVA_HOME")
    found = shutil.which("java", path=str(Path(home, "bin"))) if home else shutil.which("java")
    if found is None:
        where = f"JAVA_HOME={home}" if home else "PATH"
        raise LocalKafkaError(f"no java in {where}: Apache Kafka needs Java {LEAST_JAVA} or newer")
    told = subprocess.run([found, "-version"], capture_output=True, text=True, check=False).stderr
    match = re.search(r'version "(?:1\.)?(\d+)', told)  # 1.8.0_402 before Java 9, then 17.0.15
    if match is None or int(match[1]) < LEAST_JAVA:
        first = told.strip().splitlines()[0] if told.strip() else "an unknown version"
        raise LocalKafkaError(f"{found} is {first}: Apache Kafka needs Java {LEAST_JAVA} or newer")
    return found


def why_not() -> str | None:
    """Why no local Kafka can be had on this machine, in one line; None if it can."""
    try:
        java()
    except LocalKafkaError as error:
        return str(error)
    if not folder().is_dir() and shutil.which("mvn") is None:
        return f"no mvn on the path, which would fetch Apache Kafka {version()} from Maven Central"
    return None


def fetch() -> Path:
    """The folder of jars, fetched first if it is missing (55 MB).

    Two processes may call it at once: a lock makes the second one wait for the first, and a rename
    makes the folder appear whole or not at all, whatever is killed in between.

    Raises:
        LocalKafkaError: Maven is missing or failed.
    """
    target = folder()
    if target.is_dir():
        return target
    if shutil.which("mvn") is None:
        raise LocalKafkaError(why_not() or "no mvn on the path")
    CACHE.mkdir(exist_ok=True)
    with (CACHE / "kafka.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if target.is_dir():
            return target
        with tempfile.TemporaryDirectory(dir=CACHE, prefix="fetching-") as scratch:
            jars = Path(scratch, "jars")
            maven = ["mvn", "-q", "-B", "-f", str(POM), "dependency:copy-dependencies", "-DincludeScope=runtime"]
            done = subprocess.run([*maven, f"-DoutputDirectory={jars}"], capture_output=True, text=True, check=False)
            if done.returncode != 0:
                raise LocalKafkaError(f"Maven could not fetch Apache Kafka {version()}:\n{tail(done.stdout)}")
            jars.rename(target)
    return target


def tail(text: str, lines: int = 30) -> str:
    """The last lines of a log, for an error's message."""
    return "\n".join(text.strip().splitlines()[-lines:])
