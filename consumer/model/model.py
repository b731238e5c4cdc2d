"""The loaded model: checked, warm, and asked with fixed batch shapes."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import numpy as np

from consumer.errors import ModelError
from consumer.events import ModelInfo, Probabilities
from consumer.model.config import ModelConfig
from consumer.model.loading import load_graph
from consumer.model.selection import Backend, probe_images, select
from consumer.model.tensorflow import Heads, Pixels, TensorFlowBackend, set_threads
from consumer.settings import Settings

log = logging.getLogger(__name__)

SHIPPED = Path(__file__).parents[1] / "shipped_model"
"""The model that comes with the package."""

BATCH_MAX_SIZE = 16
"""Unless BATCH_MAX_SIZE says otherwise. Past 16 a CPU gains nothing more from a larger batch, and each
image in it waits longer."""
BATCH_MAX_WAIT_S = 0.005
"""Unless BATCH_MAX_WAIT_MS says otherwise: less than one call of a small model takes."""

MAX_SUM_ERROR = 1e-3
"""How far the probabilities of one task may be from 1 in all."""


def tuned_batching(settings: Settings) -> tuple[int, float]:
    """Most images in one model call, and the longest wait for it to fill, in seconds."""
    wait_s = BATCH_MAX_WAIT_S if settings.batch_max_wait_ms is None else settings.batch_max_wait_ms / 1000
    return settings.batch_max_size or BATCH_MAX_SIZE, wait_s


def shapes_up_to(most: int) -> list[int]:
    """The batch sizes that the model is warmed up for: powers of two, and the largest itself."""
    sizes = [1]
    while sizes[-1] * 2 <= most:
        sizes.append(sizes[-1] * 2)
    return sizes if sizes[-1] == most else [*sizes, most]


class Model:
    """A model that answers.

    Args:
        config: what it is called and what its heads mean.
        backend: how it is run.
        max_batch: largest batch that it is asked with at once.
    """

    def __init__(self, config: ModelConfig, backend: Backend, max_batch: int) -> None:
        self.config = config
        self.info = ModelInfo(config.name, config.version, backend.name, backend.precision)
        self.max_batch = max_batch
        self._backend = backend
        self._shapes = shapes_up_to(max_batch)
        for size in self._shapes:
            backend(probe_images(config.input_size, size))

    def predict(self, images: Pixels) -> list[Probabilities]:
        """Answers for a batch, in its order.

        A batch is cut into the shapes that are warm, largest first (13 → 8, 4, 1), rather than padded:
        a padded image costs as much as a real one, and a small call little more than its images.

        Args:
            images: uint8 (n, height, width, 3), n from 1 up.

        Returns:
            For each image task → label → probability, labels in the configuration's order.
        """
        heads = [self._backend(images[start : start + size]) for start, size in self._cuts(len(images))]
        return [answer for part in heads for answer in self._named(part)]

    def _cuts(self, count: int) -> list[tuple[int, int]]:
        cuts, start = [], 0
        for size in reversed(self._shapes):
            while count - start >= size:
                cuts.append((start, size))
                start += size
        return cuts

    def _named(self, heads: Heads) -> list[Probabilities]:
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
    reference = TensorFlowBackend(load_graph(config), config.input_size)
    _check_heads(config, reference)
    model = Model(config, select(reference, settings, config.input_size), tuned_batching(settings)[0])
    log.info("the model is warm after %.1f s", time.monotonic() - began)
    return model


def _check_heads(config: ModelConfig, reference: TensorFlowBackend) -> None:
    """Every head fits its labels and gives probabilities."""
    try:
        heads = reference(probe_images(config.input_size, 2))
    except ModelError:
        raise
    except Exception as error:  # noqa: BLE001 - TensorFlow raises what it likes for a graph that does not fit
        text = " ".join(str(error).split())[:300]
        raise ModelError(f"{config.model_path} cannot be run on images of {config.input_size}: {text}") from None
    for (task, labels), head in zip(config.tasks.items(), heads, strict=True):
        if head.ndim != 2 or head.shape[1] != len(labels):
            raise ModelError(
                f"{config.model_path}: the head of task {task!r} has shape {head.shape[1:]}, but "
                f"model.target_encoder lists {len(labels)} labels for it ({', '.join(labels)})"
            )
        if not np.isfinite(head).all() or np.abs(head.sum(axis=1) - 1).max() > MAX_SUM_ERROR or head.min() < 0:
            raise ModelError(
                f"{config.model_path}: the head of task {task!r} gives no probabilities (they add up to "
                f"{head[0].sum():.3g}): it should end in softmax"
            )
