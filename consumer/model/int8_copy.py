"""An int8 copy of a model, as it stands beside the configuration: `MODEL_DIR/model.keras.int8/`.

::

    model.xml, model.bin   the copy, in OpenVINO's form; serving needs no NNCF
    probes.npz             pictures at the model's input size, which a start holds the copy against the model on
    agreement.json         the report: whose copy it is, how it was made, how well it agrees, what the files hold

The report names the SHA-256 of the weights that the copy was made from, and of each file: a copy of other
weights, or one that was not copied whole, is refused.

The probe pictures are held-out ones on which the copy agreed well. How well it agrees in general the report
says; what a start has to see is that this machine computes what was measured there: without VNNI, for one,
int8 products may saturate.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from consumer.errors import ModelError
from consumer.model.config import ModelConfig, int8_folder
from consumer.model.heads import Pixels
from consumer.model.openvino import Converted

REPORT, MODEL, WEIGHTS, PROBES = "agreement.json", "model.xml", "model.bin", "probes.npz"
FORMAT = 1


def folder_of(config: ModelConfig) -> Path:
    """Where the copy of a model stands."""
    return int8_folder(config.file, config.model_path)


@dataclass(frozen=True, slots=True)
class Int8Copy:
    """A copy that belongs to the model, whole.

    Attributes:
        folder: where it stands.
        agreement: how well it agreed with the model on all held-out pictures, in words; nothing if it is not told.
        outputs: the names of its outputs in the order of the tasks.
        probes: uint8 (n, height, width, 3).
        digest: SHA-256 of its report in hex.
    """

    folder: Path
    outputs: tuple[str, ...]
    probes: Pixels
    digest: str
    agreement: str = ""

    @classmethod
    def beside(cls, config: ModelConfig) -> Int8Copy | None:
        """The model's copy, or null if there is none.

        Raises:
            ModelError: there is one that is damaged or was made for another model.
        """
        folder = folder_of(config)
        if not folder.exists():
            return None
        again = f"make it again (image-tools quantize {config.file.parent} IMAGES), or delete that directory"
        try:
            text = (folder / REPORT).read_bytes()
            report = json.loads(text)
            strangeness = _strangeness(report, config)
            if not strangeness:
                broken = [name for name, told in report["files"].items() if _sha256(folder / name) != told]
                if broken:
                    raise ModelError(f"the int8 copy {folder} is damaged ({', '.join(broken)}): {again}")
                with (folder / PROBES).open("rb") as raw, np.load(raw, allow_pickle=False) as file:
                    probes = file["images"]
                digest = hashlib.sha256(text).hexdigest()
                return cls(folder, tuple(report["outputs"]), probes, digest, _agreement(report))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ModelError(f"the int8 copy {folder} is damaged ({type(error).__name__}: {error}): {again}") from None
        raise ModelError(f"the int8 copy {folder} was made for another version of the model ({strangeness}): {again}")

    def converted(self) -> Converted:
        """Reads the copy.

        Raises:
            ModelError: it cannot be read.
        """
        return Converted.read(self.folder / MODEL, self.outputs)


def _strangeness(report: Mapping[str, Any], config: ModelConfig) -> str:
    """Why a copy with this report is not one of the model, or nothing."""
    made_for, size, tasks = report["model"]["weights"], tuple(report["input_size"]), list(report.get("tasks", ()))
    if report["format"] != FORMAT:
        return f"format {report['format']}, not {FORMAT}"
    if made_for != config.weights:
        return f"weights {str(made_for)[:12]}, not {config.weights[:12]}"
    if size != config.input_size:
        return f"input {size}, not {config.input_size}"
    if tasks != list(config.tasks) and sorted(tasks) == sorted(config.tasks):  # of other names its outputs know nothing
        return f"tasks in the order {', '.join(tasks)}"
    return ""


def _agreement(report: Mapping[str, Any]) -> str:
    tasks = report.get("tasks") or {}
    if not tasks:
        return ""
    equal = ", ".join(f"{100 * one['labels_equal']:.1f}" for one in tasks.values())
    largest = max(one["largest_difference"] for one in tasks.values())
    held_out = report["pictures"]["held_out"]
    return f"labels equal on {equal} % of {held_out} held-out pictures, largest difference {largest:.4f}"


def refuse_unwritable(config: ModelConfig) -> None:
    """Raises `ModelError` where a copy could not be written: better known before the minutes that it takes."""
    parent = folder_of(config).parent
    if not os.access(parent, os.W_OK | os.X_OK):
        raise ModelError(f"{parent} cannot be written, where the int8 copy goes: name a copy of it that can be")


def write(config: ModelConfig, converted: Converted, probes: Pixels, report: Mapping[str, Any]) -> Path:
    """Puts a copy in its place, whole or not at all; one that stands there is replaced.

    Args:
        config: the model's.
        converted: the quantised model.
        probes: pictures for a start to ask, uint8 (n, height, width, 3).
        report: what else the report says, for JSON.

    Returns:
        The copy's directory.

    Raises:
        ModelError: the directory cannot be written.
    """
    folder = folder_of(config)
    try:
        made = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    except OSError as error:
        raise ModelError(f"{folder.parent} cannot be written: {error.strerror}") from None
    try:
        made.chmod(0o755)  # mkdtemp's is 0700, and the service may run as somebody else
        converted.save(made / MODEL)
        np.savez_compressed(made / PROBES, images=probes)
        whole = {
            "format": FORMAT,
            "model": {"name": config.name, "version": config.version, "weights": config.weights},
            "input_size": config.input_size,
            "outputs": converted.outputs,
            **report,
            "files": {name: _sha256(made / name) for name in (MODEL, WEIGHTS, PROBES)},
        }
        (made / REPORT).write_text(json.dumps(whole, indent=2, ensure_ascii=False) + "\n", "utf-8")
        _put(made, folder)
    except (OSError, RuntimeError) as error:
        raise ModelError(f"the int8 copy cannot be written to {folder}: {error}") from None
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return folder


def _put(made: Path, folder: Path) -> None:
    """Renames ``made`` to ``folder``. A directory cannot be replaced in one step: for an instant there is no copy."""
    if folder.exists():
        old = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        os.replace(folder, old)  # onto an empty directory
        os.replace(made, folder)
        shutil.rmtree(old)
    else:
        os.replace(made, folder)


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
