"""What nobody foresaw, in the words of the vocabulary: one rule for every stage.

An exception that is none of `consumer.errors` is a mistake of ours, and a stranger may find out how to provoke it. So
it ends neither a thread nor the process, which would find the same event again after its restart, and for ever: the
event fails. It is `model_failed`, the one code that says 500: the service is at fault, and neither URL nor server nor
image; another version may do better, so it is retriable. ``stage`` says where it happened, the dead letter holds the
exception's name, the log its stack, and callers learn no more. It speaks against nobody (`consumer.evidence`).

Only a record of which no outcome can be written, since it could not be read or what it says cannot be encoded, is
`event_unreadable`, as every dead letter that stands alone.
"""

from __future__ import annotations

import logging
from dataclasses import replace

from consumer.errors import EventError, EventUnreadable, ModelFailed, Stage
from consumer.events import Failure
from consumer.logs.sparing import Sparing


class Mistakes:
    """Logs them, and says what their events came to. Thread-safe.

    Args:
        logger: that of the module in which they are noticed.
    """

    def __init__(self, logger: logging.Logger) -> None:
        self._sparing = Sparing(logger, "mistakes of ours")

    def tell(self, bug: BaseException, what: str) -> None:
        """One that concerns no event, or not one alone; ``what`` was being done."""
        self._sparing.log(logging.ERROR, type(bug).__name__, "a mistake of ours, while %s", what, exc_info=bug)

    def failure(self, bug: BaseException, stage: Stage, *, speechless: bool = False) -> Failure:
        """What an event came to at this stage; ``speechless`` if there can be no outcome of it."""
        self._sparing.log(logging.ERROR, type(bug).__name__, "an event failed for a reason of ours", exc_info=bug)
        kind: type[EventError] = EventUnreadable if speechless else ModelFailed
        failure = Failure.of(kind("an internal error; the log has it", stage=stage))
        name = f"{type(bug).__module__}.{type(bug).__qualname__}"
        return replace(failure, exception=name, foreseen=False)
