"""The real worker around decoders that misbehave: a PNG's width says how (``python -m tests.decoding.sabotage …``)."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable
from io import BufferedReader, BytesIO
from typing import Any

from PIL import Image, PngImagePlugin

from consumer.decoding import limits, messages, worker

COMMAND = (sys.executable, "-m", "tests.decoding.sabotage")


def _segfault() -> None:
    ctypes.string_at(0)


def _eat() -> None:
    limits.end_cpu()  # 250 MB take 0.1 s, and on a machine that stands still a second
    eaten = []
    while True:
        eaten.append(bytearray(10**7))


def _spin() -> None:
    while True:
        pass


def _nonsense() -> None:
    os.write(int(sys.argv[1]), b"\xff" * 1000)


def _answer(width: int, height: int, content: bytes = b"", *, nonce: bytes | None = None) -> None:
    """What a process says that does not keep to the code: pixels of an image of this size."""
    head = messages.REPLY.pack(nonce or _asked.nonce, messages.PIXELS, width, height, len(content))
    os.write(int(sys.argv[1]), head + content)


class _Asked:
    """What a process that was taken over knows: the request in hand, and that of the image before."""

    nonce = bytes(messages.NONCE_BYTES)
    forges = False


_asked = _Asked()


def _forge_the_next() -> None:
    """This image comes to what it is; then it answers for the next one, before that is there: all black."""
    _asked.forges = True


MISDEEDS: dict[str, Callable[[], object]] = {
    "aborts": os.abort,
    "segfaults": _segfault,
    "exits": lambda: os._exit(0),
    "eats memory": _eat,
    "loops for ever": _spin,
    "sleeps for ever": lambda: time.sleep(1000),
    "is killed by the system": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "answers nonsense": _nonsense,
    "answers too many pixels": lambda: _answer(2**32 - 1, 2**32 - 1),
    "answers no pixels of a great width": lambda: _answer(2**32 - 1, 0, bytes(24 * 16 * 3)),
    "answers for another image": lambda: _answer(9, 9, bytes(24 * 16 * 3), nonce=b"guess" * 3 + b"!"),
    "answers for the next image": _forge_the_next,
}

FIRST_WIDTH = 101
"""Of a PNG that stands for the first misdeed; those of other widths are decent."""


def width_of(misdeed: str) -> int:
    return FIRST_WIDTH + list(MISDEEDS).index(misdeed) if misdeed in MISDEEDS else FIRST_WIDTH - 1


def picture_that(misdeed: str) -> bytes:
    """A PNG whose decoder does it, or one that is decent where there is no such misdeed."""
    file = BytesIO()
    Image.new("L", (width_of(misdeed), 2)).save(file, "PNG")
    return file.getvalue()


def _sabotage() -> None:
    load = PngImagePlugin.PngImageFile.load

    def misbehave(image: Any) -> Any:
        names = {width_of(misdeed): misdeed for misdeed in MISDEEDS}
        if image.width in names:
            MISDEEDS[names[image.width]]()
        return load(image)

    def read_and_forge(requests: BufferedReader) -> tuple[bytes, bytes, bool] | None:
        if _asked.forges:
            _answer(9, 9, bytes(24 * 16 * 3))
        found = read(requests)
        _asked.nonce = found[0] if found else b""
        return found

    read = worker._read
    worker._read = read_and_forge
    PngImagePlugin.PngImageFile.load = misbehave  # type: ignore[method-assign,assignment] # that is the sabotage


if __name__ == "__main__":
    _sabotage()
    limits.CPU_S = 0.5  # a loop's test need not take longer
    worker.main()
