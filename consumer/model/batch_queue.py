"""Which images wait for the model, when the next batch goes, and who is in it.

No thread and no clock: the time is passed in.

**When.** An image goes as soon as a lane of the model is free, unless company is likely: if the image before it
came less than ``max_wait_s`` earlier, the next one probably will too, so it waits for a full batch, at
most ``max_wait_s``. An urgent image is waited with for nobody. So a single image pays no wait, a stream
fills its batches, and what gathers during a call goes as soon as that call ends.

**Who.** As many as the largest batch shape that can be filled: of 13 the first 8, while the other 5 take another
lane, or are joined by whoever comes during that call. Urgent ones go ahead of everybody who came up to
`HEAD_START_S` before them: first in all ordinary cases, and yet no flood of them holds the others up
for good.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass, field

from consumer.events import Probabilities
from consumer.model.heads import Pixels
from consumer.model.shapes import batch_shapes

HEAD_START_S = 1.0


@dataclass(frozen=True, slots=True)
class Waiting:
    """One image in the queue: uint8 (height, width, 3); ``since`` is monotonic seconds."""

    pixels: Pixels
    since: float
    answer: Future[Probabilities] = field(default_factory=Future)


class BatchQueue:
    """The queue in front of the model.

    Args:
        max_size: most images in one batch.
        max_wait_s: longest wait for company.
    """

    def __init__(self, max_size: int, max_wait_s: float) -> None:
        self._shapes = batch_shapes(max_size)
        self._max_wait_s = max_wait_s
        self._urgent: deque[Waiting] = deque()
        self._others: deque[tuple[Waiting, float]] = deque()
        """With the time until which each one is willing to wait for company."""
        self._last_arrival = float("-inf")

    def __len__(self) -> int:
        return len(self._urgent) + len(self._others)

    def put(self, one: Waiting, *, urgent: bool) -> None:
        """Takes an image in; ``since`` never goes back from one to the next."""
        company_is_likely = one.since - self._last_arrival < self._max_wait_s
        self._last_arrival = one.since
        if urgent:
            self._urgent.append(one)
        else:
            self._others.append((one, one.since + self._max_wait_s if company_is_likely else one.since))

    def wait_s(self, now: float) -> float:
        """Seconds until the next batch should go, if nobody else comes: 0 is now. The queue must not be empty."""
        if self._urgent or len(self) >= self._shapes[-1]:
            return 0.0
        return max(0.0, self._others[0][1] - now)

    def take(self) -> list[Waiting]:
        """The next batch, none of whom can be cancelled any more; who was cancelled before is left out.

        Returns:
            At most as many as the largest batch shape that could be filled; empty if all were cancelled.
        """
        size = max((shape for shape in self._shapes if shape <= len(self)), default=0)
        batch: list[Waiting] = []
        while len(self) and len(batch) < size:
            one = self._pop()
            if one.answer.set_running_or_notify_cancel():
                batch.append(one)
        return batch

    def _pop(self) -> Waiting:
        if not self._others:
            return self._urgent.popleft()
        if self._urgent and self._urgent[0].since - HEAD_START_S <= self._others[0][0].since:
            return self._urgent.popleft()
        return self._others.popleft()[0]
