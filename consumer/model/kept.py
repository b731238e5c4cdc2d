"""What a start finds out about a model on a machine, kept for the next one.

Measuring takes seconds, and TensorFlow, which is the reference, takes seconds to import. So the choice, the
reference's answers for the probe images, and the OpenVINO form of the model if it was chosen are put into
``$XDG_CACHE_HOME/image-consumer`` (``~/.cache/image-consumer``), under a key of all that they hang on: weights,
configuration, settings, processor, cores, versions. The next start compiles what was chosen, sees that it still
answers as the reference did, and needs no TensorFlow if OpenVINO answers.

It is a cache: where it cannot be written, or holds nonsense, the start measures.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from consumer.machine import usable_cores
from consumer.model.choice import Choice
from consumer.model.config import ModelConfig
from consumer.model.heads import Heads
from consumer.model.int8_copy import Int8Copy
from consumer.model.openvino import Converted
from consumer.model.processor import Processor
from consumer.model.selection import WAYS
from consumer.model.trials import Backend, Trial
from consumer.settings import Settings

log = logging.getLogger(__name__)

FORMAT = 4
"""Of an entry, and of the way a choice is made: a new one makes every old entry a stranger."""
MOST_ENTRIES = 4
"""Each may hold a float32 copy of a model; the one that was used longest ago goes."""
MOST_IMAGES = 1024
"""In one call, as ``BATCH_MAX_SIZE`` has it."""
LEFT_BEHIND_S = 3600.0
"""An entry that is so old and not whole was being written when its process was killed."""

PACKAGES = ("image-consumer", "tensorflow", "tensorflow-cpu", "keras", "tf-keras", "openvino", "numpy")
CHOICE, ANSWERS, MODEL, COMPILED = "choice.json", "answers.npz", "model.xml", "compiled"


def cache_folder() -> Path | None:
    """Where entries are kept, whether or not it exists; null if there is no home directory either."""
    named = Path(os.environ.get("XDG_CACHE_HOME", ""))
    try:
        base = named if named.is_absolute() else Path.home() / ".cache"
    except RuntimeError:
        return None
    return base / "image-consumer"


def key_of(config: ModelConfig, settings: Settings, copy: Int8Copy | None) -> str:
    """32 hex digits of everything that a choice hangs on."""
    processor = Processor.here()
    parts = {
        "format": FORMAT,
        "model": [config.weights, config.input_size, [[task, len(of)] for task, of in config.tasks.items()]],
        "int8": copy and copy.digest,
        "settings": [settings.model_backend, settings.model_precision, settings.batch_max_size],
        "machine": [processor.name, processor.flags, processor.gpus, usable_cores()],
        "packages": {name: _version(name) for name in PACKAGES},
    }
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


@dataclass(frozen=True, slots=True)
class Kept:
    """An entry.

    Attributes:
        folder: where it stands.
        backend: what was chosen.
        precision: what it computes in.
        max_batch: most images in one call.
        trials: what was measured then.
        batches: seconds for one image, by the size of its batch.
        measured_at: milliseconds since the epoch.
        answers: of the reference, for the probe images.
        outputs: names of the OpenVINO model's outputs in the order of the tasks, if one is kept.
    """

    folder: Path
    backend: str
    precision: str
    max_batch: int
    trials: tuple[Trial, ...]
    batches: Mapping[int, float]
    measured_at: int
    answers: Heads
    outputs: tuple[str, ...]

    @classmethod
    def read(cls, folder: Path) -> Kept | None:
        """The entry in ``folder``; null if there is none, or it is of no use, which is told in a line."""
        try:
            found = json.loads((folder / CHOICE).read_bytes())
            trials = tuple(Trial(**one) for one in found["trials"])
            (taken,) = (one for one in trials if one.taken)
            size = found["max_batch"]
            if type(size) is not int or not 1 <= size <= MOST_IMAGES:  # which True is, too
                raise ValueError("max_batch is no size")  # noqa: TRY301 - told as every other damage
            if (taken.backend, taken.precision) not in WAYS:
                raise ValueError(f"{taken.backend} {taken.precision} is no way to run a model")  # noqa: TRY301 - "
            with (folder / ANSWERS).open("rb") as raw, np.load(raw, allow_pickle=False) as file:
                answers = [file[str(number)] for number in range(len(file.files))]
            return cls(
                folder,
                taken.backend,
                taken.precision,
                size,
                trials,
                {int(number): float(seconds) for number, seconds in found["batches"].items()},
                int(found["measured_at"]),
                answers,
                tuple(found["outputs"]),
            )
        except (FileNotFoundError, NotADirectoryError):
            return None
        except Exception as error:  # noqa: BLE001 - NumPy, json and zipfile raise what they like for damaged files
            log.warning("the kept choice in %s is damaged, so it is made again: %s", folder, error)
            return None

    def choice(self, backend: Backend) -> Choice:
        """What was chosen then, with what answers now."""
        return Choice(backend, self.max_batch, self.trials, self.batches, self.measured_at, kept=True)

    def converted(self) -> Converted:
        """The OpenVINO form of the model.

        Raises:
            ModelError: it cannot be read.
        """
        return Converted.read(self.folder / MODEL, self.outputs)


def keep(folder: Path, choice: Choice, answers: Heads, converted: Converted | None) -> None:
    """Writes an entry, whole or not at all. That it cannot be written is a line at level debug."""
    try:
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=".new-", dir=folder.parent))
    except OSError as error:
        log.debug("the choice is not kept: %s", error)
        return
    try:
        if converted is not None:
            converted.save(made / MODEL)
        named: dict[str, Any] = {str(number): head for number, head in enumerate(answers)}
        np.savez(made / ANSWERS, **named)
        told: dict[str, Any] = {
            "max_batch": choice.max_batch,
            "trials": [asdict(trial) for trial in choice.trials],
            "batches": dict(choice.batches),
            "measured_at": choice.measured_at,
            "outputs": converted.outputs if converted else [],
        }
        (made / CHOICE).write_text(json.dumps(told, indent=1) + "\n", "utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        made.rename(folder)
        _prune(folder.parent)
    except (OSError, RuntimeError) as error:  # a full disk; another start that was quicker by a hair
        log.debug("the choice is not kept: %s", error)
    finally:
        shutil.rmtree(made, ignore_errors=True)


def used(folder: Path) -> None:
    """Notes that an entry was used now."""
    with suppress(OSError):  # it may be read only
        os.utime(folder)


def _prune(parent: Path) -> None:
    for half in parent.glob(".new-*"):
        if time.time() - half.stat().st_mtime > LEFT_BEHIND_S:
            shutil.rmtree(half, ignore_errors=True)
    entries: Iterable[Path] = (one.parent for one in parent.glob(f"*/{CHOICE}"))
    for old in sorted(entries, key=lambda one: one.stat().st_mtime)[:-MOST_ENTRIES]:
        shutil.rmtree(old, ignore_errors=True)
