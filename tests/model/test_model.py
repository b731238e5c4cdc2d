"""Model files of every form, loaded and asked; and what is said of those that do not fit."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from consumer.errors import ModelError
from consumer.model import load_model
from consumer.settings import Settings
from tests.model.conftest import CONFIG, Images


def settings(path: Path, backend: str = "tensorflow", **more: Any) -> Settings:
    return Settings(model_path=path, model_backend=backend, **more)  # type: ignore[arg-type]


def matrix(answers: list[Any], task: str, labels: str) -> Any:
    return np.array([[answer[task][label] for label in labels] for answer in answers])


@pytest.mark.parametrize("name", ["model.keras", "model.h5", "saved"])
def test_every_form_of_file_answers_as_keras_itself(
    name: str, directory: Callable[[str], Path], tiny: Any, images: Images
) -> None:
    model = load_model(settings(directory(name)))
    answers = model.predict(images)
    expected = [head.numpy() for head in tiny(images.astype(np.float32))]
    assert [list(answer) for answer in answers] == [["sleeves", "print"]] * 13
    assert matrix(answers, "print", "abc") == pytest.approx(expected[1], abs=1e-5)
    assert [max(a["sleeves"], key=a["sleeves"].__getitem__) for a in answers] == [
        ("long", "short")[i] for i in expected[0].argmax(1)
    ]


def test_each_image_of_a_batch_is_answered_as_it_is_alone(directory: Callable[[str], Path], images: Images) -> None:
    model = load_model(settings(directory("model.keras")))
    together = model.predict(images)
    alone = [model.predict(images[n : n + 1])[0] for n in range(len(images))]
    assert matrix(together, "print", "abc") == pytest.approx(matrix(alone, "print", "abc"), abs=1e-5)


def test_once_warm_no_batch_size_traces_the_graph_again(directory: Callable[[str], Path], images: Images) -> None:
    model = load_model(settings(directory("model.keras"), batch_max_size=12))
    backend: Any = model._backend
    traced = backend.traced
    for size in range(1, 14):
        assert len(model.predict(images[:size])) == size
    assert backend.traced == traced


def test_openvino_agrees_and_says_who_it_is(directory: Callable[[str], Path], tiny: Any, images: Images) -> None:
    model = load_model(settings(directory("model.keras"), "openvino", model_precision="float32", batch_max_size=2))
    assert (model.info.backend, model.info.precision) == ("openvino", "float32")
    expected = tiny(images.astype(np.float32))[1].numpy()
    assert matrix(model.predict(images), "print", "abc") == pytest.approx(expected, abs=1e-3)


def test_an_h5_of_keras_2_with_tensorflow_op_layers_loads_through_tf_keras(tmp_path: Path, images: Images) -> None:
    old = write_keras2(tmp_path)
    model = load_model(settings(tmp_path))
    expected = old(images.astype(np.float32))[1].numpy()
    assert matrix(model.predict(images), "print", "abc") == pytest.approx(expected, abs=1e-5)


def test_without_tf_keras_such_a_file_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_keras2(tmp_path)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ModelError, match=r"pip install 'image-consumer\[keras2\]'"):
        load_model(settings(tmp_path))


def write_keras2(folder: Path) -> Any:
    """A model as the old project wrote it: arithmetic on Keras tensors makes TensorFlow op layers."""
    import tf_keras
    from tf_keras import layers

    images = tf_keras.Input((32, 24, 3))
    values = layers.Flatten()(layers.Conv2D(2, 5, strides=3)(images / 127.5 - 1.0))
    heads = [layers.Dense(n, activation="softmax")(values) for n in (2, 3)]
    model = tf_keras.Model(images, heads)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the form is old: that is the point
        model.save(folder / "model.h5")
    (folder / "config.yml").write_text(CONFIG.format(path="./model.h5"))
    return model


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (
            "[a, b, c]",
            "[a, b]",
            "the head of task print gives 3 values an image, but model.target_encoder lists 2 labels",
        ),
        ("    print: [a, b, c]\n", "", "has 2 outputs, but model.target_encoder names 1 tasks"),
        ("[24, 32]", "[32, 24]", "takes images of shape (32, 24, 3)"),
    ],
)
def test_a_configuration_that_does_not_fit_the_heads_is_told(
    directory: Callable[[str], Path], old: str, new: str, told: str
) -> None:
    folder = directory("model.keras")
    config = folder / "config.yml"
    assert old in config.read_text()
    config.write_text(config.read_text().replace(old, new))
    with pytest.raises(ModelError) as raised:
        load_model(settings(folder))
    assert told in str(raised.value)


def test_a_head_without_softmax_is_told(tmp_path: Path) -> None:
    import keras
    from keras import layers

    images = keras.Input((32, 24, 3))
    values = layers.GlobalAveragePooling2D()(images)
    model = keras.Model(images, [layers.Dense(2, activation="softmax")(values), layers.Dense(3)(values)])
    model.export(tmp_path / "saved", verbose=False)
    (tmp_path / "config.yml").write_text(CONFIG.format(path="./saved"))
    with pytest.raises(ModelError, match=r"the head of task print gives no probabilities.*softmax"):
        load_model(settings(tmp_path))


@pytest.mark.parametrize("name", ["model.keras", "model.h5", "model.onnx"])
def test_a_file_that_is_no_model_is_told_in_one_line(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"this is no model")
    (tmp_path / "config.yml").write_text(CONFIG.format(path=f"./{name}"))
    with pytest.raises(ModelError) as raised:
        load_model(settings(tmp_path))
    assert name in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("backend", "precision", "told"),
    [("auto", "int8", "int8 needs a quantised copy"), ("tensorflow", "bfloat16", "set MODEL_BACKEND to openvino")],
)
def test_a_precision_that_cannot_be_had_is_told(
    directory: Callable[[str], Path], backend: str, precision: str, told: str
) -> None:
    with pytest.raises(ModelError, match=told):
        load_model(settings(directory("model.keras"), backend, model_precision=precision))
