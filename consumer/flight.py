"""The events that one fetch is for, from the image to the answer (which ones: `consumer.fetching.company`).

The first of them has the image decoded and asks the model, the others wait for its answer. They came before
the fetch began and share its deadline, so what becomes of the image is what becomes of it for each of them.
Not so a failure that is ours: for all that is known it was that one call, and what it says of the service's
health may count only once. Where no process for decoding could be started, the next of them tries; where the
model failed, each of the others asks it, with the pixels that are here already.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING

from consumer.errors import ImageError, ModelFailed, Overloaded
from consumer.events import Answer, Failure

if TYPE_CHECKING:
    from consumer.imaging import DecodedImage


class Flight:
    """See the module's text. The fetching thread calls `board` for one after the other, the first one first.

    Args:
        left_s: what is left of the deadline that all of them share.
    """

    __slots__ = ("_first", "_until", "image")

    def __init__(self, left_s: float) -> None:
        self._until = time.monotonic() + left_s
        self._first: Future[Answer] | None = None
        self.image: DecodedImage | None = None
        """What the model is asked about; null until it is, and when it has answered."""

    @property
    def left_s(self) -> float:
        """What is left of the deadline now: the first one may have used some of it in vain."""
        return self._until - time.monotonic()

    def board(self, answer: Future[Answer], ask: Callable[[DecodedImage], None]) -> bool:
        """Takes one more event in.

        Args:
            answer: the event's, running; it is set here unless this is the first.
            ask: asks the model on behalf of this event and sets ``answer``. It runs on whichever thread has the
                first one's answer, the model's own perhaps, so it must not wait.

        Returns:
            Whether somebody else finds the answer. If not, this one is the first and has to.
        """
        if self._first is None or _undecoded(self._first):
            self._first = answer
            return False
        self._first.add_done_callback(partial(self._arrived, answer, ask))
        return True

    def _arrived(self, answer: Future[Answer], ask: Callable[[DecodedImage], None], first: Future[Answer]) -> None:
        told = first.result()
        if self.image is not None and isinstance(told, Failure) and told.code == ModelFailed.code:
            ask(self.image)
        else:
            self.image = None  # whoever holds on to an answer holds no pixels
            answer.set_result(told)


def _undecoded(first: Future[Answer]) -> bool:
    """Whether nobody has looked at the image, for a reason that is not the image's."""
    told = first.result() if first.done() else None
    return isinstance(told, Failure) and (told.code, told.stage) == (Overloaded.code, ImageError.stage)
