"""What comes out of a model, held against its labels: one head per task, in order, giving probabilities."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from consumer.errors import ModelError
from consumer.model.config import ModelConfig

Pixels = NDArray[np.uint8]
"""Images: uint8 (n, height, width, 3), RGB."""
Heads = list[NDArray[np.float32]]
"""One array (n, labels) of probabilities for each task."""

MAX_SUM_ERROR = 1e-3
"""How far the probabilities of one task may be from 1 in all: ten times what bfloat16's softmax is off."""


def in_order(outputs: Any, config: ModelConfig, names: Sequence[str] = ()) -> list[Any]:
    """A model's outputs in the order of the tasks: a list is in order, a mapping is by name.

    Args:
        outputs: one tensor, a list or tuple of them, or a mapping.
        config: names the tasks.
        names: what the model itself calls its outputs, if it is known.

    Raises:
        ModelError: there is not one output for each task, or it is not clear which is which.
    """
    tasks = list(config.tasks)
    if isinstance(outputs, dict):
        outputs = [outputs[name] for name in _names_in_order(list(outputs), config)]
    elif sorted(names) == sorted(tasks) and list(names) != tasks:
        raise ModelError(
            f"{config.model_path}: its outputs are {', '.join(names)}, in this order, but model.target_encoder "
            f"lists {', '.join(tasks)}: list the tasks in the model's output order"
        )
    found = list(outputs) if isinstance(outputs, list | tuple) else [outputs]
    if len(found) != len(tasks):
        raise ModelError(
            f"{config.model_path} has {len(found)} outputs, but model.target_encoder names {len(tasks)} tasks "
            f"({', '.join(tasks)}): one softmax head is needed for each, in order"
        )
    return found


def _names_in_order(names: list[str], config: ModelConfig) -> list[str]:
    tasks = list(config.tasks)
    if sorted(names) == sorted(tasks):
        return tasks
    if len(names) == 1 or len(names) != len(tasks):
        return names  # nothing to mix up, or the caller counts them and says so
    # An export makes such names up for outputs in a list: output_0, output_1 …
    numbers = {name: int(match[1]) for name in names if (match := re.fullmatch(r"output_([0-9]{1,9})", name))}
    if len(numbers) < len(names):
        raise ModelError(
            f"{config.model_path} names its outputs {', '.join(names)}, but model.target_encoder names the tasks "
            f"{', '.join(tasks)}: name the tasks as the outputs are named"
        )
    return sorted(names, key=numbers.__getitem__)


def check_heads(config: ModelConfig, heads: Heads) -> None:
    """Every head fits its labels and gave probabilities.

    Raises:
        ModelError: names the task, what is expected and what was found.
    """
    for (task, labels), head in zip(config.tasks.items(), heads, strict=True):
        if head.ndim != 2 or head.shape[1] != len(labels):
            width = head.shape[1] if head.ndim == 2 else f"shape {head.shape[1:]}"
            raise ModelError(
                f"{config.model_path}: the head of task {task} gives {width} values an image, but "
                f"model.target_encoder lists {len(labels)} labels for it ({', '.join(labels)})"
            )
        sums = head.sum(axis=1)
        if not np.isfinite(head).all() or head.min() < 0 or np.abs(sums - 1).max() > MAX_SUM_ERROR:
            worst = sums[np.argmax(np.abs(sums - 1))]
            raise ModelError(
                f"{config.model_path}: the head of task {task} gives no probabilities (from {head.min():.3g} to "
                f"{head.max():.3g}, adding up to {worst:.3g} instead of 1): it should end in softmax"
            )
