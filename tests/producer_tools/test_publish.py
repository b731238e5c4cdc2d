"""`image-tools publish` against the embedded broker."""

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from consumer.codec import decode_event
from tests.producer_tools.conftest import Broker, Result

Tools = Callable[..., Result]


@pytest.mark.parametrize("output_format", ["json", "avro"])
def test_arguments_become_events_that_the_service_reads(tools: Tools, broker: Broker, output_format: str) -> None:
    result = tools("publish", "--format", output_format, "--key", "url", "http://a/1", "http://a/2")
    assert result == Result(0, f"2 delivered to {broker.topic} at {broker.address}, 0 failed\n", "")
    records = broker.read(2)
    assert {decode_event(record).url for record in records} == {"http://a/1", "http://a/2"}
    assert {record.key for record in records} == {b"http://a/1", b"http://a/2"}


def test_keys_go_where_java_clients_put_them(tools: Tools, broker: Broker) -> None:
    """murmur2 of these keys modulo 4, by Kafka's own Utils.toPositive(Utils.murmur2(key)) % 4."""
    expected = {b"21": murmur2(b"21") % 4, b"foobar": murmur2(b"foobar") % 4, b"a": murmur2(b"a") % 4}
    for key in expected:
        assert tools("publish", "--key", "url", key.decode()).code == 0
    assert {record.key: record.partition for record in broker.read(3)} == expected


def murmur2(data: bytes) -> int:
    """MurmurHash2 as Kafka's Java client has it (seed 9747b28c), made positive."""
    m, mask = 0x5BD1E995, 0xFFFFFFFF
    h = 0x9747B28C ^ len(data)
    whole = len(data) // 4 * 4
    for at in range(0, whole, 4):
        k = int.from_bytes(data[at : at + 4], "little") * m & mask
        h = (h * m & mask) ^ ((k ^ k >> 24) * m & mask)
    if rest := data[whole:]:
        h = (h ^ int.from_bytes(rest, "little")) * m & mask
    h = (h ^ h >> 13) * m & mask
    return (h ^ h >> 15) & 0x7FFFFFFF


def test_a_file_with_bad_lines_is_published_without_them(tools: Tools, broker: Broker, tmp_path: Path) -> None:
    file = tmp_path / "shirts.csv"
    file.write_text("url,shop\nhttp://a/1,7\nhttp://a/2\nhttp://a/3,8\n")
    result = tools("publish", "--file", str(file), "--key", "shop")
    assert result.code == 1
    assert result.err == "image-tools: line 3: it has 1 cells and the first line 2\n"
    assert result.out == f"2 delivered to {broker.topic} at {broker.address}, 0 failed, 1 not readable\n"
    assert {(record.key, decode_event(record).url) for record in broker.read(2)} == {
        (b"7", "http://a/1"),
        (b"8", "http://a/3"),
    }


def test_many_bad_lines_are_counted_and_twenty_shown(tools: Tools, tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    file.write_text("{\n" * 25)
    result = tools("publish", "--file", str(file))
    assert result.err.count("\n") == 21
    assert result.err.endswith("image-tools: and 5 more like these\n")
    assert result.out.endswith(", 0 failed, 25 not readable\n")


@pytest.mark.parametrize("arguments", [["-"], ["--file", "-"]])
def test_a_hyphen_reads_stdin(
    tools: Tools, broker: Broker, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, arguments: list[str]
) -> None:
    (tmp_path / "in").write_bytes(b'# two\nhttp://a/1\n{"url": "http://a/2"}\n')
    with (tmp_path / "in").open() as file:
        monkeypatch.setattr(sys, "stdin", file)
        assert tools("publish", "http://a/0", *arguments).code == 0
    assert sorted(decode_event(record).url for record in broker.read(3)) == [f"http://a/{n}" for n in range(3)]


def test_what_the_broker_refuses_is_told_with_its_reason(
    tools: Tools, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("KAFKA_MESSAGE_MAX_BYTES", "2000")
    file = tmp_path / "urls.txt"
    file.write_text(f"http://a/{'x' * 3000}\nhttp://a/2\n")
    result = tools("publish", "--file", str(file))
    assert result.code == 1
    assert result.err == "image-tools: 1 failed: Unable to produce message: Broker: Message size too large\n"
    assert result.out.startswith("1 delivered to ")
    assert result.out.endswith(", 1 failed\n")


def test_a_queue_that_is_full_is_waited_for(tools: Tools, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KAFKA_QUEUE_BUFFERING_MAX_MESSAGES", "10")
    file = tmp_path / "urls.txt"
    file.write_text("".join(f"http://a/{n}\n" for n in range(500)))
    result = tools("publish", "--file", str(file))
    assert (result.code, result.err) == (0, "")
    assert result.out.startswith("500 delivered to ")


def test_a_rate_is_kept(tools: Tools, broker: Broker) -> None:
    assert tools("publish", "--rate", "50", *["http://a"] * 26).code == 0
    times = [record.timestamp_ms for record in broker.read(26)]
    assert 400 <= max(times) - min(times) < 5_000  # 25 pauses of 20 ms


def test_a_missing_topic_ends_with_4_and_is_not_made(tools: Tools, broker: Broker) -> None:
    for _ in range(2):
        result = tools("publish", "--topic", "nowhere", "http://a")
        assert result.code == 4
        assert result.err.startswith(f"image-tools: topic 'nowhere' does not exist at {broker.address}: set --topic")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "nothing to publish"),
        (["--file", "/nowhere/urls.txt"], "/nowhere/urls.txt cannot be read: No such file or directory"),
        (["--file", "/"], "/ cannot be read: Is a directory"),
    ],
)
def test_nothing_to_read_ends_with_2(tools: Tools, arguments: list[str], message: str) -> None:
    result = tools("publish", *arguments)
    assert result.code == 2
    assert result.err.startswith(f"image-tools: {message}")


def test_ctrl_c_ends_with_what_was_delivered(broker: Broker) -> None:
    where = ["--bootstrap-servers", broker.address, "--topic", broker.topic]
    command = [sys.executable, "-m", "producer_tools", "publish", *where, "-"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdin
        process.stdin.write("http://a/1\nhttp://a/2\n")
        process.stdin.flush()
        assert len(broker.read(2)) == 2
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    assert process.returncode == 1
    assert out == f"2 delivered to {broker.topic} at {broker.address}, 0 failed\n"
    assert err == "image-tools: interrupted: waiting for what was sent already\n"
