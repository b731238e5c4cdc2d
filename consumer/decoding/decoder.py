"""The processes that decode, lent to whichever thread has an image."""

from __future__ import annotations

import hashlib
import logging
import queue
import signal
import threading
import time
from collections.abc import Hashable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from consumer.decoding.process import NONSENSE, DecoderProcess, Died, NeedsRoom, NotItsAnswer, NotStarted
from consumer.decoding.shares import Shares
from consumer.decoding.standings import SLOW_S, Standings
from consumer.errors import FatalError, FetchTimeout, ImageCorrupt, ImageTooLarge, Overloaded
from consumer.imaging import Decoded, DecodedImage, kind_of
from consumer.logs.sparing import Sparing

log = logging.getLogger(__name__)

START_S = 30.0
"""How long a process may take to start, which is held against no image; 0.1 s is usual."""


@dataclass(slots=True)
class _Image:
    """A file, its kind, who sent it, and what is left of its event's time, in seconds."""

    body: bytes
    kind: str
    machine: Hashable
    left_s: float


class Decoder:
    """Decodes images outside of this process. Thread-safe.

    Args:
        size: width and height of the model's input, in pixels.
        max_pixels: largest image that is decoded, width times height.
        processes: most of them; each takes 28 MB when idle, and is started when it is needed first.
    """

    def __init__(self, size: tuple[int, int], max_pixels: int, processes: int) -> None:
        self._size = size
        self._max_pixels = max_pixels
        # Null stands for a process that is not started. The one used last is lent first.
        self._idle: queue.LifoQueue[DecoderProcess | None] = queue.LifoQueue()
        for _ in range(processes):
            self._idle.put(None)
        self._successor: DecoderProcess | None = None
        """Takes the place of the first process that is worn once it is ready, so that no image waits for its start."""
        self._succession = threading.Lock()
        standings = Standings()
        self._shares = Shares(processes, standings)
        self._room = Shares(1, standings)
        """For large images, which are decoded one at a time: that is what bounds the memory of them all."""
        self._sparing = Sparing(log, "troubles with decoders")
        self.deaths = 0
        """How many processes ended while they decoded."""
        self._closed = threading.Event()

    def start(self) -> None:
        """Starts the first process, so that a machine that cannot is told at the start.

        Raises:
            FatalError: it cannot.
        """
        try:
            with self._lend():
                return
        except NotStarted as error:
            raise FatalError(str(error)) from error

    def decode(
        self, body: bytes, timeout_s: float, machine: Hashable = None, sha256: str | None = None
    ) -> DecodedImage:
        """An image's first frame, upright, in RGB on white, at the model's size.

        Args:
            body: the file as it came.
            timeout_s: what is left of the event's time, in seconds. A wait that is no fault of the image's does
                not count: for a process to start, and that of a quick machine for its turn (`shares`).
            machine: who sent it: machines take turns, see `turns`.
            sha256: the file's, where the caller has it already; 0.06 ms for 100 KiB.

        Raises:
            ImageError: it does not become pixels, or its decoder crashes or takes too much.
            FetchTimeout: not within ``timeout_s``.
            Overloaded: no process can be started, which is no fault of the image, or it is closed.
        """
        kind = kind_of(body)
        try:
            decoded = self._decode_or_wait_for_room(_Image(body, kind, machine, timeout_s))
        except TimeoutError:
            raise FetchTimeout("the image was not decoded in time (FETCH_DEADLINE_S)", stage="decode") from None
        except NotStarted as error:
            self._sparing.log(logging.ERROR, "no process", "%s", error)
            raise Overloaded("no process for decoding can be started", stage="decode") from None
        return DecodedImage.of(body, kind, decoded, self._size, sha256)

    def close(self) -> None:
        """Ends every process: the idle ones now, the others as soon as they are given back."""
        self._closed.set()
        self._end_idle()

    def _end_idle(self) -> None:
        """The places stay, so that whoever waits for one is told."""
        with self._succession:
            idle, self._successor = [self._successor], None
        with suppress(queue.Empty):
            while True:
                idle.append(self._idle.get_nowait())
        for process in idle:
            if process is not None:
                process.end()
        for _ in idle[1:]:
            self._idle.put(None)

    def _decode_or_wait_for_room(self, image: _Image) -> Decoded:
        try:
            return self._decode(image, may_be_large=False)
        except NeedsRoom:
            with self._room.one(image.machine, image.left_s) as turn:
                image.left_s -= turn.counted_s
                return self._decode(image, may_be_large=True)

    def _decode(self, image: _Image, *, may_be_large: bool) -> Decoded:
        """Once more where a process died, or answered another's request: that may be another's doing."""
        try:
            return self._attempt(image, may_be_large=may_be_large)
        except NotItsAnswer:
            self._sparing.log(logging.WARNING, "not asked", "a decoder answered what it was not asked: it is replaced")
        except Died as first:
            self._tell(image, first)
            if first.signal == signal.SIGPROF:
                raise ImageCorrupt(f"decoding the {image.kind} image takes longer than its size explains") from None
        try:
            return self._attempt(image, may_be_large=may_be_large)
        except NotItsAnswer:
            raise ImageCorrupt(NONSENSE) from None
        except Died as second:
            self._tell(image, second)
            if second.signal == signal.SIGKILL:  # not ours: the system's, which has no memory left
                raise ImageTooLarge(f"the system ended the decoder of the {image.kind} image, twice") from None
            raise ImageCorrupt(f"the {image.kind} image crashes its decoder") from None

    def _attempt(self, image: _Image, *, may_be_large: bool) -> Decoded:
        with self._shares.one(image.machine, image.left_s) as turn:
            image.left_s -= turn.counted_s
            if image.left_s <= 0:
                raise TimeoutError
            with self._lend() as process:
                began, used = time.monotonic(), process.cpu_s()
                try:
                    return process.decode(image.body, may_be_large=may_be_large, until=began + image.left_s)
                finally:
                    took_s = time.monotonic() - began
                    image.left_s -= took_s
                    # Whoever ends a process costs the start of another, whatever it took itself.
                    turn.took_s = process.cpu_s() - used if process.has_answered else max(SLOW_S, took_s)

    def _tell(self, image: _Image, died: Died) -> None:
        self.deaths += 1
        message = "an image ended its decoder's process: %s (%s of %d bytes, SHA-256 %s)"
        sha256 = hashlib.sha256(image.body).hexdigest()
        self._sparing.log(logging.WARNING, str(died), message, died, image.kind, len(image.body), sha256)

    @contextmanager
    def _lend(self) -> Iterator[DecoderProcess]:
        """A process that is ready and waits to be asked. One that is left busy, dead or unfit does not come back."""
        process = self._idle.get()  # there are as many as places
        try:
            if self._closed.is_set():
                raise Overloaded("the service is stopping")
            if process is not None and not process.is_quiet():  # killed by somebody, or taken over by an image
                process.end()
                process = None
            process = process or DecoderProcess(self._size, self._max_pixels)
            try:
                process.wait_until_ready(time.monotonic() + START_S)
            except TimeoutError:
                raise NotStarted(f"no process for decoding was ready after {START_S:g} s") from None
            yield process
        finally:
            self._idle.put(self._returned(process))
            if self._closed.is_set():
                self._end_idle()

    def _returned(self, process: DecoderProcess | None) -> DecoderProcess | None:
        """What is to be lent next in the place of this one, or null."""
        if process is None or (process.usable and not process.is_worn):
            return process
        successor = self._ready_successor() if process.usable else None
        if process.usable and successor is None:
            return process
        process.end()
        return successor

    def _ready_successor(self) -> DecoderProcess | None:
        """A new process that can decode; null if there is none yet, which gets one started."""
        with self._succession:
            successor, self._successor = self._successor, None
            try:
                if successor is None and not self._closed.is_set():
                    successor = DecoderProcess(self._size, self._max_pixels)
                if successor is None or successor.is_ready():
                    return successor
            except NotStarted as error:
                self._sparing.log(logging.ERROR, "no process", "%s", error)
                if successor is not None:
                    successor.end()
                return None
            self._successor = successor
            return None
