"""TensorFlow as a backend: one graph, traced once for every batch shape."""

from __future__ import annotations

from typing import Any

from consumer.model.heads import Heads, Pixels
from consumer.model.loading import Graph
from consumer.model.quiet import import_tensorflow
from consumer.model.threads import usable_cores


def set_threads() -> None:
    """Gives TensorFlow the cores that the process really has; a no-op once its runtime has started."""
    tf = import_tensorflow()
    try:
        tf.config.threading.set_intra_op_parallelism_threads(usable_cores())
        tf.config.threading.set_inter_op_parallelism_threads(1)  # the graph is a chain: nothing runs beside it
    except RuntimeError:  # its runtime has started, with the threads that it has
        return


class TensorFlowBackend:
    """Runs the graph in float32: the reference that every other backend is held against.

    The number of images is left open in the graph. One graph for each shape was no faster (Xception and the
    shipped model, 1 to 16 images), and neither was a frozen one, which takes 9 s more to start Xception.

    Args:
        graph: the model.
        input_size: width and height of its input, in pixels.
    """

    name = "tensorflow"
    precision = "float32"

    def __init__(self, graph: Graph, input_size: tuple[int, int]) -> None:
        tf = import_tensorflow()
        width, height = input_size
        self.traced = 0

        def call(images: Any) -> list[Any]:
            self.traced += 1  # runs while tracing only
            return [tf.cast(head, tf.float32) for head in graph(images)]

        self._model = graph  # it holds the variables: the traced graph alone lets them be deleted
        self._tensor = tf.constant
        self._graph = tf.function(call, autograph=False).get_concrete_function(
            tf.TensorSpec((None, height, width, 3), tf.uint8)
        )

    def __call__(self, images: Pixels) -> Heads:
        """Images (n, height, width, 3) → one array (n, labels) per task."""
        return [head.numpy() for head in self._graph(self._tensor(images))]

    def frozen(self) -> tuple[bytes, list[str]]:
        """The graph with its weights inside, as a serialised GraphDef, and the names of its outputs in order.

        Raises:
            ValueError: it is larger than the 2 GiB that a GraphDef can be.
        """
        from tensorflow.python.framework.convert_to_constants import (  # noqa: PLC0415 - TensorFlow is heavy
            convert_variables_to_constants_v2,
        )

        frozen = convert_variables_to_constants_v2(self._graph)
        return frozen.graph.as_graph_def().SerializeToString(), [one.name for one in frozen.outputs]
