"""Files that are out of the ordinary: what loads, and what is refused because its answers could be wrong."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from consumer.errors import ModelError
from consumer.model import load_model
from consumer.model.quiet import import_tensorflow
from consumer.settings import Settings
from tests.model.conftest import CONFIG, Images

Outputs = Callable[[Any, Any], Any]


def settings(folder: Path, backend: str = "tensorflow") -> Settings:
    return Settings(model_path=folder, model_backend=backend, batch_max_size=4)  # type: ignore[arg-type]


def placed(folder: Path, name: str) -> Path:
    """Where the model goes, with its configuration beside it."""
    (folder / "config.yml").write_text(CONFIG.format(path=f"./{name}"))
    return folder / name


def built(keras: Any, *before: Any) -> Any:
    """A model of Keras 2 or 3 with these layers in front of its heads."""
    images = keras.Input((32, 24, 3))
    values = images
    for layer in before:
        values = layer(values)
    values = keras.layers.Flatten()(values)
    return keras.Model(images, [keras.layers.Dense(n, activation="softmax")(values) for n in (2, 3)])


def save(model: Any, path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras on the .h5 form being old, NumPy 2 on Keras' arrays
        model.save(path)


def export(
    path: Path, outputs: Outputs, *, taken: str = "float32", operation: Callable[[Any], Any] | None = None
) -> Any:
    """Writes a SavedModel with TensorFlow alone; gives a function for the expected heads of images."""
    tf = import_tensorflow()
    module = tf.Module()
    module.weights = tf.Variable(np.random.default_rng(5).normal(0, 1e-3, (32 * 24 * 3, 5)), dtype=tf.float32)

    def heads(images: Any) -> tuple[Any, Any]:
        values = tf.reshape(tf.cast(images, tf.float32), (-1, 32 * 24 * 3)) @ module.weights
        values = values if operation is None else operation(values)
        return tf.nn.softmax(values[:, :2]), tf.nn.softmax(values[:, 2:])

    spec = tf.TensorSpec((None, 32, 24, 3), taken)
    module.call = tf.function(lambda images: outputs(*heads(images)), input_signature=[spec])
    tf.saved_model.save(module, str(path), signatures=module.call)
    return heads


def in_list(sleeves: Any, print_: Any) -> Any:
    return [sleeves, print_]


def by_task(sleeves: Any, print_: Any) -> Any:
    return {"print": print_, "sleeves": sleeves}


def matrix(answers: list[Any]) -> Any:
    return np.array([[value for task in answer.values() for value in task.values()] for answer in answers])


@pytest.mark.parametrize("backend", ["tensorflow", "openvino"])
@pytest.mark.parametrize(("outputs", "taken"), [(in_list, "float32"), (by_task, "float32"), (in_list, "uint8")])
def test_what_tensorflow_itself_saved_answers_the_same(
    tmp_path: Path, images: Images, outputs: Outputs, taken: str, backend: str
) -> None:
    heads = export(placed(tmp_path, "saved"), outputs, taken=taken)
    model = load_model(settings(tmp_path, backend))
    gc.collect()  # a graph does not keep its variables alive: the model has to
    assert matrix(model.predict(images)) == pytest.approx(np.concatenate(heads(images), axis=1), abs=5e-3)


def test_outputs_whose_names_say_nothing_of_the_order_are_refused(tmp_path: Path) -> None:
    export(placed(tmp_path, "saved"), lambda sleeves, print_: {"long": sleeves, "b": print_})
    with pytest.raises(ModelError, match=r"model\.target_encoder names the tasks sleeves, print"):
        load_model(settings(tmp_path))


def test_heads_named_like_the_tasks_in_another_order_are_refused(tmp_path: Path) -> None:
    import keras

    images = keras.Input((32, 24, 3))
    values = keras.layers.Flatten()(images)
    heads = [keras.layers.Dense(2, activation="softmax", name=name)(values) for name in ("print", "sleeves")]
    save(keras.Model(images, heads), placed(tmp_path, "model.keras"))
    with pytest.raises(ModelError, match=r"list the tasks in the model's output order"):
        load_model(settings(tmp_path))


def test_a_model_that_openvino_cannot_convert_runs_in_tensorflow_unless_openvino_is_asked_for(
    tmp_path: Path, images: Images
) -> None:
    tf = import_tensorflow()
    export(
        placed(tmp_path, "saved"),
        in_list,
        operation=lambda values: values * tf.linalg.det(tf.eye(2) + 0 * tf.reduce_sum(values)),
    )
    model = load_model(settings(tmp_path, "auto"))
    assert model.info.backend == "tensorflow"
    assert len(model.predict(images)) == len(images)
    with pytest.raises(ModelError, match="OpenVINO cannot convert the model") as raised:
        load_model(settings(tmp_path, "openvino"))
    assert "\n" not in str(raised.value)


def test_what_keras_3_cannot_read_of_keras_2_loads_through_tf_keras(tmp_path: Path, images: Images) -> None:
    import tf_keras

    old = built(tf_keras, tf_keras.layers.DepthwiseConv2D(3))
    save(old, placed(tmp_path, "model.h5"))
    expected = np.concatenate(old(images.astype(np.float32)), axis=1)
    assert matrix(load_model(settings(tmp_path)).predict(images)) == pytest.approx(expected, abs=1e-5)


def test_without_tf_keras_its_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import tf_keras

    save(built(tf_keras, tf_keras.layers.DepthwiseConv2D(3)), placed(tmp_path, "model.h5"))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ModelError, match=r"Keras 2 wrote it: pip install 'image-consumer\[keras2\]'"):
        load_model(settings(tmp_path))


@pytest.mark.parametrize("name", ["model.keras", "model.h5"])
@pytest.mark.parametrize("which", ["keras", "tf_keras"])
def test_python_code_inside_a_file_is_never_loaded(tmp_path: Path, name: str, which: str) -> None:
    keras = pytest.importorskip(which)
    save(built(keras, keras.layers.Lambda(lambda values: values * 2)), placed(tmp_path, name))
    with pytest.raises(ModelError, match="has a Lambda layer, which is Python code"):
        load_model(settings(tmp_path))


def test_a_model_without_an_input_says_so(tmp_path: Path) -> None:
    import keras

    save(keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(2)]), placed(tmp_path, "model.keras"))
    with pytest.raises(ModelError, match="was saved before it had an input"):
        load_model(settings(tmp_path))


def test_a_head_that_gives_nan_is_told(tmp_path: Path) -> None:
    export(placed(tmp_path, "saved"), in_list, operation=lambda values: values * float("nan"))
    with pytest.raises(ModelError, match="the head of task sleeves gives no probabilities"):
        load_model(settings(tmp_path))
