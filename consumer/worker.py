"""From a record to its outcome: what the stream asks for, one event at a time.

Reads the event, has the predictor answer for its URL, and encodes what is to be published, so that
the stream around it moves records and outcomes without knowing what is in them.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from functools import partial

from consumer.codec import NOT_FINITE, Encoder, decode_event
from consumer.errors import EventUnreadable
from consumer.events import Answer, Failure, ImageUrl, Prediction
from consumer.evidence import evidence
from consumer.failures import SHORT, FailedEvent
from consumer.logs.masking import mask_id, mask_url
from consumer.mistakes import Mistakes
from consumer.predictor import Predictor
from consumer.records import Outcome, Record

log = logging.getLogger(__name__)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


class Worker:
    """Works on records concurrently; ``now_ms`` tells the time in milliseconds since the epoch."""

    def __init__(self, predictor: Predictor, encoder: Encoder, now_ms: Callable[[], int] = _now_ms) -> None:
        self._predictor = predictor
        self._encoder = encoder
        self._now_ms = now_ms
        self._mistakes = Mistakes(log)

    def submit(self, record: Record) -> Future[Outcome]:
        """Begins to work on a record.

        Returns:
            A future of its outcome. It can be cancelled as long as its fetch has not begun.
        """
        event = self._read(record)
        if isinstance(event, Failure):
            done: Future[Outcome] = Future()
            done.set_result(self._unreadable(record, event))
            return done
        answer = self._predictor.submit(event.url)
        done = _Work(answer)
        answer.add_done_callback(partial(self._conclude, done, record, event))
        return done

    def describe(self, record: Record) -> tuple[str, str] | None:
        """What a person may see of an event that is being worked on: its id and masked URL; null if unreadable."""
        event = self._read(record)
        if isinstance(event, Failure):
            return None
        return mask_id(event.event_id, SHORT), mask_url(event.url, SHORT)

    def _read(self, record: Record) -> ImageUrl | Failure:
        """The event of a record, or why there is none."""
        try:
            return decode_event(record)
        except EventUnreadable as error:
            return Failure.of(error)
        except Exception as bug:  # noqa: BLE001 - raised here it would end the stream, and the restarted one again
            return self._mistakes.failure(bug, "event", speechless=True)

    def _conclude(self, done: _Work, record: Record, event: ImageUrl, answer: Future[Answer]) -> None:
        """Encodes on the thread that has the answer: the stream's own only moves outcomes."""
        if answer.cancelled():
            done.cancel()
            return
        done.begin()
        try:
            done.set_result(self._written(record, event, answer.result()))
        except Exception as error:  # noqa: BLE001 - not even a dead letter: this must end the process, not strand the event
            done.set_exception(error)

    def _written(self, record: Record, event: ImageUrl, answer: Answer) -> Outcome:
        """The outcome, or what can be written in its place: a failure, or at least a dead letter."""
        try:
            return self._outcome(record, event, answer)
        except Exception as bug:  # noqa: BLE001 - whatever it is, whoever reads this event again would meet it again
            failure = self._mistakes.failure(bug, "publish")
        try:
            return self._outcome(record, event, failure)
        except Exception as bug:  # noqa: BLE001 - "
            return self._unreadable(record, self._mistakes.failure(bug, "publish", speechless=True))

    def _unreadable(self, record: Record, failure: Failure) -> Outcome:
        return self._failed(self._encoder.unreadable(record, failure), record, None, failure)

    def _outcome(self, record: Record, event: ImageUrl, answer: Answer) -> Outcome:
        outcome = self._encoder.outcome(record, event, answer, self._now_ms())
        if outcome.code is None:
            # Not `replace`, which takes three times as long, for every event.
            told = evidence(event.url, None, recalled=isinstance(answer, Prediction) and answer.recalled)
            return Outcome(outcome.kind, outcome.messages, None, outcome.reduced, told)
        # The encoder finds out what no Failure says: that a probability is no number.
        return self._failed(outcome, record, event, NOT_FINITE if isinstance(answer, Prediction) else answer)

    def _failed(self, outcome: Outcome, record: Record, event: ImageUrl | None, failure: Failure) -> Outcome:
        """With what the breaker and the person on call want to know; an event is null if it could not be read."""
        failed = FailedEvent.of(
            failure,
            self._now_ms(),
            url=event.url if event else None,
            event_id=event.event_id if event else None,
            partition=record.partition,
            offset=record.offset,
        )
        told = evidence(
            event.url if event else "",
            failure.code,
            retriable=failure.retriable,
            stage=failure.stage,
            foreseen=failure.foreseen,
        )
        return replace(outcome, evidence=told, failed=failed)


class _Work(Future[Outcome]):
    """Can be cancelled exactly as long as its answer can."""

    def __init__(self, answer: Future[Answer]) -> None:
        super().__init__()
        self._answer: Future[Answer] | None = answer

    def begin(self) -> None:
        """The answer is there. Lets go of it, or the two would hold each other until the garbage collector comes."""
        self._answer = None
        self.set_running_or_notify_cancel()

    def cancel(self) -> bool:
        answer = self._answer
        return answer is not None and answer.cancel() and super().cancel()
