"""Publications: outcomes and offsets, together or not at all. `DELIVERY` decides how."""

from __future__ import annotations

from functools import partial
from typing import Protocol

from consumer.settings import Settings
from consumer.stream import clients
from consumer.stream.at_least_once import PlainPublisher
from consumer.stream.brokers_time import BrokersTime
from consumer.stream.exactly_once import TransactionalPublisher
from consumer.stream.protocol import Publish, Published
from consumer.stream.source import Source


class Publisher(Protocol):
    """What the loop needs: every method returns within its budget, or a little later."""

    def start(self, budget_s: float) -> None:
        """Makes ready to publish; a `BrokerError` says why it cannot."""

    def publish(self, publication: Publish, budget_s: float) -> Published:
        """Publishes and commits, and says what became of it."""

    def tend(self) -> None:
        """Called about every second, between publications: ends what an earlier one has left undone."""

    def abort_hanging(self) -> None:
        """Partitions do not begin: ends transactions of this instance that may be left open, see `hanging`."""

    def replace(self, budget_s: float) -> bool:
        """A new producer in place of one that broke; its transaction is ended first. False: not yet."""

    def close(self, budget_s: float) -> None:
        """Gives everything back."""


def make_publisher(settings: Settings, instance: clients.Instance, source: Source) -> Publisher:
    """The publisher that the settings ask for; ``source`` is where its offsets are committed."""
    config = clients.producer_config(settings, instance)
    make = partial(clients.make_producer, config)
    if settings.delivery == "at-least-once":
        return PlainPublisher(make, source, largest=int(config["message.max.bytes"]))
    timeout_s = int(config["transaction.timeout.ms"]) / 1000
    return TransactionalPublisher(
        make,
        source,
        stable_name=instance.stable,
        transaction_timeout_s=timeout_s,
        topics=(settings.output_topic, settings.dead_letter_topic),
        brokers_clock=BrokersTime(),
    )
