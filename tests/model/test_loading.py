"""Model files of every form become one graph, whose heads are Keras' own, in the order of the tasks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from consumer.errors import ModelError
from consumer.model import ModelConfig
from consumer.model.loading import load_graph
from consumer.model.quiet import import_tensorflow
from tests.model.conftest import CONFIG, Images, Written, heads


def loaded(directory: Path, images: Images) -> list[Any]:
    return [head.numpy() for head in load_graph(ModelConfig.read(directory))(images)]


def answers(model: Any, images: Images) -> list[Any]:
    found = model(images.astype(np.float32), training=False)
    found = [found["sleeves"], found["print"]] if isinstance(found, dict) else found
    return [head.numpy() for head in found]


def same(one: list[Any], other: list[Any]) -> bool:
    return all(np.allclose(a, b, atol=1e-5) for a, b in zip(one, other, strict=True))


def export(model: Any) -> Callable[[Path], Any]:
    return lambda path: model.export(path, verbose=False)


def plain_saved_model(model: Any) -> Callable[[Path], Any]:
    return lambda path: import_tensorflow().saved_model.save(model, str(path))


@pytest.mark.parametrize("name", ["model.keras", "model.h5", "model.hdf5"])
def test_a_file_of_keras_3_answers_as_keras_does(name: str, written: Written, tiny: Any, images: Images) -> None:
    assert same(loaded(written(name, tiny.save), images), answers(tiny, images))


@pytest.mark.parametrize("save", [export, plain_saved_model])
def test_a_saved_model_answers_as_keras_does(save: Any, written: Written, tiny: Any, images: Images) -> None:
    assert same(loaded(written("saved", save(tiny)), images), answers(tiny, images))


@pytest.mark.parametrize("form", ["model.keras", "saved"])
def test_outputs_in_a_mapping_are_found_by_name(form: str, written: Written, keras: Any, images: Images) -> None:
    inputs = keras.Input((32, 24, 3))
    sleeves, prints = heads(keras.layers, keras.layers.GlobalAveragePooling2D()(inputs), ("x", "y"))
    model = keras.Model(inputs, {"print": prints, "sleeves": sleeves})
    directory = written(form, model.save if form == "model.keras" else export(model))
    assert same(loaded(directory, images), answers(model, images))


def test_a_model_of_one_task_may_give_its_tensor_bare(tmp_path: Path, written: Written, images: Images) -> None:
    tf = import_tensorflow()
    module = tf.Module()
    module.serve = tf.function(
        lambda pictures: tf.stack([brightness := tf.reduce_mean(pictures, (1, 2, 3)), 1 - brightness], 1),
        input_signature=[tf.TensorSpec((None, None, None, 3), tf.float32)],
    )
    written("saved", lambda path: tf.saved_model.save(module, str(path), signatures=module.serve))
    (tmp_path / "config.yml").write_text(CONFIG.format(path="./saved").replace("    print: [a, b, c]\n", ""))
    (head,) = loaded(tmp_path, images)
    assert np.allclose(head[:, 0], images.mean((1, 2, 3)), atol=1e-2)


@pytest.mark.parametrize("name", ["model.h5", "model.keras", "saved"])
def test_what_keras_2_wrote_answers_as_keras_2_does(name: str, written: Written, keras2: Any, images: Images) -> None:
    assert same(loaded(written(name, keras2.save), images), answers(keras2, images))


def test_an_input_of_integers_is_given_integers(written: Written, keras: Any, images: Images) -> None:
    inputs = keras.Input((32, 24, 3), dtype="uint8")
    values = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 255)(inputs))
    model = keras.Model(inputs, heads(keras.layers, values))
    expected = [head.numpy() for head in model(images, training=False)]
    assert same(loaded(written("model.keras", model.save), images), expected)


def refused(directory: Path) -> str:
    """What is said of a directory whose model cannot be loaded; one line that names the file."""
    with pytest.raises(ModelError) as raised:
        load_graph(ModelConfig.read(directory))
    assert "\n" not in str(raised.value)
    assert str(directory) in str(raised.value)
    return str(raised.value)


@pytest.mark.parametrize("form", ["model.keras", "saved"])
@pytest.mark.parametrize("size", ["[32, 24]", "[24, 33]"])
def test_another_input_size_than_the_configurations_is_told(form: str, size: str, written: Written, tiny: Any) -> None:
    directory = written(form, tiny.save if form == "model.keras" else export(tiny))
    file = directory / "config.yml"
    file.write_text(file.read_text().replace("[24, 32]", size))
    assert "takes images of shape (32, 24, 3) (height, width, channels), but model.input_shape" in refused(directory)


def test_a_model_of_grey_images_is_told(written: Written, keras: Any) -> None:
    inputs = keras.Input((32, 24, 1))
    model = keras.Model(inputs, heads(keras.layers, keras.layers.GlobalAveragePooling2D()(inputs)))
    assert "takes images of shape (32, 24, 1)" in refused(written("model.keras", model.save))


@pytest.mark.parametrize("form", ["model.keras", "saved"])
def test_a_model_of_two_inputs_is_told(form: str, written: Written, keras: Any) -> None:
    inputs = [keras.Input((32, 24, 3)), keras.Input((32, 24, 3))]
    values = keras.layers.GlobalAveragePooling2D()(keras.layers.add(inputs))
    model = keras.Model(inputs, heads(keras.layers, values))
    directory = written(form, model.save if form == "model.keras" else export(model))
    assert "takes 2 inputs, but it is given one" in refused(directory)


def test_a_saved_model_without_the_usual_signature_is_told(written: Written) -> None:
    tf = import_tensorflow()
    directory = written("saved", lambda path: tf.saved_model.save(tf.Module(), str(path)))
    assert "has no signature serving_default: write it with model.export" in refused(directory)


def test_a_directory_that_is_no_saved_model_is_told(written: Written) -> None:
    assert "without saved_model.pb" in refused(written("saved", lambda path: path.mkdir()))


def test_a_damaged_saved_model_is_told(written: Written, tiny: Any) -> None:
    directory = written("saved", export(tiny))
    (directory / "saved" / "saved_model.pb").write_bytes(b"no graph")
    assert "cannot be loaded as a SavedModel" in refused(directory)


def test_a_file_of_another_kind_is_told(written: Written) -> None:
    directory = written("model.onnx", lambda path: path.write_bytes(b"onnx"))
    assert "a .keras or .h5 file, or a SavedModel directory" in refused(directory)
