"""The loaded model: checked, warm, and asked with fixed batch shapes."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import numpy as np

from consumer.errors import ModelError
from consumer.events import ModelInfo, Probabilities
from consumer.model.choice import Choice
from consumer.model.choosing import choose
from consumer.model.config import ModelConfig
from consumer.model.heads import Heads, Pixels
from consumer.model.int8_copy import Int8Copy
from consumer.model.probes import probe_images
from consumer.model.selection import BATCH_MAX_SIZE
from consumer.model.shapes import batch_shapes, cut
from consumer.model.trials import Abreast, Backend
from consumer.settings import Settings

log = logging.getLogger(__name__)

SHIPPED = Path(__file__).parents[1] / "shipped_model"
"""The model that comes with the package."""

BATCH_MAX_WAIT_S = 0.005
"""Unless BATCH_MAX_WAIT_MS says otherwise: less than one call of a small model takes."""


def tuned_batching(settings: Settings) -> tuple[int, float]:
    """Most images in one model call, and the longest wait for it to fill, in seconds."""
    wait_s = BATCH_MAX_WAIT_S if settings.batch_max_wait_ms is None else settings.batch_max_wait_ms / 1000
    return settings.batch_max_size or BATCH_MAX_SIZE, wait_s


class Model:
    """A model that answers.

    Args:
        config: what it is called and what its heads mean.
        backend: how it is run.
        max_batch: largest batch that is warmed up; more images at once are cut.
        choice: what the backend was chosen from.
    """

    def __init__(self, config: ModelConfig, backend: Backend, max_batch: int, choice: Choice | None = None) -> None:
        self.config = config
        self.max_batch = max_batch
        self.choice = choice
        self.info = ModelInfo(config.name, config.version, backend.name, backend.precision)
        self.lanes = backend.lanes
        self._backend = backend
        self._shapes = batch_shapes(max_batch)
        with Abreast(backend.lanes) as abreast:
            for size in self._shapes:
                abreast.ask(backend, probe_images(config.input_size, size))

    def predict(self, images: Pixels) -> list[Probabilities]:
        """Answers for a batch, in its order; any number is cut into the shapes that are warm. Thread-safe, and as many
        calls as there are ``lanes`` run side by side.

        Args:
            images: uint8 (n, height, width, 3), n from 1 up.

        Returns:
            For each image task → label → probability, labels in the configuration's order.

        Raises:
            ValueError: the model gave a probability that is no number, for at least one of the images.
        """
        parts = [self._backend(images[start : start + size]) for start, size in cut(len(images), self._shapes)]
        return [answer for heads in parts for answer in self._named(heads)]

    def _named(self, heads: Heads) -> list[Probabilities]:
        for task, head in zip(self.config.tasks, heads, strict=True):
            if not np.isfinite(head).all():
                raise ValueError(f"a probability of task {task} is not finite")
        rows = zip(*(head.tolist() for head in heads), strict=True)
        return [
            {
                task: dict(zip(labels, row, strict=True))
                for (task, labels), row in zip(self.config.tasks.items(), of, strict=True)
            }
            for of in rows
        ]


def load_model(settings: Settings) -> Model:
    """The model that the settings name, checked, with the backend chosen, and warm.

    Raises:
        ModelError: one line that says what is wrong and what to do.
    """
    began = time.monotonic()
    config = ModelConfig.read(settings.model_path or SHIPPED)
    copy = _copy(config, settings)
    choice = choose(config, settings, copy)
    model = Model(config, choice.backend, choice.max_batch, choice)
    log.info(
        "model %s %s is warm after %.1f s: %s in %s, batches of up to %d",
        *(config.name, config.version, time.monotonic() - began),
        *(choice.backend.name, choice.backend.precision, choice.max_batch),
    )
    return model


def _copy(config: ModelConfig, settings: Settings) -> Int8Copy | None:
    """The int8 copy, if there is room for it in the settings; a useless one is an error where int8 is asked for."""
    if settings.model_backend == "tensorflow" or settings.model_precision not in {"auto", "int8"}:
        return None
    try:
        copy = Int8Copy.beside(config)
    except ModelError as error:
        if settings.model_precision == "int8":
            raise
        log.warning("without int8: %s", error)
        return None
    if copy is not None and copy.agreement:
        log.info("the int8 copy when it was made: %s", copy.agreement)
    return copy
