"""One decoder's process, as the service sees it."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import time

import numpy as np

from consumer.decoding import messages
from consumer.errors import ImageCorrupt
from consumer.imaging import Decoded
from consumer.logs.masking import printable

COMMAND = (sys.executable, "-m", "consumer.decoding.worker")

KEPT_VARIABLES = ("PATH", "LD_LIBRARY_PATH", "PYTHONHOME", "PYTHONPATH", "LANG", "LC_ALL")
"""What Python may need to start. Nothing else of the environment, hence no password, is handed on."""

SMALL = {
    "OPENBLAS_NUM_THREADS": "1",
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": str(4 * 2**20),
    "MALLOC_TRIM_THRESHOLD_": str(16 * 2**20),
}
"""No threads of NumPy's, which nobody needs; no heaps for threads, which reserve 64 MB of address space each;
and what is larger than 4 MiB goes back to the system when it is freed, which glibc otherwise stops doing
after the first large image. What is smaller is kept for the next image, up to 16 MiB."""

IMAGES_EACH = 1000
"""After so many images a process makes room for a new one. What a hostile image left in it, a decoder that it
took over included, ends then at the latest; so does what leaks. A start takes 0.16 s of CPU, hence 0.16 ms an image."""

ENDS_WITHIN_S = 1.0
"""From the death that the socket tells to the exit code."""


NONSENSE = "the image made its decoder answer nonsense"


class NeedsRoom(Exception):
    """A large image: ask again while no other large one is being decoded."""


class Died(Exception):
    """The process ended while it decoded; ``signal`` is what ended it, null if it exited by itself."""

    def __init__(self, code: int) -> None:
        self.signal = signal.Signals(-code) if code < 0 else None
        super().__init__(self.signal.name if self.signal else f"exit code {code}")


class NotItsAnswer(Exception):
    """It answered for something else than it was asked: an earlier image took the process over."""


class NotStarted(Exception):
    """No decoder's process can be started: that is no image's fault."""


class DecoderProcess:
    """Decodes one image at a time. Making it starts it; it says when it is ready.

    Args:
        size: width and height of the model's input.
        max_pixels: largest image that is decoded.

    Raises:
        NotStarted: the system refuses.
    """

    def __init__(self, size: tuple[int, int], max_pixels: int) -> None:
        self._shape = (size[1], size[0], 3)
        self._bytes = size[1] * size[0] * 3
        self.usable = True
        """Whether it may be lent again: not while it is busy, nor when it died, spoke nonsense or had `IMAGES_EACH`."""
        self._images = 0
        self._max_pixels = max_pixels
        self._ready = False
        try:
            self._channel, theirs = socket.socketpair()
        except OSError as error:  # no descriptor is left
            raise NotStarted(f"no process for decoding can be started: {error.strerror}") from error
        descriptor = theirs.fileno()
        try:
            self._child = subprocess.Popen(  # noqa: S603 - our own module
                [*COMMAND, *map(str, (descriptor, *size, max_pixels))],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[descriptor],
                env={name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ} | SMALL,
                process_group=0,  # signals to the service's group, such as Ctrl-C's, are the service's
            )
        except OSError as error:
            self._channel.close()
            raise NotStarted(f"no process for decoding can be started: {error.strerror}") from error
        finally:
            theirs.close()

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._child.pid

    def wait_until_ready(self, until: float) -> None:
        """Returns at once but for the first time.

        Args:
            until: when to give up, on the monotonic clock.

        Raises:
            TimeoutError: not yet; it may be asked again.
            NotStarted: it ended instead.
        """
        if self._ready:
            return
        self._channel.settimeout(_left(until))
        if self._channel.recv(1) != messages.READY:
            self.usable = False
            raise NotStarted(f"a process for decoding ended at its start ({self._death()})")
        self._ready = True

    def is_quiet(self) -> bool:
        """Whether it lives and has said nothing since its last answer. One that has is not to be lent again."""
        if not self._ready:
            return True
        self._channel.settimeout(0)
        try:
            self._channel.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except ConnectionError:
            return False
        return False

    def decode(self, body: bytes, *, may_be_large: bool, until: float) -> Decoded:
        """The image in RGB at the model's size.

        Raises:
            ImageError: it does not become pixels.
            NeedsRoom: it is a large one, and ``may_be_large`` is not set.
            TimeoutError: not done in time. The process is still busy with it, so end it.
            Died: the process ended.
            NotItsAnswer: it answered another request.
        """
        self.usable = False  # until it has answered
        self._images += 1
        nonce = secrets.token_bytes(messages.NONCE_BYTES)
        try:
            self._send(messages.REQUEST.pack(nonce, may_be_large, len(body)), until)
            self._send(body, until)
            echo, what, width, height, length = messages.REPLY.unpack(self._receive(messages.REPLY.size, until))
            allowed = {messages.PIXELS: self._bytes, messages.NEEDS_ROOM: 0}.get(what, messages.MESSAGE_BYTES)
            content = self._receive(length, until) if length <= allowed else b""
        except (ConnectionError, EOFError):
            raise self._death() from None
        if echo != nonce:
            raise NotItsAnswer
        if what == messages.PIXELS and length == self._bytes and 0 < width * height <= self._max_pixels:
            self._may_go_on()
            return Decoded(np.frombuffer(content, np.uint8).reshape(self._shape), (width, height))
        if what == messages.NEEDS_ROOM and not may_be_large:
            self._may_go_on()
            raise NeedsRoom
        if what in messages.FAILURES:
            self._may_go_on()
            raise messages.FAILURES[what](printable(content.decode("utf-8", "replace")))
        raise ImageCorrupt(NONSENSE)

    def end(self) -> None:
        """Kills it and takes it off the process table. Any number of times."""
        self._child.kill()
        self._child.wait()
        self._channel.close()

    def _may_go_on(self) -> None:
        self.usable = self._images < IMAGES_EACH

    def _send(self, part: bytes, until: float) -> None:
        self._channel.settimeout(_left(until))
        self._channel.sendall(part)

    def _receive(self, length: int, until: float) -> bytearray:
        received = bytearray(length)
        rest = memoryview(received)
        while rest:
            self._channel.settimeout(_left(until))
            count = self._channel.recv_into(rest)
            if not count:
                raise EOFError
            rest = rest[count:]
        return received

    def _death(self) -> Died:
        try:
            return Died(self._child.wait(ENDS_WITHIN_S))
        except subprocess.TimeoutExpired:  # it closed the socket and lives on
            self._child.kill()
            return Died(self._child.wait())


def _left(until: float) -> float:
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left
