"""What can be told of the image and the Compose file without an engine."""

from __future__ import annotations

import re
import stat
from pathlib import Path
from typing import Any

import pytest
import yaml

from consumer.demo import images
from consumer.settings import Settings
from ops.local_kafka import jars
from tests.brokers import container_variables

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))
SERVICES: dict[str, Any] = COMPOSE["services"]
DOCKERFILE = (ROOT / "ops" / "Dockerfile").read_text("utf-8")
PROMETHEUS = ROOT / "ops" / "prometheus" / "prometheus.yml"
OURS = [name for name, service in SERVICES.items() if service["image"].startswith("image-consumer:")]
END_MARGIN_S = 5
"""The contract: after SIGTERM the process is gone within DRAIN_S and this."""


def environment(service: str) -> dict[str, str]:
    return {name: str(value) for name, value in SERVICES[service].get("environment", {}).items()}


@pytest.mark.parametrize("service", SERVICES)
def test_every_image_is_pinned_to_a_version(service: str) -> None:
    assert re.fullmatch(r"[a-z/-]+:v?[0-9]+\.[0-9]+\.[0-9]+", SERVICES[service]["image"])


def test_the_broker_is_the_version_that_the_tests_run_on() -> None:
    assert SERVICES["kafka"]["image"] == f"apache/kafka:{jars.version()}"
    assert SERVICES["topics"]["image"] == SERVICES["kafka"]["image"]


def test_our_image_has_the_version_of_the_package() -> None:
    version = re.search(r'version="([^"]+)"', (ROOT / "setup.py").read_text("utf-8"))
    assert version is not None
    assert {SERVICES[name]["image"] for name in OURS} == {f"image-consumer:{version[1]}"}


def test_the_broker_has_every_variable_that_the_image_needs_once_it_has_one() -> None:
    needed = {
        "KAFKA_NODE_ID",
        "KAFKA_PROCESS_ROLES",
        "KAFKA_CONTROLLER_QUORUM_VOTERS",
        "KAFKA_CONTROLLER_LISTENER_NAMES",
        "KAFKA_LISTENERS",
        "KAFKA_ADVERTISED_LISTENERS",
        "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP",
        "KAFKA_INTER_BROKER_LISTENER_NAME",
        "KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR",
        "KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR",
        "KAFKA_TRANSACTION_STATE_LOG_MIN_ISR",
    }
    assert needed <= set(environment("kafka"))
    assert needed <= set(container_variables(port=9092))  # what the tests give it, where they run on Docker


def test_brokers_reach_themselves_inside_and_clients_from_both_sides() -> None:
    broker = environment("kafka")
    advertised = dict(part.split("://") for part in broker["KAFKA_ADVERTISED_LISTENERS"].split(","))
    inside = advertised[broker["KAFKA_INTER_BROKER_LISTENER_NAME"]]
    assert inside == "kafka:29092"
    assert all(environment(one)["KAFKA_BOOTSTRAP_SERVERS"] == inside for one in ("consumer", "publisher", "tools"))
    assert [port.rpartition(":")[0] for port in SERVICES["kafka"]["ports"]] == ["127.0.0.1:9092"]
    assert advertised["HOST"] == "localhost:9092"


def test_the_consumers_settings_are_settings() -> None:
    settings = Settings.from_env(environment("consumer"))
    assert settings.kafka.bootstrap_servers == "kafka:29092"


def test_the_topics_that_are_made_are_those_of_the_service() -> None:
    made = dict(re.findall(r"([a-z.-]+):(\d+)", re.findall(r"for topic in (.*);", SERVICES["topics"]["command"][0])[0]))
    settings = Settings()
    assert set(made) == {settings.input_topic, settings.output_topic, settings.dead_letter_topic}


def test_the_consumer_has_the_time_it_needs_to_end() -> None:
    grace = SERVICES["consumer"]["stop_grace_period"]
    assert grace.endswith("s")
    assert int(grace[:-1]) > Settings.from_env(environment("consumer")).drain_s + END_MARGIN_S


def test_the_consumer_is_started_again_after_it_ended_by_itself_and_not_after_a_stop() -> None:
    assert SERVICES["consumer"]["restart"] == "on-failure"


def test_the_publishers_pictures_are_fetched() -> None:
    settings = Settings.from_env(environment("consumer"))
    address = re.search(r'"http://images:(\d+)(/garment/)%\.0f\.jpg" \d+ (\d+)', SERVICES["publisher"]["command"][0])
    assert address is not None
    assert settings.fetch_allow_ports is not None
    assert int(address[1]) in settings.fetch_allow_ports
    assert address[1] in SERVICES["images"]["entrypoint"]
    assert int(address[3]) < images.MAX_SEED


@pytest.mark.parametrize("service", OURS)
def test_ours_run_with_nothing_that_they_do_not_need(service: str) -> None:
    one = SERVICES[service]
    assert one["read_only"]
    assert one["tmpfs"] == ["/tmp"]
    assert one["cap_drop"] == ["ALL"]
    assert one["security_opt"] == ["no-new-privileges:true"]
    assert "user" not in one  # the image's own


def test_nothing_listens_beyond_this_machine() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert len(ports) == 4
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_no_secret_stands_in_the_file() -> None:
    names = [name for service in SERVICES for name in environment(service)]
    assert not [name for name in names if re.search(r"KEY|PASSWORD|SECRET|TOKEN|JAAS", name)]


def test_the_image_runs_as_a_number_and_gets_its_own_signals() -> None:
    final = DOCKERFILE[DOCKERFILE.rindex("\nFROM ") :]
    assert re.search(r"^USER (\d+):\1$", final, re.MULTILINE)
    assert 'ENTRYPOINT ["image-consumer"]\nCMD ["run"]' in final
    assert "\nSTOPSIGNAL SIGTERM\n" in final
    assert "/livez" in final


def test_the_base_image_is_pinned_and_one_for_all_stages() -> None:
    assert re.search(r"^ARG BASE=python:3\.11-slim-[a-z]+$", DOCKERFILE, re.MULTILINE)
    assert set(re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)) == {"${BASE}", "dependencies"}


def test_the_name_that_tensorflow_has_in_the_image_is_that_of_setup_py() -> None:
    (wanted,) = re.findall(r"s/(\"tensorflow>=)/", DOCKERFILE)
    assert (ROOT / "setup.py").read_text("utf-8").count(wanted) == 1


def test_the_image_is_made_of_what_the_package_is_made_of() -> None:
    copied = set(re.findall(r"^COPY (\w+) \1$", DOCKERFILE, re.MULTILINE))
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines() if line.startswith("!")}
    assert copied == {"consumer", "producer_tools", "schemas"}
    assert kept == copied | {"setup.py", "pyproject.toml", "README.md", "LICENSE"}


def test_prometheus_scrapes_every_instance_and_may_read_its_file() -> None:
    (job,) = yaml.safe_load(PROMETHEUS.read_text("utf-8"))["scrape_configs"]
    (found,) = job["dns_sd_configs"]
    assert found["names"] == ["consumer"]
    assert found["port"] == Settings().http_port
    assert PROMETHEUS.stat().st_mode & stat.S_IROTH  # it runs as nobody
    assert PROMETHEUS.parent.stat().st_mode & stat.S_IXOTH
    (volume,) = SERVICES["prometheus"]["volumes"]
    assert volume == "./ops/prometheus/prometheus.yml:/etc/prometheus/prometheus.yml:ro"
