"""Post-training quantisation with NNCF (extra ``quantize``): weights and activations in int8, no training.

The ranges of the activations are measured on pictures that went through the service's own decoding. Serving
needs none of this.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import logging
from collections.abc import Callable, Iterator
from typing import Any

from consumer.errors import ModelError
from consumer.model.heads import Pixels
from consumer.model.keras_files import in_one_line
from consumer.model.openvino import Converted, import_openvino

INSTALL = "pip install 'image-consumer[quantize]'"


def refuse_without_nncf() -> None:
    """Raises `ModelError` where the extra is not installed."""
    missing = [name for name in ("nncf", "openvino") if importlib.util.find_spec(name) is None]
    if missing:
        raise ModelError(f"quantising needs {' and '.join(missing)}: {INSTALL}")


def quantised(converted: Converted, pictures: Pixels, on_picture: Callable[[], None]) -> Converted:
    """A copy in int8.

    Args:
        converted: the model in float32; it stays as it is.
        pictures: uint8 (n, height, width, 3), what ranges are measured on.
        on_picture: is called for each of them.

    Raises:
        ModelError: NNCF cannot quantise this model.
    """
    nncf = _import_nncf()

    def one_by_one() -> Iterator[Pixels]:
        for number in range(len(pictures)):
            on_picture()
            yield pictures[number : number + 1]

    try:
        # Its own progress bars go to stdout.
        with contextlib.redirect_stdout(io.StringIO()):
            model = nncf.quantize(converted.model.clone(), nncf.Dataset(one_by_one()), subset_size=len(pictures))
    except Exception as error:  # noqa: BLE001 - NNCF and OpenVINO raise what they like for a graph they do not know
        raise ModelError(f"the model cannot be quantised ({in_one_line(error)})") from None
    return Converted(model, converted.outputs)


def _import_nncf() -> Any:
    import_openvino()  # before NNCF imports it: no reporter
    kind = logging.getLoggerClass()
    try:
        import nncf  # noqa: PLC0415 - an extra, and slow
        from nncf.common.logging.logger import disable_logging  # noqa: PLC0415 - an extra, and slow to import
    finally:
        logging.setLoggerClass(kind)  # NNCF makes its own the class of every logger from then on
    disable_logging()
    return nncf
