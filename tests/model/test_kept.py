"""What a start finds out is there for the next one, and never stands in its way."""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from consumer.model import Model, ModelConfig, choosing, kept, load_model, selection
from consumer.model.kept import cache_folder, key_of
from consumer.model.processor import Processor
from consumer.settings import Settings
from tests.model.conftest import Images

Load = Callable[..., Model]


@pytest.fixture
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the test's own."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder / "image-consumer"


@pytest.fixture
def load(directory: Path, cache: Path) -> Load:
    """Loads the tiny model in OpenVINO."""

    def load(**wanted: Any) -> Model:
        asked: dict[str, Any] = {"model_path": directory, "model_backend": "openvino", "model_precision": "float32"}
        return load_model(Settings(**(asked | wanted)))

    return load


def entries(cache: Path) -> list[Path]:
    return sorted(one.parent for one in cache.glob("*/choice.json"))


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Grows by one whenever a choice is made by measuring."""
    times: list[str] = []
    select = selection.select

    def counted(*arguments: Any) -> Any:
        times.append("measured")
        return select(*arguments)

    monkeypatch.setattr(choosing, "select", counted)
    return times


def test_the_log_of_a_start_tells_what_was_measured_or_that_it_was_measured_before(
    load: Load, caplog: pytest.LogCaptureFixture
) -> None:
    def told() -> list[str]:
        found = [re.sub(r"\b\d[\d.,]*\b", "N", one.getMessage()) for one in caplog.records if one.levelname == "INFO"]
        caplog.clear()
        return found

    with caplog.at_level("INFO", logger="consumer.model"):
        load(model_precision="auto")
        first = told()
        load(model_precision="auto")
    assert re.fullmatch(r"TensorFlow imported in N s; \S+ \(N MB\) loaded in N s", first[0])
    *candidates, speeds, taken, warm = first[1:]
    assert [" ".join(one.split()[:3]) for one in candidates] == [
        "candidate openvino float32:",
        "candidate openvino bfloat16:",
        "candidate openvino int8:",
    ]
    assert re.match(r"\S+ \S+ \S+ N images/s, labels equal N of N, largest difference N: \w+", candidates[0])
    assert candidates[2].endswith("not possible: there is no int8 copy of this model: image-tools quantize makes one")
    assert re.fullmatch(r"openvino \w+, images/s by batch size: (N: N, ){4}N: N", speeds)
    assert re.fullmatch(r"openvino in \w+ is taken, found out in N s", taken)
    assert re.fullmatch(r"model \S+ \S+ is warm after N s: openvino in \w+, batches of up to N", warm)
    earlier, kept, warm_again = told()[len(candidates) + 1 :]
    assert earlier == "all this was measured at an earlier start, at N-N-N N:N:N UTC"
    assert kept == taken.replace("is taken, found out in N s", "is taken as it was then, and still agrees")
    assert warm_again == warm


@pytest.mark.parametrize("wanted", [{}, {"model_backend": "tensorflow"}, {"model_precision": "auto"}])
def test_the_second_start_takes_what_the_first_one_chose_and_answers_the_same(
    load: Load, measured: list[str], images: Images, wanted: dict[str, str]
) -> None:
    first, second = load(**wanted), load(**wanted)
    assert measured == ["measured"]
    assert (second.info, second.max_batch) == (first.info, first.max_batch)
    assert first.choice is not None
    assert second.choice is not None
    assert second.choice == replace(first.choice, backend=second.choice.backend, kept=True)
    for one, other in zip(first.predict(images), second.predict(images), strict=True):
        assert one["print"] == pytest.approx(other["print"], abs=0.01)


PROGRAM = """
import sys
from pathlib import Path
from consumer.model import load_model
from consumer.settings import Settings
model = load_model(Settings(model_path=Path(sys.argv[1]), model_backend="openvino", model_precision="float32"))
print(model.info.backend, "tensorflow" in sys.modules)
"""


def test_where_openvino_answers_the_second_start_needs_no_tensorflow(load: Load, directory: Path) -> None:
    load()
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(directory)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.stdout, done.stderr) == ("openvino False\n", "")


def test_a_kept_choice_that_answers_otherwise_than_the_reference_is_made_again(
    load: Load, cache: Path, measured: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    load()
    (entry,) = entries(cache)
    with np.load(entry / "answers.npz") as file:
        answers = {name: file[name][::-1] for name in file.files}
    np.savez(entry / "answers.npz", **answers)
    assert load().info.backend == "openvino"
    assert len(measured) == 2
    assert "does not hold, so it is made again: openvino float32: 6 of 16 most probable labels differ" in caplog.text
    load()
    assert len(measured) == 2  # it was kept again, whole


@pytest.mark.parametrize(
    "damage",
    [
        ("choice.json", b"{"),
        ("choice.json", b'{"trials": []}'),
        ("choice.json", b'{"trials": [{"is": "no trial"}]}'),
        ("answers.npz", b"PK\x03\x04 no archive"),
        ("model.xml", b"<no model>"),
        ("model.bin", b"cut"),
    ],
)
def test_a_damaged_entry_is_told_in_a_line_and_made_again(
    load: Load, cache: Path, measured: list[str], caplog: pytest.LogCaptureFixture, damage: tuple[str, bytes]
) -> None:
    (file, content), _ = damage, load()
    (entry,) = entries(cache)
    (entry / file).write_bytes(content)
    assert load().info.backend == "openvino"
    assert len(measured) == 2
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 1
    assert "made again" in warnings[0]
    assert "\n" not in warnings[0]


def test_a_folder_that_is_read_only_is_read_all_the_same(
    load: Load, cache: Path, measured: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    load()
    monkeypatch.setattr(os, "access", lambda *_: False)
    load()
    assert len(measured) == 1
    (entry,) = entries(cache)
    assert not (entry / kept.COMPILED).exists()


@pytest.mark.parametrize(
    "nonsense",
    [
        ("outputs", []),
        ("batches", {"1": 0}),
        ("measured_at", 1e20),
        ("max_batch", True),
        ("max_batch", 3000),
        *(("trial", {name: value}) for name, value in {"backend": "foo", "precision": "x", "seconds": "abc"}.items()),
        ("trial", {"precision": "int8"}),
    ],
)
def test_nonsense_in_an_entry_is_told_and_the_choice_is_made_again(
    load: Load, cache: Path, measured: list[str], caplog: pytest.LogCaptureFixture, nonsense: tuple[str, Any]
) -> None:
    (key, value), _ = nonsense, load()
    (entry,) = entries(cache)
    told = json.loads((entry / "choice.json").read_text())
    if key == "trial":
        (taken,) = (one for one in told["trials"] if one["taken"])
        taken.update(value)
    else:
        told[key] = value
    (entry / "choice.json").write_text(json.dumps(told))
    assert load().info.precision == "float32"
    assert len(measured) == 2
    assert "made again" in caplog.text


@pytest.mark.parametrize("answers", [{}, {"0": np.zeros((8, 9), np.float32)}, {"0": np.array(["a"])}])
def test_answers_that_are_none_of_this_model_are_no_trouble(
    load: Load, cache: Path, measured: list[str], answers: dict[str, Any]
) -> None:
    load()
    (entry,) = entries(cache)
    np.savez(entry / "answers.npz", **answers)
    load()
    assert len(measured) == 2


def test_a_cache_that_cannot_be_written_is_no_trouble(
    load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, measured: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    for _ in range(2):
        assert load().info.backend == "openvino"
    assert len(measured) == 2
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_a_choice_holds_for_one_model_one_machine_and_one_set_of_wishes(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, settings = ModelConfig.read(directory), Settings()
    keys = [
        key_of(config, settings, None),
        key_of(replace(config, weights="other"), settings, None),
        key_of(replace(config, input_size=(32, 24)), settings, None),
        key_of(config, Settings(model_precision="float32"), None),
        key_of(config, Settings(model_backend="tensorflow"), None),
        key_of(config, Settings(batch_max_size=3), None),
    ]
    assert key_of(config, settings, None) == keys[0]
    monkeypatch.setattr(kept, "usable_cores", lambda: 77)
    keys.append(key_of(config, settings, None))
    monkeypatch.setattr(Processor, "here", lambda: Processor("another", ("avx2",), ()))
    keys.append(key_of(config, settings, None))
    monkeypatch.setattr(kept, "version", lambda package: "0.0")
    keys.append(key_of(config, settings, None))
    assert len(set(keys)) == len(keys)


def test_what_a_killed_start_left_half_written_goes_after_an_hour(load: Load, cache: Path) -> None:
    for name, age_s in {".new-old": 2 * kept.LEFT_BEHIND_S, ".new-young": 0.0}.items():
        (cache / name).mkdir(parents=True)
        os.utime(cache / name, (time.time() - age_s,) * 2)
    load()
    assert [one.name for one in cache.glob(".new-*")] == [".new-young"]


def test_only_the_newest_entries_stay(load: Load, cache: Path) -> None:
    for size in range(1, kept.MOST_ENTRIES + 3):
        load(batch_max_size=size)
    assert len(entries(cache)) == kept.MOST_ENTRIES
    assert kept.MOST_ENTRIES + 2 in [
        json.loads((one / "choice.json").read_text())["max_batch"] for one in entries(cache)
    ]
    assert not list(cache.glob(".new-*"))


def test_the_cache_is_in_the_users_own_folder_unless_another_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    for named, folder in (
        ("/var/cache/x", "/var/cache/x/image-consumer"),
        ("", "/home/somebody/.cache/image-consumer"),
        ("relative/is/ignored", "/home/somebody/.cache/image-consumer"),
    ):
        monkeypatch.setenv("XDG_CACHE_HOME", named)
        assert cache_folder() == Path(folder)
