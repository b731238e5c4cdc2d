"""The real worker around decoders that misbehave: a PNG's width says how (``python -m tests.decoding.sabotage …``)."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable
from io import BytesIO
from typing import Any

from PIL import Image, PngImagePlugin

from consumer.decoding import limits, worker

COMMAND = (sys.executable, "-m", "tests.decoding.sabotage")


def _segfault() -> None:
    ctypes.string_at(0)


def _eat() -> None:
    eaten = []
    while True:
        eaten.append(bytearray(10**7))


def _spin() -> None:
    while True:
        pass


def _nonsense() -> None:
    os.write(int(sys.argv[1]), b"\xff" * 1000)


def _too_wide() -> None:
    """Says that it has pixels of an image larger than any that may be decoded."""
    os.write(int(sys.argv[1]), b"\x00" + b"\xff" * 8 + b"\x00" * 4 + bytes(1000))


MISDEEDS: dict[str, Callable[[], object]] = {
    "aborts": os.abort,
    "segfaults": _segfault,
    "exits": lambda: os._exit(0),
    "eats memory": _eat,
    "loops for ever": _spin,
    "sleeps for ever": lambda: time.sleep(1000),
    "is killed by the system": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "answers nonsense": _nonsense,
    "answers too many pixels": _too_wide,
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

    PngImagePlugin.PngImageFile.load = misbehave  # type: ignore[method-assign,assignment] # that is the sabotage


if __name__ == "__main__":
    _sabotage()
    limits.CPU_S = 0.5  # a loop's test need not take longer
    worker.main()
