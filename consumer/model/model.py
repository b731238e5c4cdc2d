"""The loaded model: checked, warm, and asked with fixed batch shapes."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import numpy as np

from consumer.errors import ModelError
from consumer.events import ModelInfo, Probabilities
from consumer.model.config import ModelConfig
from consumer.model.heads import Heads, Pixels, check_heads
from consumer.model.keras_files import in_one_line
from consumer.model.loading import load_graph
from consumer.model.selection import Backend, probe_images, select
from consumer.model.shapes import batch_shapes, cut
from consumer.model.tensorflow import TensorFlowBackend, set_threads
from consumer.settings import Settings

log = logging.getLogger(__name__)

SHIPPED = Path(__file__).parents[1] / "shipped_model"
"""The model that comes with the package."""

BATCH_MAX_SIZE = 16
"""Unless BATCH_MAX_SIZE says otherwise. Past 16 a CPU gains nothing more from a larger batch, and each
image in it waits longer."""
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
    """

    def __init__(self, config: ModelConfig, backend: Backend, max_batch: int) -> None:
        self.config = config
        self.info = ModelInfo(config.name, config.version, backend.name, backend.precision)
        self._backend = backend
        self._shapes = batch_shapes(max_batch)
        for size in self._shapes:
            backend(probe_images(config.input_size, size))

    def predict(self, images: Pixels) -> list[Probabilities]:
        """Answers for a batch, in its order; any number is cut into the shapes that are warm.

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
    set_threads()
    reference = _reference(config)
    model = Model(config, select(reference, settings, config.input_size), tuned_batching(settings)[0])
    log.info("the model is warm after %.1f s", time.monotonic() - began)
    return model


def _reference(config: ModelConfig) -> TensorFlowBackend:
    """The model in TensorFlow, its heads checked on probe images."""
    graph = load_graph(config)
    try:
        reference = TensorFlowBackend(graph, config.input_size)
        heads = reference(probe_images(config.input_size))
    except ModelError:
        raise
    except Exception as error:  # noqa: BLE001 - TensorFlow raises what it likes for a graph that does not fit
        width, height = config.input_size
        raise ModelError(
            f"{config.model_path} cannot be run on images of width {width} and height {height} ({in_one_line(error)})"
        ) from None
    check_heads(config, heads)
    return reference
