"""TensorFlow as a backend: one graph for each of a few fixed batch shapes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from consumer.model.loading import Graph
from consumer.model.quiet import import_tensorflow
from consumer.model.threads import usable_cores

Pixels = NDArray[np.uint8]
Heads = list[NDArray[np.float32]]


def set_threads() -> None:
    """Gives TensorFlow the cores that the process really has; a no-op once its runtime has started."""
    tf = import_tensorflow()
    try:
        tf.config.threading.set_intra_op_parallelism_threads(usable_cores())
        tf.config.threading.set_inter_op_parallelism_threads(1)  # the graph is a chain: nothing runs beside it
    except RuntimeError:  # its runtime has started, with the threads that it has
        return


class TensorFlowBackend:
    """Runs the graph in float32: the reference that every other backend is held against."""

    name = "tensorflow"
    precision = "float32"

    def __init__(self, graph: Graph, input_size: tuple[int, int]) -> None:
        tf = import_tensorflow()
        width, height = input_size
        self.traced = 0

        def call(images: Any) -> Sequence[Any]:
            self.traced += 1  # runs while tracing only
            return [tf.cast(head, tf.float32) for head in graph(tf.cast(images, tf.float32))]

        self._function = tf.function(call, autograph=False)
        self._shape = (height, width, 3)
        self._tf = tf
        self._graphs: dict[int | None, Any] = {}

    def concrete(self, size: int | None) -> Any:
        """The graph for one batch size, null for any, traced when first asked for."""
        if size not in self._graphs:
            spec = self._tf.TensorSpec((size, *self._shape), self._tf.uint8)
            self._graphs[size] = self._function.get_concrete_function(spec)
        return self._graphs[size]

    def __call__(self, images: Pixels) -> Heads:
        """Images (n, height, width, 3) → one array (n, labels) per task; each new n traces once."""
        return [head.numpy() for head in self.concrete(len(images))(self._tf.constant(images))]
