"""Being asked to stop, by SIGTERM, SIGINT or another thread."""

from __future__ import annotations

import os
import select
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Self


class StopRequest:
    """A flag that is raised once and can be waited for, by any number of threads.

    Unlike `threading.Event` it may be set inside a signal handler: an event takes a lock that the
    interrupted thread, waiting for the same event, may hold. A pipe that becomes readable needs none.
    """

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        self._set = False
        self._woken_by_signals = False

    @classmethod
    def on_signals(cls) -> Self:
        """One that SIGTERM and SIGINT set; to be made on the main thread.

        Python runs a handler on the main thread, between two of its own instructions: while that thread is inside
        TensorFlow or librdkafka, not for minutes. So the signal itself writes into the pipe, and other threads know.
        """
        request = cls()

        def note(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the signature of a signal handler
            request.set()

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, note)
        os.set_blocking(request._write, False)
        signal.set_wakeup_fd(request._write, warn_on_full_buffer=False)
        request._woken_by_signals = True
        return request

    def set(self) -> None:
        """Asks to stop; again does nothing."""
        if not self._set:
            self._set = True
            os.write(self._write, b"!")

    def is_set(self) -> bool:
        """Whether it was asked."""
        return self.wait(0.0)

    def wait(self, timeout_s: float | None = None) -> bool:
        """Waits until it is asked, at most so long; whether it was."""
        if not self._set and select.select([self._read], [], [], timeout_s)[0]:
            self._set = True
        return self._set

    def close(self) -> None:
        """Gives its pipe back; on the main thread, if signals set it."""
        if self._woken_by_signals:
            signal.set_wakeup_fd(-1)
        os.close(self._read)
        os.close(self._write)


LAST_WORDS_S = 2.0
"""Of the 5 s in which a process is gone that was asked to stop."""


class Starting:
    """The time before the service joins its group, in which it may end anywhere: nothing is consumed, and nobody
    waits for it. So it ends at once, whatever call the start stands in; none of them can be broken off.

    Args:
        asked: what ends it.
        last_words: called before the process ends, on a thread of its own; whatever it waits for, a log that nobody
            reads or a request over HTTP, it is waited for no longer than `LAST_WORDS_S`.
        code: what the process ends with.
    """

    def __init__(self, asked: StopRequest, last_words: Callable[[], object], code: int = 0) -> None:
        self._asked = asked
        self._last_words = last_words
        self._code = code
        self._lock = threading.Lock()
        self._over = False
        threading.Thread(target=self._watch, name="stop", daemon=True).start()

    def over(self) -> None:
        """From here on whoever asks to stop is the caller's to serve. Does not return if somebody has asked before."""
        with self._lock:
            self._over = True

    def _watch(self) -> None:
        self._asked.wait()
        with self._lock:
            if self._over:
                return
            saying = threading.Thread(target=self._last_words, name="last words", daemon=True)
            saying.start()
            saying.join(LAST_WORDS_S)
            os._exit(self._code)
