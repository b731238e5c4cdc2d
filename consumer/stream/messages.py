"""Records out of the client's messages."""

from __future__ import annotations

import logging
from collections.abc import Callable
from operator import methodcaller

from confluent_kafka import TIMESTAMP_NOT_AVAILABLE, Message

from consumer.logs import Repeats
from consumer.records import Headers, Record

log = logging.getLogger(__name__)
_troubles = Repeats(log)  # whoever writes such a header does so in every record

HEADERS_OF: Callable[[Message], list[tuple[str, bytes]] | None] = methodcaller("headers")
"""See `_headers`."""


def record_of(message: Message) -> Record:
    """What the client has read, as the rest of the service knows it."""
    kind, timestamp = message.timestamp()
    return Record(
        topic=message.topic(),
        partition=message.partition(),
        offset=message.offset(),
        timestamp_ms=-1 if kind == TIMESTAMP_NOT_AVAILABLE else timestamp,
        key=message.key(),
        value=message.value(),
        headers=_headers(message),
    )


def _headers(message: Message) -> Headers:
    """The record's headers; none of them if the *name* of one is not UTF-8, which the client cannot hand over.

    Its C code then sets an exception and returns all the same, headers without a name, which crash the interpreter
    when they are looked at. The interpreter checks for that wherever a call goes the general way, as `HEADERS_OF`
    does; a call that is written out (``message.headers()``) it has made faster, without the check, by the eighth time.
    """
    try:
        return tuple(HEADERS_OF(message) or ())
    except (SystemError, UnicodeDecodeError):
        _troubles.warning(
            "header",
            "offset %d of partition %d has a header whose name is not UTF-8: such records are read without headers",
            message.offset(),
            message.partition(),
        )
        return ()
