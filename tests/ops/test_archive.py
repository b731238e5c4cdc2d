"""Java's archive of Kafka's classes: made once, used by every broker, and in nobody's way."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ops.local_kafka import LocalKafka, LocalKafkaError, archive, jars


class Recording:
    """Stands in for a broker that is started and stopped; writes ``content`` where Java would."""

    def __init__(self, content: bytes | None = b"classes") -> None:
        self.content = content
        self.times = 0

    def __call__(self, options: Sequence[str]) -> None:
        self.times += 1
        (target,) = (one.partition("=")[2] for one in options if "ArchiveClassesAtExit" in one)
        time.sleep(0.02)  # as long as somebody else would need to begin as well
        if self.content is not None:
            Path(target).write_bytes(self.content)


@pytest.fixture
def java(tmp_path: Path) -> str:
    program = tmp_path / "java"
    program.write_bytes(b"17")
    return str(program)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "jars"
    made.mkdir()
    (made / "kafka.jar").write_bytes(b"classes")
    return made


def test_it_is_recorded_once_however_many_want_it(java: str, folder: Path) -> None:
    recording = Recording()
    with ThreadPoolExecutor(4) as threads:
        given = list(threads.map(lambda _: archive.options(java, folder, recording), range(4)))
    assert recording.times == 1
    (made,) = folder.glob("*.jsa")
    assert all(one[0] == f"-XX:SharedArchiveFile={made}" for one in given)


@pytest.mark.parametrize("new", ["java", "jars/kafka.jar", "jars/more.jar"])
def test_another_java_or_other_jars_have_their_own(java: str, folder: Path, new: str) -> None:
    recording = Recording()
    before = archive.options(java, folder, recording)
    changed = folder.parent / new
    changed.touch()
    os.utime(changed, (1, 1))
    assert archive.options(java, folder, recording) != before
    assert recording.times == 2


def test_a_java_that_writes_none_is_asked_once_and_started_without(java: str, folder: Path) -> None:
    recording = Recording(None)
    assert [archive.options(java, folder, recording) for _ in range(2)] == [[], []]
    assert recording.times == 1


@pytest.mark.parametrize("error", [LocalKafkaError("no broker"), OSError("no space left")])
def test_a_recording_that_fails_stops_nobody_and_leaves_nothing_behind(
    java: str, folder: Path, error: Exception
) -> None:
    def fail(options: Sequence[str]) -> None:
        raise error

    assert archive.options(java, folder, fail) == []
    assert sorted(one.name for one in folder.iterdir()) == ["classes.lock", "kafka.jar"]


@pytest.mark.kafka
@pytest.mark.skipif(jars.why_not() is not None, reason=f"no local Apache Kafka: {jars.why_not()}")
@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc what a process has mapped")
def test_a_broker_has_its_classes_from_there() -> None:
    with LocalKafka() as kafka:
        (broker,) = kafka.pids
        assert "/classes-" in Path(f"/proc/{broker}/maps").read_text("utf-8")
