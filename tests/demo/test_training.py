"""The training command, as far as it can be tried without training."""

from pathlib import Path

import numpy as np
import pytest
import yaml

from consumer.demo.drawing import TASKS, truth_of
from consumer.demo.images import MAX_SEED
from consumer.demo.training import INPUT_SIZE, SHIPPED, configuration, main, pixels_of, truths


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--seed", "-1"], "--seed is -1"),
        (["--train", "5"], "--train is 5"),
        (["--epochs", "0"], "--epochs is 0"),
    ],
)
def test_options_out_of_range_are_told_at_once(
    arguments: list[str], complaint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([*arguments, "--out", str(tmp_path / "model")])
    assert stopped.value.code == 2
    assert complaint in capsys.readouterr().err
    assert not (tmp_path / "model").exists()


def test_ctrl_c_ends_it_with_one_line_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("consumer.demo.training.train", interrupted)
    assert main(["--out", str(tmp_path / "model")]) == 130
    assert capsys.readouterr().out == "interrupted: nothing written\n"
    assert not (tmp_path / "model").exists()


def test_pixels_are_what_the_model_takes() -> None:
    pixels = pixels_of(MAX_SEED)
    width, height = INPUT_SIZE
    assert pixels.shape == (height, width, 3)
    assert pixels.dtype == np.uint8


def test_truths_are_indices_of_the_labels() -> None:
    for number, seed in enumerate(range(50, 60)):
        told = {
            task: labels[column[number]]
            for (task, labels), column in zip(TASKS.items(), truths(range(50, 60)), strict=True)
        }
        assert told == truth_of(seed)


def test_the_shipped_configuration_is_the_one_that_the_training_writes() -> None:
    assert yaml.safe_load((SHIPPED / "config.yml").read_text(encoding="utf-8")) == configuration()
