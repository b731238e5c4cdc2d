"""What happens to one process from within: it dies at a named point, aborts on purpose, loses an answer.

Points are passed by wrapping the service's classes from outside. SIGKILL to oneself is as sudden as any
other: no handler, no clean-up, no flush.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from functools import wraps
from pathlib import Path
from typing import Any, NoReturn

from confluent_kafka import KafkaError, KafkaException, Message

from consumer.fetching import Fetcher
from consumer.model import Model
from consumer.stream import clients
from consumer.stream.loop import StreamLoop
from consumer.stream.source import Source
from consumer.stream.timely import TimelyProducer
from tests.faults.journal import note

POINTS = {
    "after-revoke": "a partition is handed over, and the group has not heard of it",
    "after-poll": "records are taken out of the topic",
    "after-fetch": "a picture is here",
    "after-predict": "the model has answered",
    "after-produce": "an outcome is handed to the producer",
    "after-send-offsets": "outcomes and offsets are in the open transaction; at-least-once: outcomes are acknowledged",
    "during-commit": "the commit is on its way, its answer is not here",
    "after-commit": "the commit is answered, the service does not know yet",
}

DURING_MAX_S = 0.006
"""How long after it was handed over a commit is cut off by the process's end: from before it left to just
before its answer, which takes 2 to 10 ms."""

ON_PURPOSE = KafkaError(KafkaError._FAIL, "aborted on purpose", txn_requires_abort=True)
LOST_ANSWER = KafkaError(KafkaError._TIMED_OUT, "the answer was lost on purpose")


def die() -> NoReturn:
    """The end of this process, now."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("SIGKILL cannot be survived")


class Fate:
    """What shall happen.

    Args:
        death: ``POINT:N``: SIGKILL at the N-th passage of one of `POINTS`.
        abort_every: each so-many-th transaction is aborted when its offsets are sent.
        lose_answer_every: each so-many-th commit takes effect and looks as if it had not been answered.
        journal: see `tests.faults.journal`; each of these is noted there before it happens, an abort with the
            topic, partition and offset of each of its records, which are in the log by then.
    """

    def __init__(
        self, death: str | None = None, abort_every: int = 0, lose_answer_every: int = 0, journal: Path | None = None
    ) -> None:
        self._point, _, number = (death or "").partition(":")
        if self._point and (self._point not in POINTS or not number.isdecimal()):
            raise ValueError(f"{death!r} is not POINT:N")
        self._left = int(number or 0)
        self._lock = threading.Lock()
        self._abort_every = abort_every
        self._lose_answer_every = lose_answer_every
        self._journal = journal
        self._transactions = 0
        self._commits = 0
        self._placed: list[tuple[str, int, int]] = []  # of the transaction that is open

    def install(self) -> None:
        """Puts it around the service's classes."""
        self._after(StreamLoop, "revoked", "after-revoke")
        self._after(Source, "poll", "after-poll", counts=bool)
        self._after_fetch()
        self._after(Model, "predict", "after-predict")
        self._after(Source, "commit", "after-commit")
        setattr(clients, "TimelyProducer", self._producer_type())  # noqa: B010 - a module's import, replaced

    def reached(self, point: str) -> bool:
        """Whether this passage of a point is the last one."""
        if point != self._point:
            return False
        with self._lock:
            self._left -= 1
            return self._left == 0

    def pass_by(self, point: str) -> None:
        """Dies here if it is time."""
        if self.reached(point):
            self._end(point)

    def _end(self, point: str) -> NoReturn:
        note(self._journal, f"died {point}")
        die()

    def _after(self, kind: type, name: str, point: str, counts: Callable[[Any], bool] = lambda _: True) -> None:
        original = getattr(kind, name)

        @wraps(original)
        def wrapped(*arguments: Any, **named: Any) -> Any:
            answer = original(*arguments, **named)
            if counts(answer):
                self.pass_by(point)
            return answer

        setattr(kind, name, wrapped)

    def _after_fetch(self) -> None:
        submit = Fetcher.submit

        def fetched(done: Future[Any]) -> None:
            if not done.cancelled() and done.exception() is None:
                self.pass_by("after-fetch")

        @wraps(submit)
        def wrapped(*arguments: Any, **named: Any) -> Any:
            fetching = submit(*arguments, **named)
            fetching.add_done_callback(fetched)
            return fetching

        setattr(Fetcher, "submit", wrapped)  # noqa: B010 - as in `_after`, a class's method, replaced

    def _producer_type(self) -> type[TimelyProducer]:
        fate = self

        class FatefulProducer(TimelyProducer):
            """A producer whose calls are points."""

            def begin_transaction(self) -> None:
                fate._placed.clear()
                super().begin_transaction()

            def produce(
                self, topic: str, *, on_delivery: Callable[[KafkaError | None, Message], None], **more: Any
            ) -> None:
                def delivered(error: KafkaError | None, message: Message) -> None:
                    if error is None:
                        fate._placed.append((message.topic(), message.partition(), message.offset()))
                    on_delivery(error, message)

                super().produce(topic, on_delivery=delivered, **more)
                fate.pass_by("after-produce")

            def flush(self, timeout: float = -1) -> int:
                left: int = super().flush(timeout)
                fate.pass_by("after-send-offsets")  # without transactions nothing is sent there
                return left

            def send_offsets_to_transaction(self, *arguments: Any) -> None:
                if fate.shall_abort():
                    super().flush(2)  # so that they are in the log for certain, and would be seen
                    fate.note_aborted()
                    raise KafkaException(ON_PURPOSE)
                super().send_offsets_to_transaction(*arguments)
                fate.pass_by("after-send-offsets")

            def commit_transaction(self, *arguments: Any) -> None:
                if fate.reached("during-commit"):
                    threading.Thread(target=super().commit_transaction, args=arguments, daemon=True).start()
                    time.sleep(random.uniform(0, DURING_MAX_S))
                    fate._end("during-commit")
                super().commit_transaction(*arguments)
                fate.pass_by("after-commit")
                if fate.shall_lose_answer():
                    note(fate._journal, "lost an answer")
                    raise KafkaException(LOST_ANSWER)

        return FatefulProducer

    def shall_abort(self) -> bool:
        """Whether the transaction that is open is one of those."""
        self._transactions += 1
        return bool(self._abort_every) and self._transactions % self._abort_every == 0

    def shall_lose_answer(self) -> bool:
        """Whether the commit that was just answered is one of those."""
        self._commits += 1
        return bool(self._lose_answer_every) and self._commits % self._lose_answer_every == 0

    def note_aborted(self) -> None:
        """Writes down what must never be seen."""
        if self._placed:
            note(self._journal, "aborted", self._placed)
