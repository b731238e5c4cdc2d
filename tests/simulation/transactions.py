"""The transaction coordinator: transactional ids, epochs, fencing, and how a transaction ends.

It is the broker's side without KIP-890's new protocol, which librdkafka does not speak: the epoch
rises when a producer starts and when the broker ends a transaction that is too old, not with every
transaction. So a request that comes late finds its epoch still good as long as its producer is not
replaced.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

from confluent_kafka import KafkaError

from tests.simulation.answers import Refused

Place = tuple[str, int]
"""Topic and partition; the group's offsets are a place too."""


class State(Enum):
    """How far a transaction is."""

    EMPTY = "empty"
    ONGOING = "ongoing"
    ENDING = "ending"  # decided, markers under way
    COMMITTED = "committed"
    ABORTED = "aborted"


@dataclass(slots=True)
class Transactions:
    """All transactions of one transactional id, one after the other."""

    name: str
    producer: int
    timeout_s: float
    epoch: int = -1
    state: State = State.EMPTY
    commit: bool = False
    began: float = 0.0
    places: dict[Place, None] = field(default_factory=dict)  # a set that keeps its order


class TransactionCoordinator:
    """Decides how transactions end; the broker writes the markers.

    Args:
        decided: told of each decision; it must call `complete` once all markers are written.
    """

    def __init__(self, clock: Callable[[], float], decided: Callable[[Transactions], None]) -> None:
        self._clock = clock
        self._decided = decided
        self._ids: dict[str, Transactions] = {}

    @property
    def any_open(self) -> bool:
        """Whether any transaction is open, or its markers are under way."""
        return any(one.state in (State.ONGOING, State.ENDING) for one in self._ids.values())

    def init(self, name: str, timeout_s: float) -> tuple[int, int]:
        """``InitProducerId``: fences predecessors, ends their transaction, gives producer id and epoch."""
        found = self._ids.get(name)
        if found is None:
            found = self._ids[name] = Transactions(name, len(self._ids), timeout_s)
        if found.state is State.ONGOING:
            found.epoch += 1  # fenced from here on
            self._end(found, commit=False)
        if found.state is State.ENDING:
            raise Refused(KafkaError.CONCURRENT_TRANSACTIONS)
        found.epoch += 1
        found.state = State.EMPTY
        found.timeout_s = timeout_s
        return found.producer, found.epoch

    def add(self, name: str, epoch: int, places: list[Place]) -> None:
        """``AddPartitionsToTxn`` and ``AddOffsetsToTxn``: the transaction begins with the first one."""
        one = self._of(name, epoch)
        if one.state is State.ENDING:
            raise Refused(KafkaError.CONCURRENT_TRANSACTIONS)
        if one.state is not State.ONGOING:
            one.state, one.began = State.ONGOING, self._clock()
            one.places.clear()
        for place in places:
            one.places[place] = None

    def verify(self, name: str, epoch: int, place: Place) -> None:
        """What leaders and the group coordinator ask before they write (KIP-890, first part)."""
        one = self._of(name, epoch)
        if one.state is State.ENDING:
            raise Refused(KafkaError.CONCURRENT_TRANSACTIONS)
        if one.state is not State.ONGOING or place not in one.places:
            raise Refused(KafkaError.INVALID_TXN_STATE)

    def end(self, name: str, epoch: int, *, commit: bool) -> None:
        """``EndTxn``: whichever transaction of this epoch is open now is the one that ends."""
        one = self._of(name, epoch)
        if one.state is State.ONGOING:
            self._end(one, commit=commit)
        elif one.state is State.ENDING and one.commit is commit:
            raise Refused(KafkaError.CONCURRENT_TRANSACTIONS)
        elif one.state is not (State.COMMITTED if commit else State.ABORTED):
            raise Refused(KafkaError.INVALID_TXN_STATE)

    def expire(self) -> list[str]:
        """Aborts what is open longer than its timeout, and fences its producer; gives the names."""
        late = [
            one
            for one in self._ids.values()
            if one.state is State.ONGOING and self._clock() - one.began >= one.timeout_s
        ]
        for one in late:
            one.epoch += 1
            self._end(one, commit=False)
        return [one.name for one in late]

    def complete(self, one: Transactions) -> None:
        """All markers are written."""
        one.state = State.COMMITTED if one.commit else State.ABORTED
        one.places.clear()

    def _end(self, one: Transactions, *, commit: bool) -> None:
        one.state, one.commit = State.ENDING, commit
        self._decided(one)

    def _of(self, name: str, epoch: int) -> Transactions:
        one = self._ids.get(name)
        if one is None:
            raise Refused(KafkaError.INVALID_PRODUCER_ID_MAPPING)
        if one.epoch != epoch:
            raise Refused(KafkaError.INVALID_PRODUCER_EPOCH)
        return one
