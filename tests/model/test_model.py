"""Model files of every form, loaded and asked; and what is said of those that do not fit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from consumer.errors import ModelError, ModelFailed
from consumer.model import Batcher, Model, ModelConfig, load_model
from consumer.model.choosing import load_reference
from consumer.model.heads import Heads
from consumer.settings import Settings
from tests.model.conftest import CONFIG, Images


def settings(path: Path, backend: str = "tensorflow", **more: Any) -> Settings:
    return Settings(model_path=path, model_backend=backend, **more)  # type: ignore[arg-type] # whatever the test says


def matrix(answers: list[Any], task: str, labels: Sequence[str]) -> Any:
    return np.array([[answer[task][label] for label in labels] for answer in answers])


def test_answers_are_keras_own_with_labels_in_the_configurations_order(
    directory: Path, tiny: Any, images: Images
) -> None:
    answers = load_model(settings(directory, model_precision="float32")).predict(images)
    sleeves, prints = (head.numpy() for head in tiny(images.astype(np.float32)))
    assert [[(task, *of) for task, of in answer.items()] for answer in answers] == [
        [("sleeves", "long", "short"), ("print", "a", "b", "c")]
    ] * len(images)
    assert matrix(answers, "sleeves", ["long", "short"]) == pytest.approx(sleeves, abs=1e-5)
    assert matrix(answers, "print", "abc") == pytest.approx(prints, abs=1e-5)
    assert {type(value) for answer in answers for of in answer.values() for value in of.values()} == {float}


def test_each_image_of_a_batch_is_answered_as_it_is_alone(directory: Path, images: Images) -> None:
    model = load_model(settings(directory, model_precision="float32"))
    together = model.predict(images)
    alone = [model.predict(images[n : n + 1])[0] for n in range(len(images))]
    assert matrix(together, "print", "abc") == pytest.approx(matrix(alone, "print", "abc"), abs=1e-5)


def test_once_warm_no_batch_size_traces_the_graph_again(directory: Path, images: Images) -> None:
    config = ModelConfig.read(directory)
    backend = load_reference(config)
    model = Model(config, backend, 12)
    traced = backend.traced
    for size in range(1, 14):
        assert len(model.predict(images[:size])) == size
    assert backend.traced == traced


def test_openvino_agrees_and_says_who_it_is(directory: Path, tiny: Any, images: Images) -> None:
    model = load_model(settings(directory, "openvino", model_precision="float32", batch_max_size=2))
    assert (model.info.backend, model.info.precision) == ("openvino", "float32")
    expected = tiny(images.astype(np.float32))[1].numpy()
    assert matrix(model.predict(images), "print", "abc") == pytest.approx(expected, abs=1e-3)


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
def test_a_configuration_that_does_not_fit_the_heads_is_told(directory: Path, old: str, new: str, told: str) -> None:
    folder = directory
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
    [("auto", "int8", "needs an int8 copy"), ("tensorflow", "int8", "set MODEL_BACKEND to openvino")],
)
def test_a_precision_that_cannot_be_had_is_told(directory: Path, backend: str, precision: str, told: str) -> None:
    with pytest.raises(ModelError, match=told):
        load_model(settings(directory, backend, model_precision=precision))


class Sick:
    """A backend that knows no answer for a black image."""

    name, precision, lanes = "sick", "float32", 2

    def __call__(self, images: Images) -> Heads:
        head = np.full((len(images), 2), 0.5, np.float32)
        head[images.max(axis=(1, 2, 3)) == 0] = np.nan
        return [head]


def test_a_probability_that_is_no_number_is_no_answer_and_spoils_no_other(images: Images) -> None:
    model = Model(ModelConfig("sick", "1", Path("model.keras"), (24, 32), {"sleeves": ("long", "short")}), Sick(), 4)
    with pytest.raises(ValueError, match="a probability of task sleeves is not finite"):
        model.predict(np.zeros((1, 32, 24, 3), np.uint8))
    batcher = Batcher(model.predict, max_size=4, max_wait_s=0.0)
    pictures = [images[0], np.zeros_like(images[0]), images[1], images[2]]
    futures = [batcher.submit(one) for one in pictures]
    batcher.close()
    assert [type(future.exception()) for future in futures] == [type(None), ModelFailed, type(None), type(None)]
    assert futures[3].result() == {"sleeves": {"long": 0.5, "short": 0.5}}
