"""What a broker's answers are to a client: librdkafka's classes of errors.

Taken from librdkafka 2.16, ``rdkafka_txnmgr.c``: the handlers of ``AddOffsetsToTxn``, ``TxnOffsetCommit``
and ``EndTxn`` sort the same way but for the few codes that are named where they are used.
"""

from __future__ import annotations

from confluent_kafka import KafkaError, KafkaException


class Refused(Exception):
    """The broker answered with an error code."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class TimedOut(Exception):
    """No answer came in time: what was asked may have been done, may be done later, or never."""


class Killed(BaseException):
    """The process is gone, as by SIGKILL: nothing of it runs any more, no ``finally`` either."""


AGAIN = {
    KafkaError.NOT_COORDINATOR,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError.CONCURRENT_TRANSACTIONS,
    KafkaError.UNSTABLE_OFFSET_COMMIT,
    KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER,
    KafkaError.NOT_ENOUGH_REPLICAS,
}
"""What librdkafka sends again by itself until the call's time is over."""

FATAL = {
    KafkaError.INVALID_PRODUCER_EPOCH,
    KafkaError.PRODUCER_FENCED,
    KafkaError._FENCED,
    KafkaError.INVALID_TXN_STATE,
    KafkaError.INVALID_PRODUCER_ID_MAPPING,
}
"""What breaks a transactional producer for good."""


def retriable(code: int, text: str) -> KafkaException:
    """Call again with the same arguments."""
    return KafkaException(KafkaError(code, text, fatal=False, retriable=True, txn_requires_abort=False))


def abortable(code: int, text: str) -> KafkaException:
    """The transaction must be aborted."""
    return KafkaException(KafkaError(code, text, fatal=False, retriable=False, txn_requires_abort=True))


def fatal(code: int, text: str) -> KafkaException:
    """The producer is good for nothing any more."""
    return KafkaException(KafkaError(code, text, fatal=True, retriable=False, txn_requires_abort=False))


def plain(code: int, text: str) -> KafkaException:
    """Of none of the three classes."""
    return KafkaException(KafkaError(code, text, fatal=False, retriable=False, txn_requires_abort=False))
