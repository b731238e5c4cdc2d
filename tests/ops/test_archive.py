"""Java's archive of Kafka's classes: made once, used by every broker, and in nobody's way."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ops.local_kafka import LocalKafka, archive, jars


class Recording:
    """Stands in for a broker that is started and stopped; writes ``content`` where Java would."""

    def __init__(self, content: bytes | None) -> None:
        self.content = content
        self.times = 0

    def __call__(self, options: Sequence[str]) -> None:
        self.times += 1
        (target,) = (one.partition("=")[2] for one in options if "ArchiveClassesAtExit" in one)
        if self.content is not None:
            Path(target).write_bytes(self.content)


def test_it_is_recorded_once_however_many_want_it(tmp_path: Path) -> None:
    recording = Recording(b"classes")
    with ThreadPoolExecutor(4) as threads:
        given = list(threads.map(lambda _: archive.options("java", tmp_path, recording), range(4)))
    assert recording.times == 1
    (made,) = tmp_path.glob("*.jsa")
    assert all(one[0] == f"-XX:SharedArchiveFile={made}" for one in given)


def test_another_java_has_its_own(tmp_path: Path) -> None:
    recording = Recording(b"classes")
    assert archive.options("java-17", tmp_path, recording) != archive.options("java-21", tmp_path, recording)
    assert recording.times == 2


def test_a_java_that_writes_none_is_asked_once_and_started_without(tmp_path: Path) -> None:
    recording = Recording(None)
    assert [archive.options("java", tmp_path, recording) for _ in range(2)] == [[], []]
    assert recording.times == 1


def test_a_recording_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    def fail(options: Sequence[str]) -> None:
        raise OSError("no broker")

    with pytest.raises(OSError, match="no broker"):
        archive.options("java", tmp_path, fail)
    assert [one.name for one in tmp_path.iterdir()] == ["classes.lock"]


@pytest.mark.kafka
@pytest.mark.skipif(jars.why_not() is not None, reason=f"no local Apache Kafka: {jars.why_not()}")
@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc what a process has mapped")
def test_a_broker_has_its_classes_from_there() -> None:
    with LocalKafka() as kafka:
        (broker,) = kafka.pids
        assert f"{jars.folder().resolve()}/classes-" in Path(f"/proc/{broker}/maps").read_text("ascii")
