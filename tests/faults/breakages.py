"""Rules of the service, broken on purpose: the proof that the suite can fail.

Each is a bug that somebody could write. A scenario that stays green with one of them measures nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from confluent_kafka import Consumer

from consumer.stream.core import StreamCore
from consumer.stream.exactly_once import TransactionalPublisher
from consumer.stream.ledger import Entry, Ledger, Stand
from consumer.stream.orphans import Orphans
from consumer.stream.protocol import Publish, Published, Result
from consumer.stream.source import Source


@dataclass(frozen=True)
class Rule:
    """A rule, how it is broken, and the scenario that must find it."""

    meaning: str
    install: Callable[[], None]
    found_by: str


def newest_offset() -> None:
    """Everything finished goes out, and the newest offset of it is committed."""

    def front(self: Ledger) -> Iterator[Entry]:
        return (entry for entry in self.entries if entry.stand is Stand.FINISHED)

    def fronts(self: StreamCore) -> list[Ledger]:
        return [ledger for ledger in self._ledgers.values() if any(front(ledger))]

    def release(self: Ledger, next_offset: int) -> list[Entry]:
        gone = [one for one in self.entries if one.stand is Stand.FINISHED and one.offset < next_offset]
        for entry in gone:
            self.entries.remove(entry)
            del self._by_offset[entry.offset]
            self.bytes -= entry.size
        return gone

    Ledger.front, Ledger.release = front, release  # type: ignore[method-assign] # that is the breakage
    StreamCore._fronts = fronts  # type: ignore[method-assign] # that is the breakage


def no_transactions() -> None:
    """Outcomes and offsets go out apart."""
    os.environ["DELIVERY"] = "at-least-once"


def no_fencing() -> None:
    """The metadata are those of a consumer that never joined, which the broker takes without a look."""
    group = os.environ.get("KAFKA_GROUP_ID", "")
    servers = os.environ.get("KAFKA_BOOTSTRAP_SERVERS", "")
    stranger = Consumer({"bootstrap.servers": servers, "group.id": group})

    def group_metadata(self: Source) -> Any:
        return stranger.consumer_group_metadata()

    Source.group_metadata = group_metadata  # type: ignore[method-assign] # that is the breakage


def no_look_for_orphans() -> None:
    """Nobody notices partitions that are with nobody."""

    def found(self: Orphans) -> frozenset[int]:
        return frozenset()

    Orphans.found = found  # type: ignore[method-assign] # that is the breakage


def unknown_is_failure() -> None:
    """A commit that was not answered is taken for one that did not happen."""
    right = TransactionalPublisher.publish

    def publish(self: TransactionalPublisher, publication: Publish, budget_s: float) -> Published:
        answer = right(self, publication, budget_s)
        return Published(Result.ABORTED, answer.reason) if answer.result is Result.UNKNOWN else answer

    TransactionalPublisher.publish = publish  # type: ignore[method-assign] # that is the breakage


def commit_instead_of_abort() -> None:
    """What should be aborted is committed."""

    def abort(self: TransactionalPublisher, deadline: float) -> None:
        if self._outbox is not None:
            self._outbox.producer.commit_transaction(5.0)

    TransactionalPublisher._abort = abort  # type: ignore[method-assign] # that is the breakage


RULES = {
    "newest-offset": Rule("commit the newest finished offset", newest_offset, "kill-after-produce"),
    "no-transactions": Rule("transactions off, counted as exactly-once", no_transactions, "kill-after-send-offsets"),
    "no-fencing": Rule("group metadata that fence nobody", no_fencing, "zombie"),
    "no-orphans": Rule("partitions with nobody go unnoticed", no_look_for_orphans, "kill-during-rebalance"),
    "unknown-is-failure": Rule("a commit of unknown result taken for a failure", unknown_is_failure, "lost-answers"),
    "commit-aborted": Rule("an abort that commits", commit_instead_of_abort, "aborts"),
}
