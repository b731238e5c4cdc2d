"""A model's configuration: what is read, and what is said of the rest."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from consumer.errors import ModelError
from consumer.model import ModelConfig
from consumer.model.int8_copy import folder_of

GOOD = """\
paths: {model_path: ./model.keras}
model:
  input_shape: [224, 112]
  target_encoder:
    sleeves: [long, short]
    sale: [yes, no]
    size: [38, 40]
epochs: 7
"""


def write(folder: Path, text: str) -> Path:
    (folder / "model.keras").write_bytes(b"weights")
    (folder / "config.yml").write_text(text)
    return folder


def test_a_directory_and_its_file_read_the_same(tmp_path: Path) -> None:
    write(tmp_path, GOOD)
    assert ModelConfig.read(tmp_path) == ModelConfig.read(tmp_path / "config.yml")


def test_width_comes_before_height_and_labels_stay_as_they_were_written(tmp_path: Path) -> None:
    config = ModelConfig.read(write(tmp_path, GOOD))
    assert config.input_size == (224, 112)
    assert config.tasks == {"sleeves": ("long", "short"), "sale": ("yes", "no"), "size": ("38", "40")}
    assert list(config.tasks) == ["sleeves", "sale", "size"]


def test_name_and_version_are_the_directorys_name_and_a_digest_of_the_weights_unless_given(tmp_path: Path) -> None:
    config = ModelConfig.read(write(tmp_path, GOOD))
    assert config.name == tmp_path.name
    assert config.version == hashlib.sha256(b"weights").hexdigest()[:12]
    named = ModelConfig.read(write(tmp_path, GOOD.replace("model:\n", "model:\n  name: shop\n  version: 2.10\n")))
    assert (named.name, named.version) == ("shop", "2.10")


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("paths: {model_path: ./model.keras}", "paths: {}", "paths.model_path is missing"),
        ("./model.keras", "./other.keras", "which does not exist"),
        ("[224, 112]", "[224]", "model.input_shape must be a list of width and height"),
        ("[224, 112]", "224", "model.input_shape must be a list of width and height"),
        ("[224, 112]", "[224, 112, 1]", "3 channels"),
        ("[224, 112]", "[0, 112]", "each from 1 to 4096"),
        ("[long, short]", "long", "model.target_encoder.sleeves must be a list of at least two labels"),
        ("[long, short]", "[long]", "at least two labels"),
        ("[long, short]", "[long, long]", "labels that differ"),
        ("[long, short]", "[long, '']", "at least two labels"),
        ("[long, short]", "[long, ' ']", "none of them empty"),
        ("[long, short]", "[long, [short]]", "at least two labels"),
        ("[long, short]", "{long: 1, short: 2}", "at least two labels"),
        ("[long, short]", "", "at least two labels"),
        ("    sleeves: [long, short]\n    sale: [yes, no]\n    size: [38, 40]\n", "", "must be a mapping of task"),
        ("sale: [yes, no]", "sleeves: [yes, no]", "the key sleeves stands twice"),
        ("sale: [yes, no]", "'': [yes, no]", "a mapping whose tasks have names"),
        ("model:\n", "modell:\n", "model.input_shape is missing: it should be a list of width and height"),
        ("model:\n", "model:\n  name: [shop]\n", "model.name must be a text"),
        ("[224, 112]", "[2_24, 112]", "each from 1 to 4096"),
        ("[224, 112]", "[224.0, 112]", "each from 1 to 4096"),
        ("[224, 112]", "[4097, 112]", "each from 1 to 4096"),
        ("./model.keras", "''", "paths.model_path must be a text"),
        ("[long, short]", "[long, short", "is no YAML"),
        ("epochs: 7", "epochs: " + "[" * 5000, "is no YAML"),
        ("epochs: 7", "epochs: \x00", "is no YAML"),
    ],
)
def test_what_is_wrong_is_told_in_one_line_with_file_and_key(tmp_path: Path, old: str, new: str, told: str) -> None:
    assert old in GOOD
    with pytest.raises(ModelError) as raised:
        ModelConfig.read(write(tmp_path, GOOD.replace(old, new)))
    assert told in str(raised.value)
    assert "config.yml" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_path_that_does_not_exist_says_what_model_path_is(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"does not exist: a model is a directory with config\.yml"):
        ModelConfig.read(tmp_path / "nowhere")


def test_an_empty_name_counts_as_none(tmp_path: Path) -> None:
    config = ModelConfig.read(write(tmp_path, GOOD.replace("model:\n", "model:\n  name:\n  version:\n")))
    assert (config.name, len(config.version)) == (tmp_path.name, 12)


def test_anchors_merge_keys_and_tags_of_a_training_configuration_do_no_harm(tmp_path: Path) -> None:
    text = "shared: &shared\n  input_shape: [1, 1]\n  version: 3\nload: !include other.yml\n" + GOOD.replace(
        "model:\n", "model:\n  <<: *shared\n"
    )
    config = ModelConfig.read(write(tmp_path, text))
    assert (config.input_size, config.version) == ((224, 112), "3")


def test_a_saved_models_version_is_a_digest_of_all_its_files(tmp_path: Path) -> None:
    write(tmp_path, GOOD.replace("./model.keras", "./saved"))
    (tmp_path / "saved" / "variables").mkdir(parents=True)
    (tmp_path / "saved" / "saved_model.pb").write_bytes(b"graph")
    (tmp_path / "saved" / "variables" / "variables.index").write_bytes(b"one")
    before = ModelConfig.read(tmp_path).version
    (tmp_path / "saved" / "variables" / "variables.index").write_bytes(b"two")
    assert ModelConfig.read(tmp_path).version != before


def test_a_configuration_and_an_int8_copy_inside_of_a_saved_model_are_not_the_models(tmp_path: Path) -> None:
    folder = tmp_path / "saved"
    folder.mkdir()
    (folder / "saved_model.pb").write_bytes(b"graph")
    write(folder, GOOD.replace("./model.keras", "."))
    before = ModelConfig.read(folder)
    write(folder, GOOD.replace("./model.keras", ".") + "\n# a remark\n")
    copy = folder_of(before)
    copy.mkdir()
    (copy / "model.bin").write_bytes(b"int8")
    assert ModelConfig.read(folder).weights == before.weights
    (folder / "saved_model.pb").write_bytes(b"another graph")
    assert ModelConfig.read(folder).weights != before.weights


@pytest.mark.parametrize("name", ["model.keras", "old.h5"])
def test_a_model_file_in_place_of_its_configuration_says_what_model_path_is(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"weights")
    with pytest.raises(ModelError, match=r"is the model.s file itself: name its directory with config\.yml"):
        ModelConfig.read(tmp_path / name)


def test_a_model_path_is_taken_from_the_configurations_own_directory(tmp_path: Path) -> None:
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "model.keras").write_bytes(b"weights")
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "shop.yaml").write_text(GOOD.replace("./model.keras", "../weights/model.keras"))
    config = ModelConfig.read(tmp_path / "conf" / "shop.yaml")
    assert config.model_path.resolve() == tmp_path / "weights" / "model.keras"
    assert config.name == "conf"


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    write(tmp_path, GOOD.replace("./model.keras", "m" * 300))
    with pytest.raises(ModelError, match="cannot be read: File name too long"):
        ModelConfig.read(tmp_path)
