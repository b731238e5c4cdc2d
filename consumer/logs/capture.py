"""What native code writes past Python's logging, line by line.

File descriptors 1 and 2 become pipes; a thread reads them and hands each line on. So the messages of
TensorFlow, librdkafka, a C library's ``abort`` and a stray ``print`` all become log records.

No line is lost at a normal exit (`Capture.close` drains what is there), and nobody hangs: the reading
thread takes no lock that a writer could hold, the pipes hold 1 MiB, and if the thread ever died the
real descriptors would be put back. Lines of a process that is killed or aborts may be lost with it.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import selectors
import sys
import threading
from collections.abc import Callable
from typing import Final

OnLine = Callable[[str, str], None]
"""Told where a line was written, ``stdout`` or ``stderr``, and the line without its end. Must not raise."""

PIPE_BYTES: Final = 2**20
"""The most that Linux gives to an unprivileged process. A native library that holds the interpreter
lock can write so much before it has to wait for our thread, which needs that lock."""

LINE_BYTES: Final = 2**16
"""Where a line without an end is cut, so that memory stays bounded."""

CLOSE_S: Final = 5.0
"""How long `close` waits for the reader, should the log's own reader have stopped reading."""


class Capture:
    """Redirects descriptors 1 and 2 from its making until `close`."""

    def __init__(self, on_line: OnLine) -> None:
        self._on_line = on_line
        self._closing = threading.Lock()
        self._closed = False
        _flush()
        self._real = {fd: os.dup(fd) for fd in (1, 2)}
        self._pipes = {_become_pipe(fd): _Lines(name) for fd, name in ((1, "stdout"), (2, "stderr"))}
        self._wake_read, self._wake_write = os.pipe()
        self._thread = threading.Thread(target=self._run, name="native-output", daemon=True)
        self._thread.start()

    def real(self, fd: int) -> int:
        """A descriptor of what 1 or 2 was before; closed by `close`."""
        return self._real[fd]

    def close(self) -> None:
        """Puts the real descriptors back, hands on every line that was written before, and ends."""
        with self._closing:
            if self._closed:
                return
            self._closed = True
            _flush()
            self._put_back()
            os.write(self._wake_write, b".")
            self._thread.join(CLOSE_S)
            if not self._thread.is_alive():  # else it still uses them
                for fd in (*self._real.values(), *self._pipes, self._wake_read, self._wake_write):
                    os.close(fd)

    def _put_back(self) -> None:
        for fd, real in self._real.items():
            os.dup2(real, fd)

    def _run(self) -> None:
        try:
            with selectors.DefaultSelector() as selector:
                for pipe in (*self._pipes, self._wake_read):
                    selector.register(pipe, selectors.EVENT_READ)
                while self._wake_read not in (ready := [key.fd for key, _ in selector.select()]):
                    for pipe in ready:
                        if not self._read(pipe):
                            selector.unregister(pipe)
            for pipe, lines in self._pipes.items():
                while self._read(pipe):
                    pass
                lines.end(self._on_line)
        finally:
            if not self._closed:
                self._put_back()

    def _read(self, pipe: int) -> bool:
        """Hands on what is there; False if there is nothing more."""
        try:
            chunk = os.read(pipe, LINE_BYTES)
        except BlockingIOError:
            return False
        self._pipes[pipe].feed(chunk, self._on_line)
        return chunk != b""


class _Lines:
    """Bytes of one stream → whole lines."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._rest = b""

    def feed(self, chunk: bytes, on_line: OnLine) -> None:
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        if len(self._rest) >= LINE_BYTES:
            lines.append(self._rest)
            self._rest = b""
        for line in lines:
            text = line.decode("utf-8", "backslashreplace").strip("\r")
            if text:
                on_line(self._name, text)

    def end(self, on_line: OnLine) -> None:
        """No more will come: a last line without an end is one all the same."""
        if self._rest:
            self.feed(b"\n", on_line)


def _become_pipe(fd: int) -> int:
    """Makes a descriptor the write end of a new pipe; gives the read end."""
    read, write = os.pipe()
    with contextlib.suppress(OSError, AttributeError):  # the machine's limit is lower, or it is no Linux
        fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    os.set_blocking(read, False)
    os.dup2(write, fd)
    os.close(write)
    return read


def _flush() -> None:
    """What Python and C hold back goes where the descriptors point now."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, ValueError, OSError):  # there is none, or it is closed
            stream.flush()
    ctypes.CDLL(None).fflush(None)
