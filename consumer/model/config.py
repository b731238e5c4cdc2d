"""A model's configuration: where its file is, what goes in, and what its heads are called."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from consumer.errors import ModelError

MAX_SIDE = 4096
"""Largest width or height of a model's input, in pixels: far past any classifier."""

_MERGE = "tag:yaml.org,2002:merge"


class _TextLoader(yaml.SafeLoader):
    """Every scalar is the text that the author wrote; a key may stand only once.

    YAML 1.1 reads ``no``, ``on`` and ``1`` as false, true and a number, and ``no`` is a fine label. Tags
    are ignored, so that those of a training configuration (``!include …``) do no harm; merge keys work.
    """

    yaml_implicit_resolvers = {"<": [(_MERGE, re.compile("<<"))]}  # noqa: RUF012 - PyYAML's own form
    yaml_constructors = {}  # noqa: RUF012 - without one PyYAML goes by the node: text, list, mapping

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        """Refuses a key that stands twice, of which PyYAML would keep the last without a word."""
        seen = set()
        for key, _ in node.value if isinstance(node, yaml.MappingNode) else []:
            if isinstance(key, yaml.ScalarNode) and key.tag != _MERGE:
                if key.value in seen:
                    raise yaml.MarkedYAMLError(problem=f"the key {key.value} stands twice", problem_mark=key.start_mark)
                seen.add(key.value)
        return super().construct_mapping(node, deep)


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """What `config.yml` says.

    Attributes:
        name: of the model, for its outcomes; without `model.name` the directory's.
        version: `model.version`, or the first 12 hex digits of the SHA-256 of the model's files.
        model_path: the `.keras` or `.h5` file, or the SavedModel directory.
        input_size: width and height of the input, in pixels.
        tasks: task → its labels, both in the model's output order.
        weights: SHA-256 of the model's files in hex; it tells whether something kept was made for them.
        file: the configuration file, beside which an int8 copy stands.
    """

    name: str
    version: str
    model_path: Path
    input_size: tuple[int, int]
    tasks: Mapping[str, tuple[str, ...]]
    weights: str = ""
    file: Path = Path("config.yml")

    @classmethod
    def read(cls, path: Path) -> ModelConfig:
        """Reads a configuration file, or the `config.yml` of a model directory.

        Raises:
            ModelError: it is missing or wrong; one line that names file, key and what is expected.
        """
        file = path / "config.yml" if path.is_dir() else path
        entry = _Entry(file, _content(file))
        model_path = file.parent / Path(entry.text("paths", "model_path")).expanduser()
        try:
            if not model_path.exists():
                raise ModelError(f"{file}: paths.model_path names {model_path}, which does not exist")
            weights = _digest(model_path, file)
            return cls(
                name=entry.text("model", "name", default="") or file.resolve().parent.name,
                version=entry.text("model", "version", default="") or weights[:12],
                model_path=model_path,
                input_size=entry.size("model", "input_shape"),
                tasks=entry.tasks("model", "target_encoder"),
                weights=weights,
                file=file,
            )
        except OSError as error:
            raise ModelError(f"{file}: {model_path} cannot be read: {error.strerror}") from None

    @property
    def model_bytes(self) -> int:
        """Size of the model's files."""
        return sum(one.stat().st_size for one in _files(self.model_path))


def _content(file: Path) -> Any:
    if file.suffix in {".keras", ".h5", ".hdf5", ".pb"}:
        raise ModelError(
            f"{file} is the model's file itself: name its directory with config.yml, or that file (MODEL_PATH)"
        )
    try:
        return yaml.load(file.read_bytes(), Loader=_TextLoader)  # noqa: S506 - a SafeLoader
    except FileNotFoundError:
        raise ModelError(
            f"{file} does not exist: a model is a directory with config.yml, or that file (MODEL_PATH)"
        ) from None
    except OSError as error:
        raise ModelError(f"{file} cannot be read: {error.strerror}") from None
    except yaml.YAMLError as error:
        told = " ".join(str(error).replace('"<byte string>", ', "").split())
        raise ModelError(f"{file} is no YAML: {told}") from None
    except RecursionError:
        raise ModelError(f"{file} is no YAML of ours: it is nested too deeply") from None


@dataclass(frozen=True, slots=True)
class _Entry:
    """A value of the file by its keys, or a `ModelError` that names them."""

    file: Path
    content: Any

    def text(self, *keys: str, default: str | None = None) -> str:
        value = self._at(keys, "a text", default)
        if not isinstance(value, str) or (not value.strip() and default is None):
            raise self._wrong(keys, "a text")
        return value.strip() or default or ""

    def size(self, *keys: str) -> tuple[int, int]:
        expected = f"a list of width and height in pixels, each from 1 to {MAX_SIDE}"
        value = self._at(keys, expected)
        texts = [one for one in value if isinstance(one, str)] if isinstance(value, list) else []
        sides = [int(one) for one in texts if re.fullmatch(r"[0-9]{1,5}", one)]
        # A third number is the channels, as training configurations write it.
        if len(sides) not in {2, 3} or len(sides) != len(value) or not all(1 <= one <= MAX_SIDE for one in sides[:2]):
            raise self._wrong(keys, expected)
        if len(sides) == 3 and sides[2] != 3:
            raise self._wrong(keys, "3 channels, if any are named: images are RGB")
        return sides[0], sides[1]

    def tasks(self, *keys: str) -> dict[str, tuple[str, ...]]:
        expected = "a mapping of task to its list of labels"
        value = self._at(keys, expected)
        if not isinstance(value, dict) or not value:
            raise self._wrong(keys, expected)
        for task, labels in value.items():
            if not isinstance(task, str) or not task.strip():
                raise self._wrong(keys, "a mapping whose tasks have names")
            texts = isinstance(labels, list) and all(isinstance(one, str) and one.strip() for one in labels)
            if not texts or len(labels) < 2:
                raise self._wrong((*keys, task), "a list of at least two labels, none of them empty")
            if len(set(labels)) < len(labels):
                twice = next(one for one in labels if labels.count(one) > 1)
                raise self._wrong((*keys, task), f"labels that differ from each other ({twice} stands twice)")
        return {task: tuple(labels) for task, labels in value.items()}

    def _at(self, keys: tuple[str, ...], expected: str, default: str | None = None) -> Any:
        value = self.content
        for key in keys:
            if not isinstance(value, dict) or key not in value:
                if default is None:
                    raise ModelError(f"{self.file}: {'.'.join(keys)} is missing: it should be {expected}")
                return default
            value = value[key]
        return value

    def _wrong(self, keys: tuple[str, ...], expected: str) -> ModelError:
        return ModelError(f"{self.file}: {'.'.join(keys)} must be {expected}")


def int8_folder(configuration: Path, model_path: Path) -> Path:
    """Where the int8 copy of a model stands: beside its configuration file."""
    return configuration.parent / f"{model_path.name}.int8"


def _files(path: Path) -> list[Path]:
    return sorted(one for one in path.rglob("*") if one.is_file()) if path.is_dir() else [path]


def _digest(path: Path, configuration: Path) -> str:
    """SHA-256 over the file, or over a directory's files in order of name; in hex.

    Where the configuration stands in that directory itself, it is not the model's, nor is an int8 copy beside it.
    """
    digest = hashlib.sha256()
    copy = int8_folder(configuration, path)
    for file in _files(path):
        if file != configuration and copy not in file.parents:
            digest.update(file.read_bytes())
    return digest.hexdigest()
