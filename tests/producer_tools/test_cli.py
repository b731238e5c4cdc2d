"""What every command shares: help, exit codes, one line for what is wrong."""

import socket

import pytest

from consumer.stream import preflight
from producer_tools.cli import main
from tests.producer_tools.conftest import Broker


@pytest.mark.parametrize("command", [[], ["publish"], ["watch"]])
def test_help_has_examples_and_exit_codes(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*command, "--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    assert "  image-tools " in text
    assert "exit codes:" in text
    assert max(map(len, text.splitlines())) <= 125


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["replay"],
        ["watch", "--limit", "0"],
        ["watch", "--timeout", "nan"],
        ["publish", "--rate", "-1", "http://a"],
        ["publish", "--format", "xml", "http://a"],
    ],
)
def test_wrong_usage_ends_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "error:" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("KAFKA_BOOTSTRAP_SERVERS", "embedded", "the embedded broker lives in the service"),
        ("KAFKA_BOOTSTRAP_SERVER", "x:1", "KAFKA_BOOTSTRAP_SERVER names no librdkafka property"),
        ("KAFKA_SECURITY_PROTOCOL", "tls", "KAFKA_SECURITY_PROTOCOL is not accepted"),
    ],
)
def test_wrong_settings_end_with_2_and_one_line(
    variable: str, value: str, message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(variable, value)
    assert main(["publish", "http://a"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"image-tools: {message}")


def test_a_producers_own_wrong_setting_ends_with_2_too(
    broker: Broker, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", broker.address)
    monkeypatch.setenv("INPUT_TOPIC", broker.topic)
    monkeypatch.setenv("KAFKA_SOCKET_TIMEOUT_MS", "soon")
    assert main(["publish", "http://a"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("image-tools: KAFKA_SOCKET_TIMEOUT_MS is not accepted")


@pytest.mark.parametrize("command", [["publish", "http://a"], ["watch"]])
def test_an_unreachable_broker_ends_with_4_and_one_line(
    command: list[str], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """capfd, not capsys, since librdkafka writes to stderr by itself unless it is told otherwise."""
    monkeypatch.setattr(preflight, "REACH_S", 0.3)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        address = f"127.0.0.1:{closed.getsockname()[1]}"
        assert main([*command, "--bootstrap-servers", address]) == 4
    out, err = capfd.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    assert line.startswith(f"image-tools: no broker answers at {address} (")
