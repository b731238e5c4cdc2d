"""TensorFlow as a backend: the reference, and frozen copies of its graph in float32 and bfloat16."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from consumer.machine import usable_cores
from consumer.model.heads import Heads, Pixels
from consumer.model.lanes import lanes
from consumer.model.loading import Graph
from consumer.model.quiet import import_tensorflow

INPUT = "images"
"""What the reference's graph calls its input."""


def lanes_here() -> int:
    """As `lanes`; one where a GPU answers, since calls take turns there."""
    return 1 if import_tensorflow().config.list_physical_devices("GPU") else lanes()


def set_threads() -> None:
    """Gives TensorFlow the cores that the process really has; a no-op once its runtime has started.

    Calls side by side share one pool, with as many threads as cores: so one that is alone has all of them (Xception in
    float32 on two cores: 37 images/s singly, and 48 in two lanes of batches of 4; with a thread for each 24 and 48).
    """
    tf = import_tensorflow()
    try:
        tf.config.threading.set_intra_op_parallelism_threads(usable_cores())
        tf.config.threading.set_inter_op_parallelism_threads(lanes_here())
    except RuntimeError:  # its runtime has started, with the threads that it has
        return


class TensorFlowBackend:
    """Runs the model's own graph in float32: the reference that every other backend is held against.

    The number of images is left open in the graph. One graph for each shape was no faster (Xception and the
    shipped model, 1 to 16 images).

    Args:
        graph: the model.
        input_size: width and height of its input, in pixels.
    """

    name = "tensorflow"
    precision = "float32"

    def __init__(self, graph: Graph, input_size: tuple[int, int]) -> None:
        tf = import_tensorflow()
        width, height = input_size
        self.lanes = lanes_here()
        self.traced = 0

        def call(images: Any) -> list[Any]:
            self.traced += 1  # runs while tracing only
            return [tf.cast(head, tf.float32) for head in graph(images)]

        self._model = graph  # it holds the variables: the traced graph alone lets them be deleted
        self._tensor = tf.constant
        self._graph = tf.function(call, autograph=False).get_concrete_function(
            tf.TensorSpec((None, height, width, 3), tf.uint8, name=INPUT)
        )

    def __call__(self, images: Pixels) -> Heads:
        """Images (n, height, width, 3) → one array (n, labels) per task."""
        return [head.numpy() for head in self._graph(self._tensor(images))]

    def frozen(self) -> Frozen:
        """The graph with its weights inside.

        Raises:
            ValueError: it is larger than the 2 GiB that a GraphDef can be.
        """
        from tensorflow.python.framework.convert_to_constants import (  # noqa: PLC0415 - TensorFlow is heavy
            convert_variables_to_constants_v2,
        )

        frozen = convert_variables_to_constants_v2(self._graph)
        (taken,) = frozen.inputs
        return Frozen(frozen.graph.as_graph_def(), taken.name, [one.name for one in frozen.outputs])


class Frozen:
    """A graph that needs no variables: a GraphDef, and the names of its input and of its outputs in order."""

    def __init__(self, graph: Any, taken: str, outputs: list[str]) -> None:
        self._graph = graph
        self._taken = taken
        self.outputs = outputs

    def serialized(self) -> bytes:
        """The GraphDef as a file holds it.

        Raises:
            ValueError: it is larger than the 2 GiB that a GraphDef can be.
        """
        return bytes(self._graph.SerializeToString())

    def backend(self, precision: str) -> FrozenBackend:
        """Compiles it for ``float32`` or ``bfloat16``."""
        return FrozenBackend(precision, self._call(precision))

    def _call(self, precision: str) -> Callable[[Pixels], Heads]:
        """A session of its own, since the rewrite for bfloat16 is an option of sessions, or of the whole process.

        Batch norms are folded by the optimiser in both. It also spares the way through eager tensors: a frozen
        session takes 0.9 of the time of the reference's function in float32 (Xception at 224 × 224, 8 images).
        """
        tf = import_tensorflow()
        graph = tf.Graph()
        with graph.as_default():
            tf.import_graph_def(self._graph, name="")
        options = tf.compat.v1.ConfigProto(
            intra_op_parallelism_threads=usable_cores(),
            inter_op_parallelism_threads=lanes_here(),  # the graph is a chain: nothing of one call runs side by side
            allow_soft_placement=True,
        )
        options.gpu_options.allow_growth = True  # the reference has its share of a GPU's memory too
        if precision == "bfloat16":
            # oneDNN's: convolutions and products in bfloat16, softmax and what else is delicate in float32.
            options.graph_options.rewrite_options.auto_mixed_precision_onednn_bfloat16 = type(
                options.graph_options.rewrite_options
            ).ON
        session = tf.compat.v1.Session(graph=graph, config=options)
        call: Callable[[Pixels], Heads] = session.make_callable(self.outputs, feed_list=[self._taken])
        return call


class FrozenBackend:
    """Runs a frozen graph.

    Args:
        precision: ``float32`` or ``bfloat16``.
        call: images → heads.
    """

    name = "tensorflow"

    def __init__(self, precision: str, call: Callable[[Pixels], Heads]) -> None:
        self.precision = precision
        self.lanes = lanes_here()
        self._call = call

    def __call__(self, images: Pixels) -> Heads:
        """As `TensorFlowBackend.__call__`."""
        return list(self._call(images))
