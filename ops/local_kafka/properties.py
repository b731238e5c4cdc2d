"""What the brokers are told: a small, quick Kafka, otherwise as in production."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

QUICK = {
    "group.initial.rebalance.delay.ms": "0",  # 3 s of every first join otherwise
    # A crashed writer's transaction is ended this soon after its own time-out (every 10 s by default).
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "500",
    "offsets.topic.num.partitions": "4",  # 50 by default, each with files to make at the first use
    "transaction.state.log.num.partitions": "4",  # "
    "group.min.session.timeout.ms": "1000",  # so that a test may see a member die sooner than in 6 s
    "auto.create.topics.enable": "false",  # a missing topic is an error, as it is in production
    "log.retention.ms": "-1",  # records with old timestamps are test data, not rubbish
}
"""For any broker of tests, in a container too."""


@dataclass(frozen=True)
class SideDoor:
    """A second listener of a broker: clients that come in by it are told to come back to another address.

    With a proxy at that address, all that such a client ever says to this broker goes through the proxy.
    Addresses are ``host:port``.
    """

    listens_at: str
    told: str


def replication(brokers: int) -> dict[str, str]:
    """Kafka's own topics on every broker; of three, two must have a record before it counts as written."""
    copies, in_sync = str(brokers), str(min(2, brokers))
    return {
        "default.replication.factor": copies,
        "min.insync.replicas": in_sync,
        "offsets.topic.replication.factor": copies,
        "transaction.state.log.replication.factor": copies,
        "transaction.state.log.min.isr": in_sync,
        "share.coordinator.state.topic.replication.factor": copies,
        "share.coordinator.state.topic.min.isr": in_sync,
    }


def broker_properties(
    node: int, client: str, controllers: Mapping[int, str], data: Path, side: SideDoor | None = None
) -> dict[str, str]:
    """The properties of one combined broker and controller.

    Args:
        node: its number, from 1.
        client: address that clients and the other brokers use, ``host:port``.
        controllers: each node's address for the metadata quorum.
        data: folder of its log segments.
        side: a second listener for clients, if it is to have one.
    """
    listeners, advertised, protocols = f"CLIENTS://{client}", f"CLIENTS://{client}", "CLIENTS:PLAINTEXT"
    if side is not None:
        listeners += f",SIDE://{side.listens_at}"
        advertised += f",SIDE://{side.told}"
        protocols += ",SIDE:PLAINTEXT"
    return {
        "process.roles": "broker,controller",
        "node.id": str(node),
        "controller.quorum.voters": ",".join(f"{number}@{address}" for number, address in controllers.items()),
        "listeners": f"{listeners},CONTROLLER://{controllers[node]}",
        "advertised.listeners": advertised,
        "listener.security.protocol.map": f"{protocols},CONTROLLER:PLAINTEXT",
        "inter.broker.listener.name": "CLIENTS",
        "controller.listener.names": "CONTROLLER",
        "log.dirs": str(data),
        "num.network.threads": "2",
        "num.io.threads": "4",
        "log.cleaner.dedupe.buffer.size": str(2 * 2**20),  # 128 MiB by default, half of the heap
        # After a crash a broker may not come back until its old session is over (9 s by default). Of three, one
        # that is merely slow on a busy machine must not be taken for dead; one alone hears its own heartbeat.
        "broker.session.timeout.ms": "2000" if len(controllers) == 1 else "6000",
        "broker.heartbeat.interval.ms": "500",
        **replication(len(controllers)),
        **QUICK,
    }
