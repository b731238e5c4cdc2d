"""The commands as a person meets them: what they print, and their exit codes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ops.local_kafka.ports import free_ports
from tests.brokers import Kafka


def run(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "consumer", *arguments],
        env=os.environ | {"HTTP_PORT": "0", "MODEL_BACKEND": "tensorflow", **settings},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_help_shows_every_command_examples_and_exit_codes() -> None:
    ran = run("--help")
    assert ran.returncode == 0
    for word in ("run", "demo", "check", "settings", "examples:", "exit codes:"):
        assert word in ran.stdout


def test_settings_prints_every_variable_in_whole_lines_into_a_pipe() -> None:
    ran = run("settings", FETCH_DEADLINE_S="5", HTTP_API_KEY="correct-horse")
    lines = {line.split()[0]: line for line in ran.stdout.splitlines() if line}
    assert "everything that one image takes" in lines["FETCH_DEADLINE_S"]
    assert lines["FETCH_DEADLINE_S"].split()[1:3] == ["5", "10"]
    assert "***" in lines["HTTP_API_KEY"]
    assert "correct-horse" not in ran.stdout


@pytest.mark.parametrize("command", ["run", "check", "settings", "demo"])
def test_a_wrong_setting_is_one_line_and_exit_code_2(command: str) -> None:
    ran = run(command, DELIVERY="sometimes")
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr == (
        "image-consumer: DELIVERY='sometimes' is not accepted: it takes one of exactly-once, at-least-once\n"
    )


def test_an_unreachable_broker_is_told_in_one_line_with_exit_code_4() -> None:
    (port,) = free_ports(1)
    ran = run("run", KAFKA_BOOTSTRAP_SERVERS=f"127.0.0.1:{port}", LOG_FORMAT="text")
    assert ran.returncode == 4
    assert f"no broker answers at 127.0.0.1:{port}" in ran.stdout
    assert "set KAFKA_BOOTSTRAP_SERVERS" in ran.stdout
    assert "Traceback" not in ran.stdout + ran.stderr


def test_a_missing_topic_is_told_with_the_command_that_makes_it_and_exit_code_4(kafka: Kafka) -> None:
    ran = run("run", KAFKA_BOOTSTRAP_SERVERS=kafka.bootstrap_servers, INPUT_TOPIC="not-there", LOG_FORMAT="text")
    assert ran.returncode == 4
    assert "topic 'not-there' does not exist" in ran.stdout
    assert "--create --topic not-there" in ran.stdout
    assert "Traceback" not in ran.stdout + ran.stderr


def test_a_broken_model_file_is_told_in_one_line_with_exit_code_3(tmp_path: Path) -> None:
    (tmp_path / "model.keras").write_bytes(b"this is no model")
    (tmp_path / "config.yml").write_text(
        "paths: {model_path: ./model.keras}\nmodel: {input_shape: [8, 8], target_encoder: {sleeves: [long, short]}}\n"
    )
    ran = run("check", KAFKA_BOOTSTRAP_SERVERS="embedded", MODEL_PATH=str(tmp_path))
    assert ran.returncode == 3
    (line,) = (line for line in ran.stdout.splitlines() if line.startswith("FAIL"))
    assert "model.keras" in line
    assert "Traceback" not in ran.stdout + ran.stderr


def test_a_setting_that_librdkafka_refuses_names_its_variable_with_exit_code_2() -> None:
    ran = run("run", KAFKA_SECURITY_PROTOCOL="telepathy", LOG_FORMAT="text")
    assert ran.returncode == 2
    assert "KAFKA_SECURITY_PROTOCOL is not accepted" in ran.stdout


def test_check_tells_a_line_for_each_thing_that_the_service_needs(kafka: Kafka) -> None:
    topics = {
        variable: kafka.unique_topic(variable.lower().replace("_", "-"), 2)
        for variable in ("INPUT_TOPIC", "OUTPUT_TOPIC", "DEAD_LETTER_TOPIC")
    }
    ran = run("check", KAFKA_BOOTSTRAP_SERVERS=kafka.bootstrap_servers, **topics)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    told = [line.split()[:2] for line in ran.stdout.splitlines()]
    assert [name for _, name in told] == [
        *("settings", "model", "broker", "topic", "topic", "topic", "rights", "delivery", "registry"),
    ]
    assert {mark for mark, name in told if name != "registry"} == {"ok"}
