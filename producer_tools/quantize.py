"""`image-tools quantize`: an int8 copy of a model, calibrated on pictures, held against it on others."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from consumer.errors import ModelError
from consumer.model import ModelConfig, agreement, int8_copy
from consumer.model.agreement import TaskAgreement
from consumer.model.choosing import load_reference
from consumer.model.heads import Heads, Pixels
from consumer.model.openvino import Converted
from consumer.model.probes import PROBES
from consumer.model.processor import Processor
from consumer.model.quantising import quantised, refuse_without_nncf
from consumer.model.trials import MAX_DIFFERENCE, Backend, timed
from consumer.settings import Settings
from producer_tools.pictures import Pictures, files_in, read_pictures
from producer_tools.terminal import Complaints, stderr

SUMMARY = "an int8 copy of a model in its directory, calibrated on a folder of pictures, with its agreement report"

EXAMPLES = """Pictures are what the service will see: a few hundred, of every kind. 300 are calibrated on, 500 more
are held out; with fewer, half of them. A copy that does not answer as the model does is refused.

examples:
  image-tools quantize ./model ./pictures
  image-tools quantize ./model/other.yml /data/photos --seed 7     # another split
  MODEL_PATH=./model MODEL_PRECISION=int8 image-consumer check     # the service takes the copy"""

CALIBRATED, HELD_OUT = 300, 500
"""Most pictures of each kind. 300 is what NNCF takes by itself; more moved nothing on the shipped model. Of 500
held-out ones a hundredth, which may differ, is 5 pictures."""
LEAST_PICTURES = 30
"""Below that, neither the ranges nor the agreement mean anything."""
FEW_HELD_OUT = 100
"""Below that the agreement is told with a warning: one picture is more than a hundredth."""
BATCH = 8

WITHOUT_VNNI = (
    "this processor has no VNNI (avx512_vnni or avx_vnni in /proc/cpuinfo): int8 is hardly faster here, and its sums "
    "saturate, so that a copy agrees less than where there is VNNI"
)

PACKAGES = ("image-consumer", "nncf", "openvino", "tensorflow", "tensorflow-cpu", "keras", "tf-keras")


def add_options(command: argparse.ArgumentParser) -> None:
    """The command's options."""
    command.add_argument("model", type=Path, metavar="MODEL_DIR", help="a directory with config.yml, or such a file")
    command.add_argument("images", type=Path, metavar="IMAGES", help="a folder of pictures, at any depth")
    command.add_argument(
        "--seed", type=_seed, default=0, metavar="N", help="of the split into calibrated and held out (default: 0)"
    )


def _seed(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 to 999999999")
    return int(text)


def run(options: argparse.Namespace, settings: Settings) -> int:
    """Makes the copy; returns 0 if it was written.

    Raises:
        ModelError: there is no model, it cannot be quantised, or the copy disagrees.
        SettingsError: there are no pictures.
    """
    refuse_without_nncf()
    config = ModelConfig.read(options.model)
    int8_copy.refuse_unwritable(config)
    files = files_in(options.images, options.seed)
    console = stderr()
    complaints = Complaints(console)
    with Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=console
    ) as progress:
        work = _Work(config, settings, progress, complaints)
        pictures = work.read(files)
        made = work.quantise(pictures)
    output = Console(highlight=False)
    _show(output, made)
    if trouble := agreement.troubles(made.agreement):
        helps = "more pictures, and more like those that the service will see, may help"
        if Processor.here().saturates_int8:
            helps = f"quantise on a processor with VNNI; {helps}"
        raise ModelError(
            f"the int8 copy does not answer as the model does, and was not written ({trouble}): {helps}; "
            "else the model serves in float32 or bfloat16"
        )
    folder = int8_copy.write(config, made.copy, made.probes(), _report(made, pictures, options.seed))
    output.print(f"wrote {folder}", soft_wrap=True)
    return 0


@dataclass(frozen=True, slots=True)
class _Made:
    """A copy and what was measured of it; ``seconds`` for one image, by the name of what took them."""

    copy: Converted
    calibrated: int
    held_out: Pixels
    expected: Heads
    found: Heads
    agreement: dict[str, TaskAgreement]
    seconds: dict[str, float]

    def probes(self) -> Pixels:
        """The first held-out pictures on which the copy was well within what a start allows."""
        difference = np.max([np.abs(a - b).max(1) for a, b in zip(self.expected, self.found, strict=True)], axis=0)
        same = np.all([a.argmax(1) == b.argmax(1) for a, b in zip(self.expected, self.found, strict=True)], axis=0)
        good = np.flatnonzero(same & (difference <= MAX_DIFFERENCE / 2))[:PROBES]
        if len(good) < PROBES:
            raise ModelError(
                f"the int8 copy is within {MAX_DIFFERENCE / 2} of the model on {len(good)} pictures only, of {PROBES} "
                "that a start asks: it was not written"
            )
        return self.held_out[good]


class _Work:
    """The steps, each with its bar."""

    def __init__(self, config: ModelConfig, settings: Settings, progress: Progress, complaints: Complaints) -> None:
        self._config = config
        self._settings = settings
        self._progress = progress
        self._complaints = complaints

    def read(self, files: list[Path]) -> Pictures:
        """Reads as many pictures as are wanted.

        Raises:
            ModelError: there are too few.
        """
        most = min(len(files), CALIBRATED + HELD_OUT)
        task = self._progress.add_task("reading pictures", total=most)
        bar = self._progress.track(files, total=most, task_id=task)
        found = read_pictures(iter(bar), self._config.input_size, self._settings, most, self._complaints.add)
        read = len(found.images)
        self._progress.update(task, total=read, completed=read)  # the last file ends the loop before it counts
        self._complaints.close()
        if read < LEAST_PICTURES:
            twice = f", {found.twice} held the bytes of another" if found.twice else ""
            raise ModelError(
                f"{read} pictures are too few, at least {LEAST_PICTURES} are needed and a few hundred are "
                f"better ({found.skipped} files could not be read{twice})"
            )
        return found

    def quantise(self, pictures: Pictures) -> _Made:
        """Calibrates on the first part of the pictures, and measures on the rest."""
        task = self._progress.add_task("loading the model", total=None)
        reference = load_reference(self._config)
        original = Converted.of(reference.frozen())
        self._progress.update(task, total=1, completed=1)

        calibrated = min(CALIBRATED, len(pictures.images) // 2)
        task = self._progress.add_task("calibrating", total=calibrated)
        copy = quantised(original, pictures.stacked(0, calibrated), lambda: self._progress.advance(task))

        held_out = pictures.stacked(calibrated, calibrated + HELD_OUT)
        int8, float32 = copy.backend("int8"), original.backend("float32")
        task = self._progress.add_task("comparing", total=2 * len(held_out))
        expected, found = (self._asked(one, held_out, task) for one in (reference, int8))
        backends: list[Backend] = [float32, int8]
        took = timed([(one, held_out[:BATCH]) for one in backends], time.perf_counter)
        return _Made(
            copy,
            calibrated,
            held_out,
            expected,
            found,
            agreement.compare(self._config.tasks, expected, found),
            dict(zip(["float32", "int8"], took, strict=True)),
        )

    def _asked(self, backend: Callable[[Pixels], Heads], pictures: Pixels, task: Any) -> Heads:
        parts = []
        for start in range(0, len(pictures), BATCH):
            parts.append([head.copy() for head in backend(pictures[start : start + BATCH])])
            self._progress.advance(task, len(parts[-1][0]))
        return [np.concatenate(heads) for heads in zip(*parts, strict=True)]


def _show(console: Console, made: _Made) -> None:
    heads = ("task", "labels equal", "largest difference", "mean difference", "widest turned")  # in 80 columns
    table = Table(*heads, box=None, pad_edge=False)
    for task, one in made.agreement.items():
        style = "red" if one.troubles() else ""
        table.add_row(
            task,
            f"{one.labels_equal:.1%} of {one.pictures}",
            f"{one.largest_difference:.4f}",
            f"{one.mean_difference:.4f}",
            f"{one.widest_turned:.2f}",
            style=style,
        )
    console.print(table)
    float32, int8 = made.seconds["float32"], made.seconds["int8"]
    console.print(
        f"here, in OpenVINO, float32 takes {float32 * 1000:.2f} ms an image and int8 {int8 * 1000:.2f}: "
        f"{float32 / int8:.1f} times as fast",
        soft_wrap=True,
    )
    if Processor.here().saturates_int8:
        console.print(WITHOUT_VNNI, style="yellow", soft_wrap=True)
    if (count := len(made.held_out)) < FEW_HELD_OUT:
        # None of n differing leaves, with 95 % confidence, up to 3/n that might.
        told = f"only {count} pictures were held out: up to {3 / count:.0%} of all might differ"
        console.print(told, style="yellow", soft_wrap=True)


def _report(made: _Made, pictures: Pictures, seed: int) -> dict[str, Any]:
    return {
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "pictures": {
            "calibrated_on": made.calibrated,
            "held_out": len(made.held_out),
            "skipped": pictures.skipped,
            "twice": pictures.twice,
            "seed": seed,
        },
        **agreement.as_report(made.agreement),
        "tools": {name: told for name in PACKAGES if (told := _version(name))},
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
