"""Which Keras a file needs, what is refused unseen, and what is said of damaged files."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from consumer.errors import ModelError
from consumer.model.keras_files import in_one_line, load_keras
from tests.model.conftest import heads, saving

INSTALL = r"pip install 'image-consumer\[keras2\]'"


@pytest.fixture
def _no_tf_keras(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)


def saved(model: Any, path: Path) -> Path:
    with saving():
        model.save(path)
    return path


@pytest.mark.usefixtures("_no_tf_keras")
@pytest.mark.parametrize("name", ["model.h5", "model.keras"])
def test_a_file_that_only_keras_2_can_read_says_what_to_install(name: str, tmp_path: Path, keras2: Any) -> None:
    with pytest.raises(ModelError, match=INSTALL):
        load_keras(saved(keras2, tmp_path / name))


@pytest.mark.usefixtures("_no_tf_keras")
def test_op_layers_are_found_in_a_model_within_a_model(tmp_path: Path, keras2: Any) -> None:
    import tf_keras

    images = tf_keras.Input((32, 24, 3))
    outer = tf_keras.Model(images, keras2(images))
    with pytest.raises(ModelError, match=INSTALL):
        load_keras(saved(outer, tmp_path / "model.h5"))


@pytest.fixture(scope="module")
def plain() -> Any:
    """A model of Keras 2 whose layers Keras 3 has too."""
    import tf_keras
    from tf_keras import layers

    images = tf_keras.Input((32, 24, 3))
    return tf_keras.Model(images, heads(layers, layers.GlobalAveragePooling2D()(layers.Rescaling(1 / 255)(images))))


@pytest.mark.usefixtures("_no_tf_keras")
def test_a_plain_h5_of_keras_2_needs_nothing(tmp_path: Path, plain: Any) -> None:
    assert type(load_keras(saved(plain, tmp_path / "model.h5"))).__module__.startswith("keras.")


@pytest.mark.usefixtures("_no_tf_keras")
def test_a_keras_file_of_keras_2_needs_it_even_if_it_is_plain(tmp_path: Path, plain: Any) -> None:
    with pytest.raises(ModelError, match=INSTALL):
        load_keras(saved(plain, tmp_path / "model.keras"))


def test_in_a_process_without_tf_keras_the_line_is_the_same(tmp_path: Path, keras2: Any) -> None:
    path = saved(keras2, tmp_path / "model.h5")
    program = """
import importlib.machinery, sys
class Missing(importlib.machinery.PathFinder):
    @classmethod
    def find_spec(cls, name, *more):
        return None if name.split(".")[0] == "tf_keras" else super().find_spec(name, *more)
sys.meta_path[:] = [Missing if one is importlib.machinery.PathFinder else one for one in sys.meta_path]
from pathlib import Path
from consumer.model.keras_files import load_keras
try:
    load_keras(Path(sys.argv[1]))
except Exception as error:
    print(type(error).__name__, error)
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.startswith(f"ModelError {path} was written by Keras 2")
    assert done.stdout.endswith("pip install 'image-consumer[keras2]'\n")


@pytest.mark.parametrize("name", ["model.keras", "model.h5"])
def test_a_lambda_layer_is_never_loaded(name: str, tmp_path: Path, keras: Any) -> None:
    inner = keras.Sequential([keras.Input((32, 24, 3)), keras.layers.Lambda(lambda values: values / 255)])
    images = keras.Input((32, 24, 3))
    model = keras.Model(images, heads(keras.layers, keras.layers.GlobalAveragePooling2D()(inner(images))))
    with pytest.raises(ModelError, match=r"has a Lambda layer, .* use a layer such as Rescaling") as raised:
        load_keras(saved(model, tmp_path / name))
    assert "\n" not in str(raised.value)


def test_a_lambda_layer_of_keras_2_is_never_loaded(tmp_path: Path) -> None:
    import tf_keras

    model = tf_keras.Sequential([tf_keras.Input((32, 24, 3)), tf_keras.layers.Lambda(lambda values: values / 255)])
    with pytest.raises(ModelError, match="has a Lambda layer"):
        load_keras(saved(model, tmp_path / "model.h5"))


def test_a_layer_of_the_authors_own_is_told(tmp_path: Path, keras: Any) -> None:
    class Mine(keras.layers.Layer):
        def call(self, values: Any) -> Any:
            return values

    model = keras.Sequential([keras.Input((32, 24, 3)), Mine()])
    with pytest.raises(ModelError, match=r"cannot be loaded .*Mine") as raised:
        load_keras(saved(model, tmp_path / "model.keras"))
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 600


@pytest.mark.parametrize("name", ["model.keras", "model.h5"])
@pytest.mark.parametrize("part", [0.0, 0.3, 0.9])
def test_a_file_that_is_cut_is_told_in_one_line(name: str, part: float, tmp_path: Path, tiny: Any) -> None:
    path = saved(tiny, tmp_path / name)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * part)])
    with pytest.raises(ModelError, match="cannot be loaded") as raised:
        load_keras(path)
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", ["model.keras", "model.h5"])
def test_a_file_of_noise_is_told(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"<html>not found</html>")
    with pytest.raises(ModelError, match="it is damaged, or holds no whole model"):
        load_keras(tmp_path / name)


def test_weights_alone_are_told(tmp_path: Path, tiny: Any) -> None:
    path = tmp_path / "model.weights.h5"
    with saving():
        tiny.save_weights(path)
    with pytest.raises(ModelError, match="holds no whole model but weights"):
        load_keras(path)


def test_a_foreign_exception_is_told_by_its_beginning_and_its_end() -> None:
    assert in_one_line(ValueError("one\n  two"), most=6) == "ValueError: one … two"
    assert in_one_line(ValueError("short")) == "ValueError: short"
