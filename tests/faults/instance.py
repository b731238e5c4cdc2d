"""One process of the service: `image-consumer run` as it is, with a cheap model and a fate.

    python -m tests.faults.instance [--die POINT:N] [--abort-every N] [--lose-answer-every N] [--break RULE]

What is done to it is put around its classes from here; the service itself knows nothing of it.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from consumer import cli, service
from consumer.imaging import DecodedImage, decode_image
from consumer.model import Model, ModelConfig, tuned_batching
from consumer.model.heads import Heads, Pixels
from consumer.settings import Settings
from tests.faults.breakages import RULES
from tests.faults.fate import POINTS, Fate

TASKS = {"brightness": ("dark", "middle", "light"), "colour": ("red", "green", "blue")}
SIDE = 32
"""Pixels of the model's input in each direction: decoding is most of what an event costs here."""


class CheapBackend:
    """Answers from the pixels' means, the same for the same picture in every process and any batch."""

    name = "cheap"
    precision = "float32"
    lanes = 2

    def __call__(self, images: Pixels) -> Heads:
        """Images (n, height, width, 3) → one array (n, 3) for each of `TASKS`."""
        means = images.mean(axis=(1, 2), dtype=np.float64) / 255
        levels = -np.abs(means.mean(axis=1, keepdims=True) - np.array([0.0, 0.5, 1.0]))
        return [_softmax(8 * levels), _softmax(8 * means)]


def _softmax(values: NDArray[np.float64]) -> NDArray[np.float32]:
    exponents = np.exp(values - values.max(axis=1, keepdims=True))
    return np.asarray(exponents / exponents.sum(axis=1, keepdims=True), np.float32)


class InlineDecoder:
    """Decodes where it is asked: processes for it, four to an instance, would cost more here than all the rest."""

    def __init__(self, size: tuple[int, int], max_pixels: int, processes: int) -> None:
        self._size = size
        self._max_pixels = max_pixels

    def start(self) -> None:
        """There is nothing to start."""

    def decode(self, body: bytes, timeout_s: float, machine: object = None, sha256: str | None = None) -> DecodedImage:
        """The picture, at the model's size."""
        return decode_image(body, size=self._size, max_pixels=self._max_pixels)

    def close(self) -> None:
        """There is nothing to close."""


def cheap_model(settings: Settings) -> Model:
    """What stands in for `consumer.service.load_model`: no TensorFlow, so a process is up in a second."""
    config = ModelConfig("cheap", "1", Path(__file__), (SIDE, SIDE), TASKS)
    return Model(config, CheapBackend(), tuned_batching(settings)[0])


def main(arguments: list[str] | None = None) -> int:
    """Runs the service until it is told to stop, or until its fate is fulfilled."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.instance", description=__doc__)
    parser.add_argument("--die", metavar="POINT:N", help=f"SIGKILL at the N-th passage of one of {', '.join(POINTS)}")
    parser.add_argument("--abort-every", type=int, default=0, metavar="N", help="each N-th transaction is aborted")
    parser.add_argument(
        "--lose-answer-every", type=int, default=0, metavar="N", help="each N-th commit's answer is lost"
    )
    parser.add_argument("--journal", type=Path, metavar="FILE", help="where aborted records are noted")
    parser.add_argument("--break", dest="broken", choices=sorted(RULES), help="a rule of the service that is broken")
    options = parser.parse_args(arguments)
    setattr(service, "Decoder", InlineDecoder)  # noqa: B010 - as the next one
    setattr(service, "load_model", cheap_model)  # noqa: B010 - a module's import, replaced
    Fate(options.die, options.abort_every, options.lose_answer_every, options.journal).install()
    if options.broken:
        RULES[options.broken].install()
    return cli.main(["run"])


if __name__ == "__main__":
    sys.exit(main())
