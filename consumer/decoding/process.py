"""One decoder's process, as the service sees it."""

from __future__ import annotations

import math
import os
import secrets
import select
import signal
import socket
import subprocess
import sys
import time

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
"""After so many images a process makes room for a new one, as soon as that is ready. What a hostile image left in
it, a decoder that it took over included, ends then; so does what leaks. A start takes 0.09 s of CPU, hence 0.09 ms an
image."""

MORE_IMAGES = 250
"""What it may have at most until then: a start that takes 0.3 s of a busy machine is some 50 images of one process."""

CHANNEL_BYTES = 2**19
"""Room that is asked for in the socket for what one side says; the system gives what it gives, 416 KiB by default.
The pixels of 224 × 224 take 147 KiB and an image of the usual size 50: who says them need not wait for who reads."""

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
        self._bytes = size[1] * size[0] * 3
        self.usable = True
        """Whether it may be lent again: not while it is busy, nor when it died, spoke nonsense or had its share."""
        self.has_answered = False
        """Whether it answered what it was asked last, be it that the image is none."""
        self._images = 0
        self._max_pixels = max_pixels
        self._ready = False
        try:
            self._channel, theirs = socket.socketpair()
        except OSError as error:  # no descriptor is left
            raise NotStarted(f"no process for decoding can be started: {error.strerror}") from error
        self._channel.setblocking(False)
        for end in (self._channel, theirs):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, CHANNEL_BYTES)
        self._to_read = select.poll()
        self._to_read.register(self._channel, select.POLLIN)
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

    def cpu_s(self) -> float:
        """Processor time that it has used, in seconds, as the kernel counts it; else the time of day."""
        try:
            return time.clock_gettime(~self.pid << 3 | 2)  # clock_getcpuclockid(3) of Linux
        except OSError:
            return time.monotonic()

    @property
    def is_worn(self) -> bool:
        """Whether a new one should take its place."""
        return self._images >= IMAGES_EACH

    def is_ready(self) -> bool:
        """Whether it can decode by now.

        Raises:
            NotStarted: it ended instead.
        """
        if not self._ready and self._to_read.poll(0):
            self.wait_until_ready(time.monotonic() + 1)  # what it says is there
        return self._ready

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
        _wait(self._to_read, until)
        if self._channel.recv(1) != messages.READY:
            self.usable = False
            raise NotStarted(f"a process for decoding ended at its start ({self._death()})")
        self._ready = True

    def is_quiet(self) -> bool:
        """Whether it lives and has said nothing since its last answer. One that has is not to be lent again."""
        return not self._ready or not self._to_read.poll(0)

    def decode(self, body: bytes, *, may_be_large: bool, until: float) -> Decoded:
        """The image in RGB at the model's size.

        Raises:
            ImageError: it does not become pixels.
            NeedsRoom: it is a large one, and ``may_be_large`` is not set.
            TimeoutError: not done in time. The process is still busy with it, so end it.
            Died: the process ended.
            NotItsAnswer: it answered another request.
        """
        self.usable = self.has_answered = False  # until it has
        self._images += 1
        nonce = secrets.token_bytes(messages.NONCE_BYTES)
        try:
            self._send(messages.REQUEST.pack(nonce, may_be_large, len(body)), body, until)
            (echo, what, width, height, length), content = self._reply(until)
        except (ConnectionError, EOFError):
            raise self._death() from None
        if echo != nonce:
            raise NotItsAnswer
        if length != len(content):
            raise ImageCorrupt(NONSENSE)
        if what == messages.PIXELS and length == self._bytes and 0 < width * height <= self._max_pixels:
            self._may_go_on()
            return Decoded(content, (width, height))
        if what == messages.NEEDS_ROOM and not length and not may_be_large:
            self._may_go_on()
            raise NeedsRoom
        if what in messages.FAILURES and length <= messages.MESSAGE_BYTES:
            self._may_go_on()
            raise messages.FAILURES[what](printable(bytes(content).decode("utf-8", "replace")))
        raise ImageCorrupt(NONSENSE)

    def end(self) -> None:
        """Kills it and takes it off the process table. Any number of times."""
        self._child.kill()
        self._child.wait()
        self._channel.close()

    def _may_go_on(self) -> None:
        self.has_answered = True
        self.usable = self._images < IMAGES_EACH + MORE_IMAGES

    def _send(self, head: bytes, body: bytes, until: float) -> None:
        """Both with one call where there is room, so that the process is woken once."""
        try:
            sent = self._channel.sendmsg([head, body])
        except BlockingIOError:
            sent = 0
        if sent == len(head) + len(body):
            return
        rest = memoryview(head + body)[sent:]
        room = select.poll()
        room.register(self._channel, select.POLLOUT)
        while rest:
            _wait(room, until)
            rest = rest[self._channel.send(rest) :]

    def _reply(self, until: float) -> tuple[tuple[bytes, int, int, int, int], memoryview]:
        """Its numbers, and what follows them."""
        received = memoryview(bytearray(messages.REPLY.size + max(self._bytes, messages.MESSAGE_BYTES)))
        count, wanted = 0, messages.REPLY.size
        while count < wanted <= len(received):
            _wait(self._to_read, until)
            more = self._channel.recv_into(received[count:])
            if not more:
                raise EOFError
            count += more
            if count >= messages.REPLY.size:
                wanted = messages.REPLY.size + messages.REPLY.unpack_from(received)[-1]
        return messages.REPLY.unpack_from(received), received[messages.REPLY.size : count]

    def _death(self) -> Died:
        try:
            return Died(self._child.wait(ENDS_WITHIN_S))
        except subprocess.TimeoutExpired:  # it closed the socket and lives on
            self._child.kill()
            return Died(self._child.wait())


def _wait(channel: select.poll, until: float) -> None:
    """Until it can be read from, or written to, or has ended."""
    left = until - time.monotonic()
    if left <= 0 or not channel.poll(math.ceil(1000 * left)):
        raise TimeoutError
