"""What runs inside a decoder's process: ``python -m consumer.decoding.worker FD WIDTH HEIGHT MAX_PIXELS``.

It has no secret: its environment is empty but for what Python needs, and no descriptor of the service is
open in it. Before it sees an image it drops every right that decoding has no use for, see `confinement`. It
ends when the service does, since the socket between them then does.
"""

from __future__ import annotations

import signal
import socket
import sys
from io import BufferedReader
from typing import Any

from PIL import AvifImagePlugin, Image

from consumer.decoding import confinement, limits, messages
from consumer.errors import ImageError, ImageTooLarge
from consumer.imaging import decode, kind_of

REQUEST_BYTES = 2**17
"""Read at a time: more than an image of the usual size."""

_FAILURE_NUMBERS = {kind: number for number, kind in messages.FAILURES.items()}


class _NeedsRoom(Exception):
    """A large image, and this is not the moment for one."""


class Worker:
    """Answers one request after the other.

    Args:
        size: width and height of the model's input.
        max_pixels: largest image that is decoded.
    """

    def __init__(self, size: tuple[int, int], max_pixels: int) -> None:
        self._size = size
        self._max_pixels = max_pixels
        self._memory = limits.Memory()

    def serve(self, channel: socket.socket) -> None:
        """Until the service closes its end."""
        with BufferedReader(channel.makefile("rb", 0), REQUEST_BYTES) as requests:
            channel.sendall(messages.READY)
            while (request := _read(requests)) is not None:
                nonce, body, may_be_large = request
                head, content = self._answer(body, may_be_large)
                del request, body  # an idle process holds no image
                _send(channel, messages.REPLY.pack(nonce, *head, len(content)), content)

    def _answer(self, body: bytes, may_be_large: bool) -> tuple[tuple[int, int, int], bytes | memoryview]:
        """A reply's first numbers, and what follows it."""

        def admit(kind: str, full_pixels: int, decoded_pixels: int) -> None:
            needed = limits.needed_bytes(kind, full_pixels, decoded_pixels)
            if needed > limits.LARGE_BYTES and not may_be_large:
                raise _NeedsRoom
            self._memory.allow(max(needed, limits.LARGE_BYTES))
            limits.allow_cpu(full_pixels, len(body))

        try:
            limits.begin_cpu()
            # WebP's decoder reserves its canvases, untouched, before it is asked how large they are.
            self._memory.begin(len(body), limits.BYTES_PER_PIXEL * self._max_pixels)
            image = decode(body, kind_of(body), size=self._size, max_pixels=self._max_pixels, admit=admit)
        except _NeedsRoom:
            return (messages.NEEDS_ROOM, 0, 0), b""
        except MemoryError:
            return _failure(ImageTooLarge("decoding the image takes more memory than its size explains"))
        except ImageError as error:
            return _failure(error)
        finally:
            self._memory.end()
            limits.end_cpu()
        return (messages.PIXELS, *image.shape), image.pixels


def _failure(error: ImageError) -> tuple[tuple[int, int, int], bytes]:
    return (_FAILURE_NUMBERS[type(error)], 0, 0), str(error).encode()[: messages.MESSAGE_BYTES]


def _send(channel: socket.socket, head: bytes, content: bytes | memoryview) -> None:
    """With one call, so that the service is woken once."""
    sent = channel.sendmsg([head, content])
    if sent < len(head) + len(content):
        channel.sendall(memoryview(head + bytes(content))[sent:])


def _read(requests: BufferedReader[Any]) -> tuple[bytes, bytes, bool] | None:
    head = requests.read(messages.REQUEST.size)
    if len(head) < messages.REQUEST.size:
        return None
    nonce, may_be_large, length = messages.REQUEST.unpack(head)
    body = requests.read(length)
    return (nonce, body, may_be_large) if len(body) == length else None


def main() -> None:
    """Serves until the service goes away."""
    descriptor, width, height, max_pixels = map(int, sys.argv[1:])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the service says when it ends
    signal.signal(signal.SIGPROF, signal.SIG_DFL)  # ends the process, whatever the service's own does
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGPROF})
    limits.once()
    Image.preinit()  # imports what Pillow would import with the first image, when no file can be opened any more
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # the processes are what runs at once
    with socket.socket(fileno=descriptor) as channel:
        try:
            worker = Worker((width, height), max_pixels)
            confinement.confine()
            worker.serve(channel)
        except ConnectionError:  # it went away while it was being answered
            return


if __name__ == "__main__":
    main()
