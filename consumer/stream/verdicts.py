"""What an error of a transaction means, as librdkafka hands it out:

=========  ===================================================  ===================================
class      told by                                              what is done
=========  ===================================================  ===================================
retriable  ``retriable()``                                      the same call again, until the budget
                                                                ends
abortable  ``txn_requires_abort()``, or the group has moved on  abort; the same is published later
forbidden  an authorisation failed                              the process ends
fenced     PRODUCER_FENCED or INVALID_PRODUCER_EPOCH under a    the process ends
           stable name
broken     ``fatal()``, and everything else                     a new producer; if the commit had
                                                                been sent, its result is unknown
=========  ===================================================  ===================================
"""

from __future__ import annotations

from enum import Enum

from confluent_kafka import KafkaError

from consumer.errors import BrokerError

GROUP_MOVED_ON = {
    KafkaError.ILLEGAL_GENERATION,
    KafkaError.UNKNOWN_MEMBER_ID,
    KafkaError.STALE_MEMBER_EPOCH,
    KafkaError.FENCED_MEMBER_EPOCH,
    KafkaError.REBALANCE_IN_PROGRESS,
}
PRODUCER_GONE = {KafkaError.PRODUCER_FENCED, KafkaError.INVALID_PRODUCER_EPOCH, KafkaError._FENCED}
FORBIDDEN = {
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED: "Write on the transactional id",
    KafkaError.CLUSTER_AUTHORIZATION_FAILED: "IdempotentWrite on the cluster",
    KafkaError.TOPIC_AUTHORIZATION_FAILED: "Write on the output topics",
    KafkaError.GROUP_AUTHORIZATION_FAILED: "Read on the group",
}
"""The right that is missing, as an administrator grants it."""


class Verdict(Enum):
    """What is left once nothing is retriable."""

    ABORT = "abortable"
    FENCED = "fenced"
    BROKEN = "broken"

    @classmethod
    def of(cls, error: KafkaError) -> Verdict:
        """An error's. What is `FENCED` by its code may be a transaction that the broker timed out."""
        if error.code() in PRODUCER_GONE:
            return cls.FENCED
        if not error.fatal() and (error.txn_requires_abort() or error.code() in GROUP_MOVED_ON):
            return cls.ABORT
        return cls.BROKEN


def refuse_forbidden(error: KafkaError) -> None:
    """Raises a `BrokerError` where a right is missing; names it."""
    if error.code() in FORBIDDEN:
        raise BrokerError(f"not authorised to publish: {error.str()}; grant {FORBIDDEN[error.code()]}")
