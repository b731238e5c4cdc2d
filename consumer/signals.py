"""Being asked to stop, by SIGTERM, SIGINT or another thread."""

from __future__ import annotations

import os
import select
import signal
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

    @classmethod
    def on_signals(cls) -> Self:
        """One that SIGTERM and SIGINT set; to be made on the main thread. The handlers do nothing else."""
        request = cls()

        def note(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the signature of a signal handler
            request.set()

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, note)
        return request

    def set(self) -> None:
        """Asks to stop; again does nothing."""
        if not self._set:
            self._set = True
            os.write(self._write, b"!")

    def is_set(self) -> bool:
        """Whether it was asked."""
        return self._set

    def wait(self, timeout_s: float | None = None) -> bool:
        """Waits until it is asked, at most so long; whether it was."""
        if not self._set:
            select.select([self._read], [], [], timeout_s)
        return self._set

    def close(self) -> None:
        """Gives its pipe back."""
        os.close(self._read)
        os.close(self._write)
