"""``KAFKA_…`` variables: any librdkafka property, but none that the delivery guarantee rests on."""

from __future__ import annotations

import pytest
from confluent_kafka import Consumer, KafkaException, Producer

from consumer.errors import SettingsError
from consumer.kafka_settings import REFUSED, KafkaSettings, _scopes
from consumer.settings import Settings


def test_a_property_reaches_every_client_that_has_it() -> None:
    kafka = KafkaSettings.from_env({"KAFKA_SECURITY_PROTOCOL": "ssl", "KAFKA_GROUP_ID": "g", "KAFKA_LINGER_MS": "7"})
    assert kafka.for_consumer() == {"security.protocol": "ssl", "group.id": "g"}
    assert kafka.for_producer() == {"security.protocol": "ssl", "linger.ms": "7"}
    assert kafka.for_admin() == {"security.protocol": "ssl"}


def test_the_narrower_variable_wins() -> None:
    kafka = KafkaSettings.from_env({"KAFKA_CLIENT_ID": "all", "KAFKA_CONSUMER_CLIENT_ID": "reader"})
    assert (kafka.for_consumer()["client.id"], kafka.for_producer()["client.id"]) == ("reader", "all")


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_a_property_that_the_guarantee_rests_on_is_refused_with_the_reason(name: str) -> None:
    variable = "KAFKA_" + name.upper().replace(".", "_")
    with pytest.raises(SettingsError, match="must not be set"):
        KafkaSettings.from_env({variable: "x"})


def test_an_unknown_property_is_an_error_that_offers_the_nearest_name() -> None:
    with pytest.raises(SettingsError, match=r"did you mean KAFKA_BOOTSTRAP_SERVERS\?"):
        KafkaSettings.from_env({"KAFKA_BOOTSTRAP_SERVER": "x:9092"})


def test_a_property_of_the_other_kind_of_client_is_an_error() -> None:
    with pytest.raises(SettingsError, match=r"only producers have linger\.ms, set KAFKA_LINGER_MS"):
        KafkaSettings.from_env({"KAFKA_CONSUMER_LINGER_MS": "5"})


def test_beginning_at_the_end_is_refused_since_it_skips_events_of_new_partitions() -> None:
    with pytest.raises(SettingsError, match="would skip"):
        KafkaSettings.from_env({"KAFKA_AUTO_OFFSET_RESET": "latest"})


@pytest.mark.parametrize("value", ["50", "299", "0x200", "0500", "soon"])
@pytest.mark.parametrize("prefix", ["KAFKA_", "KAFKA_PRODUCER_"])
@pytest.mark.parametrize("name", ["RETRY_BACKOFF_MS", "RETRY_BACKOFF_MAX_MS", "RECONNECT_BACKOFF_MS"])
def test_requests_that_are_repeated_sooner_than_the_promise_allows_are_refused(
    prefix: str, name: str, value: str
) -> None:
    with pytest.raises(SettingsError, match=f"^{prefix}{name}='{value}' is not accepted: .* it takes 300 or more"):
        Settings.from_env({f"{prefix}{name}": value})


@pytest.mark.parametrize(
    "given",
    [
        {"KAFKA_RETRY_BACKOFF_MS": "300"},
        {"KAFKA_RETRY_BACKOFF_MS": "50", "KAFKA_PRODUCER_RETRY_BACKOFF_MS": "400"},
        {"KAFKA_CONSUMER_RETRY_BACKOFF_MS": "50"},
        {"KAFKA_RETRY_BACKOFF_MS": "50", "DELIVERY": "at-least-once"},
        {"KAFKA_RETRY_BACKOFF_MS": "50", "KAFKA_BOOTSTRAP_SERVERS": "embedded"},
    ],
)
def test_what_reaches_no_transactional_producer_may_be_repeated_as_soon_as_one_likes(given: dict[str, str]) -> None:
    assert Settings.from_env(given).kafka == KafkaSettings.from_env(given)


@pytest.mark.parametrize(
    "variable", ["KAFKA_SERVICE_HOST", "KAFKA_PORT_9092_TCP_ADDR", "KAFKA_SERVICE_PORT_CLIENTS", "KAFKA_HEAP_OPTS"]
)
def test_links_that_kubernetes_makes_and_variables_of_kafkas_scripts_take_no_part(variable: str) -> None:
    assert KafkaSettings.from_env({variable: "tcp://10.0.0.1:9092"}) == KafkaSettings()


def test_every_property_of_the_table_is_known_to_the_library_that_is_installed() -> None:
    """A property that it does not know is refused by name; any other complaint is about the value."""
    unknown = []
    for name, scope in _scopes().items():
        client = Producer if scope == "P" else Consumer
        try:
            client({name: "", "group.id": "g"})
        except KafkaException as error:
            if "No such configuration property" in error.args[0].str():
                unknown.append(name)
        except (TypeError, ValueError):
            continue  # known, and not to be set to a text
    assert unknown == []
