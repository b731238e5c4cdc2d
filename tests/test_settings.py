"""Settings: what is accepted, and what is said of the rest."""

from __future__ import annotations

from dataclasses import fields
from ipaddress import ip_network
from pathlib import Path

import pytest

from consumer.errors import SettingsError
from consumer.settings import Settings


def test_without_any_variable_the_defaults_of_the_contract_hold() -> None:
    settings = Settings.from_env({})
    assert (settings.input_topic, settings.output_topic) == ("image-urls", "image-predictions")
    assert (settings.dead_letter_topic, settings.delivery) == ("image-urls.dead-letter", "exactly-once")
    assert (settings.fetch_deadline_s, settings.fetch_max_bytes, settings.fetch_attempts) == (10.0, 20 * 2**20, 3)
    assert (settings.http_host, settings.http_port, settings.drain_s) == ("127.0.0.1", 8000, 25.0)
    assert settings.kafka.bootstrap_servers == "localhost:9092"
    assert settings.kafka.group_id == "image-consumer"


def test_values_are_read_with_their_types() -> None:
    settings = Settings.from_env(
        {
            "FETCH_MAX_BYTES": "5 MiB",
            "FETCH_ALLOW_NETS": "127.0.0.0/8, ::1/128",
            "FETCH_ALLOW_HOSTS": "*.Example.com,images.example.org",
            "FETCH_ALLOW_PORTS": "any",
            "MODEL_PATH": "/models/shop",
            "DRAIN_S": "2.5",
            "FETCH_SHARED": "false",
            "MODEL_CACHE_BYTES": "0",
        }
    )
    assert settings.fetch_max_bytes == 5 * 2**20
    assert settings.fetch_allow_nets == (ip_network("127.0.0.0/8"), ip_network("::1/128"))
    assert settings.fetch_allow_hosts == ("*.example.com", "images.example.org")
    assert settings.fetch_allow_ports is None
    assert (settings.fetch_shared, settings.model_cache_bytes) == (False, 0)
    assert (settings.model_path, settings.drain_s) == (Path("/models/shop"), 2.5)


WRONG = {
    "DELIVERY": ("once", "one of exactly-once, at-least-once"),
    "BATCH_MAX_SIZE": ("0", "a whole number from 1 to 1024"),
    "FETCH_DEADLINE_S": ("ten", "a number of seconds from 0.1 to 600"),
    "FETCH_MAX_BYTES": ("5 parsecs", "a number of bytes"),
    "FETCH_ALLOW_NETS": ("10.0.0.1/8", "networks such as 127.0.0.0/8"),
    "FETCH_ALLOW_HOSTS": ("http://x.example", "host names such as"),
    "FETCH_ALLOW_PORTS": ("80,http", "ports from 1 to 65535"),
    "INPUT_TOPIC": ("no spaces", "a topic name"),
    "INSTANCE_ID": ("a/b", "up to 200 letters"),
    "HTTP_PORT": ("-1", "a whole number from 0 to 65535"),
    "FETCH_SHARED": ("yes", "true or false"),
    "LOG_LEVEL": ("INFO", "one of debug, info, warning, error"),
    "HTTP_HOST": ("http://x", "an address or host name"),
}


@pytest.mark.parametrize("variable", ["HTTP_API_KEY", "FETCH_ALLOW_HOSTS"])
def test_what_closes_something_is_not_empty_by_mistake(variable: str) -> None:
    """As a template leaves it whose secret is missing: the endpoint would be open, and nobody told."""
    with pytest.raises(SettingsError, match=f"^{variable}='' is not accepted: it takes .*; unset it if nothing is"):
        Settings.from_env({variable: ""})


@pytest.mark.parametrize("variable", WRONG)
def test_a_wrong_value_is_an_error_that_names_variable_value_and_what_is_accepted(variable: str) -> None:
    value, accepted = WRONG[variable]
    with pytest.raises(SettingsError) as raised:
        Settings.from_env({variable: value})
    assert f"{variable}={value!r} is not accepted: it takes {accepted}" in str(raised.value)
    assert "\n" not in str(raised.value)
    assert raised.value.exit_code == 2


def test_a_wrong_secret_is_not_told() -> None:
    with pytest.raises(SettingsError, match=r"HTTP_API_KEY=\*\*\* is not accepted") as raised:
        Settings.from_env({"HTTP_API_KEY": "short"})
    assert "short" not in str(raised.value)


@pytest.mark.parametrize(
    ("variable", "near"),
    [
        ("FETCH_DEADLINE", "FETCH_DEADLINE_S"),
        ("BATCH_SIZE_MAX", "BATCH_MAX_SIZE"),
        ("DEAD_LETTER_TOPICS", "DEAD_LETTER_TOPIC"),
    ],
)
def test_an_unknown_variable_of_our_families_is_an_error_that_offers_the_nearest_name(variable: str, near: str) -> None:
    with pytest.raises(SettingsError, match=rf"{variable} is no setting: did you mean {near}\?"):
        Settings.from_env({variable: "1"})


def test_variables_of_others_neither_stop_the_start_nor_take_part() -> None:
    environ = {"HTTP_PROXY": "http://proxy:3128", "PATH": "/bin", "HOME": "/root", "DELIVERY": ""}
    assert Settings.from_env(environ) == Settings.from_env({})


def test_a_service_that_would_read_what_it_writes_is_refused() -> None:
    with pytest.raises(SettingsError, match="must differ"):
        Settings.from_env({"OUTPUT_TOPIC": "image-urls"})


def test_a_schema_registry_is_refused_rather_than_ignored() -> None:
    with pytest.raises(SettingsError, match="SCHEMA_REGISTRY_URL is set"):
        Settings.from_env({"SCHEMA_REGISTRY_URL": "http://registry:8081"})


def test_the_table_has_a_row_for_every_setting_and_masks_secrets() -> None:
    settings = Settings.from_env({"HTTP_API_KEY": "correct-horse", "KAFKA_SASL_PASSWORD": "battery-staple"})
    rows = {row.variable: row for row in settings.rows()}
    assert {one.name.upper() for one in fields(Settings) if one.metadata} <= set(rows)
    assert (rows["HTTP_API_KEY"].value, rows["HTTP_API_KEY"].changed) == ("***", True)
    assert rows["KAFKA_SASL_PASSWORD"].value == "***"
    assert all(row.meaning for row in rows.values())


def test_the_table_shows_values_as_one_would_write_them() -> None:
    settings = Settings.from_env({"FETCH_ALLOW_PORTS": "8080,80", "FETCH_ALLOW_NETS": "10.0.0.0/8,::1/128"})
    rows = {row.variable: row.value for row in settings.rows()}
    assert rows["FETCH_ALLOW_PORTS"] == "80,8080"
    assert rows["FETCH_ALLOW_NETS"] == "10.0.0.0/8,::1/128"
    assert (rows["DRAIN_S"], rows["FETCH_SHARED"]) == ("25", "true")
