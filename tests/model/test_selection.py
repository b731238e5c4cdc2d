"""The fastest backend answers, and only if it agrees with TensorFlow in float32."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from consumer.errors import ModelError
from consumer.model import ModelConfig, openvino, selection
from consumer.model.heads import Heads, Pixels
from consumer.model.loading import load_graph
from consumer.model.selection import Backend, probe_images, select
from consumer.model.tensorflow import TensorFlowBackend
from consumer.settings import Settings

SIZE = (24, 32)

Choose = Callable[..., Backend]


@dataclass
class Fake:
    """A backend of one task that is sure of its first label, and takes a time of its own on a clock of numbers."""

    name: str
    precision: str
    takes: float
    sure: float = 0.8
    clock: list[float] = field(default_factory=lambda: [0.0])

    def __call__(self, images: Pixels) -> Heads:
        self.clock[0] += self.takes
        return [np.tile(np.array([[self.sure, 1 - self.sure]], np.float32), (len(images), 1))]


@pytest.fixture
def choose(monkeypatch: pytest.MonkeyPatch) -> Choose:
    """Chooses between a reference that takes 0.1 s and the backends that are given as OpenVINO's."""
    clock = [0.0]

    def choose(*others: Fake, **wanted: str) -> Backend:
        for one in others:
            one.clock = clock
        kept = lambda _, precision: [one for one in others if precision in {"auto", one.precision}]  # noqa: E731
        monkeypatch.setattr(selection, "_from_openvino", kept)
        reference: Any = Fake("tensorflow", "float32", 0.1, clock=clock)
        return select(reference, Settings(**wanted), SIZE, lambda: clock[0])  # type: ignore[arg-type]

    return choose


def named(backend: Backend) -> tuple[str, str]:
    return backend.name, backend.precision


def test_the_fastest_that_agrees_is_taken_and_the_log_says_why(
    choose: Choose, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    taken = choose(Fake("openvino", "float32", 0.08), Fake("openvino", "bfloat16", 0.04, sure=0.79))
    assert named(taken) == ("openvino", "bfloat16")
    (line,) = caplog.messages
    assert "tensorflow float32 12.5 ms an image, agrees (largest difference 0.0000)" in line
    assert "openvino bfloat16 5.0 ms an image, agrees (largest difference 0.0100)" in line
    assert line.endswith("openvino bfloat16 is taken")


def test_a_slower_one_is_not_taken(choose: Choose) -> None:
    assert named(choose(Fake("openvino", "float32", 0.2))) == ("tensorflow", "float32")


def test_a_faster_one_whose_probabilities_are_off_is_not_taken(
    choose: Choose, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    taken = choose(Fake("openvino", "float32", 0.08), Fake("openvino", "bfloat16", 0.016, sure=0.775))
    assert named(taken) == ("openvino", "float32")
    assert "openvino bfloat16 2.0 ms an image, disagrees (largest difference 0.0250)" in caplog.text


def test_a_faster_one_with_another_label_is_not_taken(choose: Choose, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selection, "MAX_DIFFERENCE", 1.0)
    assert named(choose(Fake("openvino", "bfloat16", 0.01, sure=0.45))) == ("tensorflow", "float32")


def test_a_faster_one_without_an_answer_is_not_taken(choose: Choose) -> None:
    assert named(choose(Fake("openvino", "bfloat16", 0.01, sure=float("nan")))) == ("tensorflow", "float32")


def test_one_that_is_asked_for_by_name_must_agree_too(choose: Choose) -> None:
    with pytest.raises(ModelError, match=r"MODEL_PRECISION=bfloat16 does not agree .* 0\.0500\)\): set both to auto"):
        choose(Fake("openvino", "bfloat16", 0.01, sure=0.75), model_precision="bfloat16")


def test_one_that_is_asked_for_by_name_may_be_slower(choose: Choose) -> None:
    slow = Fake("openvino", "float32", 0.9)
    assert choose(slow, model_backend="openvino", model_precision="float32") is slow
    assert choose(slow, model_backend="tensorflow").name == "tensorflow"


def test_probe_images_are_the_same_in_every_process_and_unlike_each_other() -> None:
    images = probe_images(SIZE)
    assert (images.shape, str(images.dtype)) == ((8, 32, 24, 3), "uint8")
    assert np.array_equal(images, probe_images(SIZE))
    assert len({one.tobytes() for one in images}) == 8


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        ({"model_precision": "int8"}, "int8 needs a quantised copy .* set it to auto, float32 or bfloat16"),
        ({"model_backend": "openvino"}, r"pip install 'image-consumer\[openvino\]'"),
        ({"model_precision": "bfloat16"}, r"pip install 'image-consumer\[openvino\]'"),
        ({"model_backend": "tensorflow", "model_precision": "bfloat16"}, "set MODEL_BACKEND to openvino or auto"),
    ],
)
def test_what_cannot_be_had_is_told_with_what_to_do(
    wanted: dict[str, str], told: str, choose: Choose, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openvino, "is_installed", lambda: False)
    with pytest.raises(ModelError, match=told):
        choose(**wanted)


def test_without_openvino_tensorflow_answers(choose: Choose, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openvino, "is_installed", lambda: False)
    assert named(choose()) == ("tensorflow", "float32")


@pytest.fixture
def reference(directory: Path) -> TensorFlowBackend:
    return TensorFlowBackend(load_graph(ModelConfig.read(directory)), SIZE)


def cannot_convert(self: TensorFlowBackend) -> Any:
    raise ValueError("a graph\nof 3 GiB")


def test_a_model_that_openvino_cannot_convert_is_answered_by_tensorflow(
    reference: TensorFlowBackend, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(TensorFlowBackend, "frozen", cannot_convert)
    assert select(reference, Settings(), SIZE) is reference
    assert caplog.messages == [
        "TensorFlow answers alone: OpenVINO cannot convert the model (ValueError: a graph of 3 GiB)"
    ]
    with pytest.raises(ModelError, match="OpenVINO cannot convert the model"):
        select(reference, Settings(model_backend="openvino"), SIZE)


def test_a_processor_without_bfloat16_is_asked_for_float32_alone(
    reference: TensorFlowBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openvino.Converted, "precisions", lambda self: ["float32"])
    assert select(reference, Settings(model_backend="openvino"), SIZE).precision == "float32"
    with pytest.raises(ModelError, match="MODEL_PRECISION=bfloat16: this processor has only float32; set it to auto"):
        select(reference, Settings(model_precision="bfloat16"), SIZE)


@pytest.mark.parametrize(("precision", "close"), [("float32", 1e-4), ("bfloat16", 0.02)])
def test_openvino_gives_what_tensorflow_gives_for_every_number_of_images(
    reference: TensorFlowBackend, precision: str, close: float
) -> None:
    converted = openvino.Converted(reference)
    if precision not in converted.precisions():
        pytest.skip("this processor has no bfloat16")
    backend = converted.backend(precision)
    assert named(backend) == ("openvino", precision)
    for count in (1, 2, 3, 8):
        images = probe_images(SIZE, count)
        kept = backend(images)
        backend(255 - images)  # an answer is the caller's own: the next call does not write over it
        for one, other in zip(kept, reference(images), strict=True):
            assert (one.shape, str(one.dtype)) == (other.shape, "float32")
            assert np.abs(one - other).max() < close
