"""An int8 copy: made of pictures, refused where it disagrees, served where it belongs."""

from __future__ import annotations

import importlib.util
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from consumer.demo.drawing import draw_garment
from consumer.demo.training import SHIPPED
from consumer.errors import ModelError
from consumer.model import Model, ModelConfig, agreement, int8_copy, load_model
from consumer.model.int8_copy import Int8Copy
from consumer.model.processor import Processor
from consumer.settings import Settings
from producer_tools.cli import main
from producer_tools.terminal import Complaints

pytest.importorskip("nncf", reason="NNCF is not installed: pip install '.[quantize]'")

PICTURES = 120
FIRST_SEED = 40_000  # neither the training's nor its measurement's

Called = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawn garments at two depths, one of them twice, and three files that are no pictures."""
    folder = tmp_path_factory.mktemp("pictures")
    (folder / "summer" / "dresses").mkdir(parents=True)
    for number in range(PICTURES):
        where = folder / ("summer/dresses" if number % 2 else "")
        (where / f"{number}.jpg").write_bytes(draw_garment(FIRST_SEED + number).jpeg)
    shutil.copy(folder / "0.jpg", folder / "summer" / "again.jpg")
    (folder / "cut.jpg").write_bytes((folder / "0.jpg").read_bytes()[:900])
    (folder / "labels.csv").write_text("file,label\n")
    (folder / "bare\n\x1b[31m.txt").touch()
    return folder


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model directory of the test's own: the shipped model's weights and configuration."""
    shutil.copytree(SHIPPED, tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def called(capsys: pytest.CaptureFixture[str]) -> Called:
    def call(*arguments: str | Path) -> tuple[int, str, str]:
        code = main(["quantize", *map(str, arguments)])
        return code, *capsys.readouterr()

    return call


@pytest.fixture(scope="module")
def quantised(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The shipped model's directory with an int8 copy in it, and what making it said."""
    folder = tmp_path_factory.mktemp("quantised") / "model"
    shutil.copytree(SHIPPED, folder)
    with pytest.MonkeyPatch.context() as patch:
        said: list[str] = []
        patch.setattr(Complaints, "add", lambda self, text: said.append(text))
        assert main(["quantize", str(folder), str(pictures)]) == 0
    return folder, "\n".join(said)


def loaded(folder: Path, **wanted: Any) -> Model:
    return load_model(Settings(model_path=folder, **wanted))


def test_the_copy_answers_as_the_model_does_and_the_report_says_how_well(quantised: tuple[Path, str]) -> None:
    folder, said = quantised
    report = json.loads((folder / "model.keras.int8" / "agreement.json").read_text())
    assert report["model"]["weights"] == ModelConfig.read(folder).weights
    assert report["pictures"] == {"calibrated_on": 60, "held_out": 60, "skipped": 3, "twice": 1, "seed": 0}
    assert list(report["tasks"]) == ["print", "sleeves", "neckline"]
    assert all(one["pictures"] == 60 and one["labels_equal"] >= 0.99 for one in report["tasks"].values())
    assert {"nncf", "openvino", "tensorflow"} <= set(report["tools"])
    assert sorted(one.split(": ", 1)[0].rpartition("/")[2] for one in said.splitlines() if "skipped" in one) == [
        "bare",
        "cut.jpg",
        "labels.csv",
    ]
    assert not list(folder.glob(".*"))


def test_serving_takes_it_and_answers_as_in_float32(quantised: tuple[Path, str]) -> None:
    folder, _ = quantised
    int8 = loaded(folder, model_precision="int8")
    assert (int8.info.backend, int8.info.precision) == ("openvino", "int8")
    float32 = loaded(folder, model_backend="tensorflow", model_precision="float32")
    copy = Int8Copy.beside(int8.config)
    assert copy is not None
    for one, other in zip(int8.predict(copy.probes), float32.predict(copy.probes), strict=True):
        for task, probabilities in other.items():
            assert one[task] == pytest.approx(probabilities, abs=0.02)


def test_auto_tries_it_beside_the_others(quantised: tuple[Path, str]) -> None:
    choice = loaded(quantised[0]).choice
    assert choice is not None
    trials = choice.trials
    assert ("openvino", "int8") in {(one.backend, one.precision) for one in trials if one.agrees}
    assert len([one for one in trials if one.taken]) == 1


def test_a_copy_of_other_weights_is_refused_where_it_is_asked_for_and_left_out_where_it_is_not(
    quantised: tuple[Path, str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = shutil.copytree(quantised[0], tmp_path / "model")
    with (folder / "model.keras").open("ab") as file:
        file.write(b"\0" * 8)  # a zip archive does not mind
    told = r"was made for another version of the model \(weights \w{12}, not \w{12}.*image-tools quantize .*delete"
    with pytest.raises(ModelError, match=told):
        loaded(folder, model_precision="int8")
    choice = loaded(folder).choice
    assert choice is not None
    assert [(one.difference, one.problem) for one in choice.trials if one.precision == "int8"] == [
        (None, "there is no int8 copy of this model: image-tools quantize makes one")
    ]
    assert "without int8: the int8 copy" in caplog.text


def test_a_copy_whose_tasks_stood_in_another_order_is_refused(quantised: tuple[Path, str], tmp_path: Path) -> None:
    folder = shutil.copytree(quantised[0], tmp_path / "model")
    config = ModelConfig.read(folder)
    swapped = replace(config, tasks=dict(reversed(list(config.tasks.items()))))
    with pytest.raises(ModelError, match=r"another version of the model \(tasks in the order .*\): make it again"):
        Int8Copy.beside(swapped)


@pytest.mark.parametrize("name", ["model.xml", "model.bin", "probes.npz", "agreement.json"])
def test_a_copy_that_is_not_whole_is_refused(quantised: tuple[Path, str], tmp_path: Path, name: str) -> None:
    folder = shutil.copytree(quantised[0], tmp_path / "model")
    for damage in (lambda file: file.write_bytes(file.read_bytes()[:-9]), Path.unlink):
        damage(folder / "model.keras.int8" / name)
        with pytest.raises(ModelError, match=r"is damaged \(.*make it again") as raised:
            Int8Copy.beside(ModelConfig.read(folder))
        assert "\n" not in str(raised.value)


def test_a_copy_that_disagrees_is_refused_with_the_figures_and_nothing_is_left(
    called: Called, model: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = agreement.compare

    def other_way(tasks: Any, expected: Any, found: Any) -> Any:
        return original(tasks, expected, [np.flip(head, 1) for head in found])

    monkeypatch.setattr(agreement, "compare", other_way)
    monkeypatch.setattr(Processor, "saturates_int8", True)
    code, out, err = called(model, pictures)
    assert code == 3
    assert "does not answer as the model does, and was not written (print: labels are equal on " in err
    assert "quantise on a processor with VNNI; more pictures, and more like those" in err
    assert "this processor has no VNNI" in out
    assert sorted(one.name for one in model.iterdir()) == ["config.yml", "model.keras"]


def test_a_configuration_file_may_be_named_and_a_copy_is_replaced_whole(
    called: Called, quantised: tuple[Path, str], tmp_path: Path, pictures: Path
) -> None:
    folder = shutil.copytree(quantised[0], tmp_path / "model")
    (folder / "config.yml").rename(folder / "shop.yml")
    (folder / "model.keras.int8" / "agreement.json").write_text("{}")
    code, out, _ = called(folder / "shop.yml", pictures, "--seed", "5")
    assert (code, out.splitlines()[-1]) == (0, f"wrote {folder}/model.keras.int8")
    assert Int8Copy.beside(ModelConfig.read(folder / "shop.yml")) is not None
    assert sorted(one.name for one in folder.iterdir()) == ["model.keras", "model.keras.int8", "shop.yml"]


def test_what_is_wrong_is_one_line_that_says_what_to_do(called: Called, model: Path, tmp_path: Path) -> None:
    empty, few = tmp_path / "empty", tmp_path / "few"
    empty.mkdir()
    few.mkdir()
    (few / "one.jpg").write_bytes(draw_garment(FIRST_SEED).jpeg)
    for arguments, code, told in (
        ((tmp_path, few), 3, "config.yml does not exist"),
        ((model, tmp_path / "nowhere"), 2, "nowhere is no folder of pictures"),
        ((model, empty), 2, "has no files: it should hold pictures"),
        ((model, few), 3, "1 pictures are too few, at least 30 are needed"),
    ):
        got, out, err = called(*arguments)
        assert (got, out) == (code, "")
        assert told in err
        assert err.splitlines()[-1].startswith("image-tools: ")


def test_without_the_extra_it_says_what_to_install(
    called: Called, model: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    code, _, err = called(model, pictures)
    assert (code, err) == (
        3,
        "image-tools: quantising needs nncf and openvino: pip install 'image-consumer[quantize]'\n",
    )


def test_a_folder_that_cannot_be_written_is_told(quantised: tuple[Path, str], tmp_path: Path) -> None:
    config = ModelConfig.read(quantised[0])
    copy = Int8Copy.beside(config)
    assert copy is not None
    gone = replace(config, file=tmp_path / "nowhere" / "config.yml")
    with pytest.raises(ModelError, match="nowhere cannot be written: No such file"):
        int8_copy.write(gone, copy.converted(), copy.probes, {})


def test_a_directory_that_cannot_be_written_is_refused_before_any_work(
    model: Path, pictures: Path, called: Called, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.access", lambda path, _: path != model)  # as root, rights keep nobody out
    assert called(model, pictures) == (
        3,
        "",
        f"image-tools: {model} cannot be written, where the int8 copy goes: name a copy of it that can be\n",
    )


def test_ctrl_c_ends_it_with_one_line_and_writes_nothing(
    model: Path, pictures: Path, called: Called, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("producer_tools.quantize.load_reference", interrupted)
    code, _, err = called(model, pictures)
    assert code == 130
    assert err.splitlines()[-1] == "image-tools: interrupted, and not finished"
    assert "Traceback" not in err
    assert sorted(one.name for one in model.iterdir()) == ["config.yml", "model.keras"]
