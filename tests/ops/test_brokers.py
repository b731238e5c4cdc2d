"""Which Apache Kafka the tests run on, and what is said when there is none."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.brokers import Kafka, NoKafkaError, any_kafka

ROOT = Path(__file__).parents[2]
NEEDS_KAFKA = "test_each_topic_is_a_test_s_own"


@pytest.fixture
def bare_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No Java on the path, no Docker engine."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/no-engine")


def run(test: str) -> subprocess.CompletedProcess[str]:
    """One test of this file, in a run of its own."""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", f"{__file__}::{test}"]
    return subprocess.run(command, cwd=ROOT, env=os.environ, capture_output=True, text=True, check=False)


def test_each_topic_is_a_test_s_own(kafka: Kafka) -> None:
    assert kafka.unique_topic("images") != kafka.unique_topic("images")


def test_a_given_broker_is_taken_without_a_look_around(bare_machine: None) -> None:
    with any_kafka("broker.example:9092") as chosen:
        assert chosen.bootstrap_servers == "broker.example:9092"


def test_without_any_each_way_is_named(bare_machine: None) -> None:
    with pytest.raises(NoKafkaError, match=r"KAFKA_BOOTSTRAP_SERVERS is not set; no java in PATH.*; no Docker engine"):
        any_kafka(None).__enter__()


def test_without_any_a_laptop_skips_with_one_loud_line(bare_machine: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    done = run(NEEDS_KAFKA)
    assert done.returncode == 0
    assert done.stdout.count("NO APACHE KAFKA, so its tests did not run: KAFKA_BOOTSTRAP_SERVERS is not set") == 1


def test_without_any_ci_fails(bare_machine: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    done = run(NEEDS_KAFKA)
    assert done.returncode == 1
    assert "CI is set and there is no Apache Kafka" in done.stdout


def test_no_variable_of_the_service_is_set() -> None:
    assert not [name for name in os.environ if name.startswith(("KAFKA_", "FETCH_")) or name == "INPUT_TOPIC"]


def test_a_shell_s_own_variables_have_no_part(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("KAFKA_LINGER_MS", "FETCH_NONSENSE", "INPUT_TOPIC"):
        monkeypatch.setenv(name, "1")
    assert run("test_no_variable_of_the_service_is_set").returncode == 0
