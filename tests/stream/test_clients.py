"""How clients are made: what is refused is named as it was set, and trouble is told sparingly."""

from __future__ import annotations

import logging

import pytest
from confluent_kafka import KafkaError

from consumer.errors import SettingsError
from consumer.settings import Settings
from consumer.stream import clients
from consumer.stream.clients import Instance, Troubles


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("KAFKA_LINGER_MS", "soon"),
        ("KAFKA_RETRIES", "many"),
        ("KAFKA_RETRIES", "0"),
        ("KAFKA_MESSAGE_SEND_MAX_RETRIES", "0"),
        ("KAFKA_MAX_IN_FLIGHT", "10"),
        ("KAFKA_MAX_IN_FLIGHT_REQUESTS_PER_CONNECTION", "10"),
        ("KAFKA_COMPRESSION_TYPE", "zip"),
        ("KAFKA_TRANSACTION_TIMEOUT_MS", "5"),
    ],
)
def test_a_value_that_librdkafka_refuses_is_told_with_the_variable_that_was_set(variable: str, value: str) -> None:
    settings = Settings.from_env({variable: value})
    with pytest.raises(SettingsError, match=f"^{variable} is not accepted: "):
        clients.make_producer(clients.producer_config(settings, Instance("a", stable=True)))


def test_a_consumer_never_moves_to_another_offset_by_itself() -> None:
    """It is `Placement` that decides, whatever was set."""
    for value in ("earliest", "error"):
        settings = Settings.from_env({"KAFKA_AUTO_OFFSET_RESET": value})
        config = clients.consumer_config(settings, Instance("a", stable=True))
        assert config["auto.offset.reset"] == "error"
        assert clients.is_strict(settings) is (value == "error")


def test_three_brokers_that_are_away_are_one_trouble_and_a_wrong_password_is_another(
    caplog: pytest.LogCaptureFixture,
) -> None:
    troubles = Troubles("consumer")
    for number in range(30):
        troubles(KafkaError(KafkaError._TRANSPORT, f"broker {number % 3}: Connection refused (after {number} ms)"))
        troubles(KafkaError(KafkaError._ALL_BROKERS_DOWN, "3/3 brokers are down"))
    troubles(KafkaError(KafkaError._AUTHENTICATION, "wrong password"))
    assert [one.getMessage() for one in caplog.records if one.levelno == logging.WARNING] == [
        "Kafka consumer: broker 0: Connection refused",
        "Kafka consumer: wrong password",
    ]
    assert troubles.last == "wrong password"
