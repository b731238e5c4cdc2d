"""The committed offsets of one group, with those that wait for their transaction to end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

from confluent_kafka import KafkaError, TopicPartition

from tests.simulation.answers import Refused


class Offset(int):
    """An offset to commit, with what its committer writes beside it."""

    mark = ""

    @classmethod
    def of(cls, place: TopicPartition) -> Self:
        """What a client is asked to commit."""
        made = cls(place.offset)
        made.mark = place.metadata or ""
        return made


class GroupOffsets:
    """Partition → committed offset, and producer → partition → offset while its transaction is open."""

    def __init__(self) -> None:
        self.committed: dict[int, int] = {}
        self._pending: dict[int, dict[int, int]] = {}
        self._epochs: dict[int, int] = {}

    @property
    def pending(self) -> bool:
        """Whether any offset waits for the end of a transaction."""
        return bool(self._pending)

    def forget(self) -> None:
        """Their topic is deleted. What an open transaction holds may still come after that."""
        self.committed.clear()

    def commit(self, offsets: Mapping[int, int]) -> None:
        """Outside of a transaction."""
        self.committed.update(offsets)

    def commit_of(self, producer: int, epoch: int, offsets: Mapping[int, int]) -> None:
        """Inside of a transaction: what comes last wins, whichever attempt it belongs to."""
        if epoch < self._epochs.get(producer, epoch):
            raise Refused(KafkaError.INVALID_PRODUCER_EPOCH)
        self._epochs[producer] = epoch
        self._pending.setdefault(producer, {}).update(offsets)

    def mark(self, producer: int, epoch: int, *, commit: bool) -> dict[int, int]:
        """The transaction's end; gives the offsets that are committed by it."""
        self._epochs[producer] = max(epoch, self._epochs.get(producer, epoch))
        offsets = self._pending.pop(producer, {})
        if not commit:
            return {}
        self.committed.update(offsets)
        return offsets

    def stable(self, partition: int) -> int:
        """The committed offset, -1 if there is none.

        Raises:
            Refused: a transaction that is open may change it (``UNSTABLE_OFFSET_COMMIT``).
        """
        if any(partition in offsets for offsets in self._pending.values()):
            raise Refused(KafkaError.UNSTABLE_OFFSET_COMMIT)
        return self.committed.get(partition, -1)
