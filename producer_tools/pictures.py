"""A folder of pictures → what a model sees of them, through the service's own decoding."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from consumer.errors import EventError, SettingsError, TooLarge
from consumer.imaging import decode_image
from consumer.settings import Settings


@dataclass(slots=True)
class Pictures:
    """Pictures that could be read, each once, in an order that the seed chose.

    Attributes:
        images: uint8 (height, width, 3) each.
        skipped: files that could not be read.
        twice: files that hold the very bytes of another one.
    """

    images: list[NDArray[np.uint8]] = field(default_factory=list)
    skipped: int = 0
    twice: int = 0

    def stacked(self, start: int, end: int) -> NDArray[np.uint8]:
        """Some of them as one array (n, height, width, 3)."""
        return np.stack(self.images[start:end])


def files_in(folder: Path, seed: int) -> list[Path]:
    """Every file under ``folder``, hidden ones aside, in an order that hangs on the seed and their names alone.

    Raises:
        SettingsError: there is no such folder, or nothing in it.
    """
    if not folder.is_dir():
        raise SettingsError(f"{folder} is no folder of pictures")
    files = sorted(one for one in folder.rglob("*") if one.is_file() and not _hidden(one.relative_to(folder)))
    if not files:
        raise SettingsError(f"{folder} has no files: it should hold pictures, at any depth")
    random.Random(seed).shuffle(files)  # noqa: S311 - which pictures are held out is no secret
    return files


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def read_pictures(
    files: Iterator[Path], size: tuple[int, int], settings: Settings, most: int, complain: Callable[[str], None]
) -> Pictures:
    """Decodes files until there are ``most``, with the limits of serving; names those that it skips.

    Args:
        files: in the order in which they are taken.
        size: width and height of the model's input.
        settings: `FETCH_MAX_BYTES` and `IMAGE_MAX_PIXELS` hold here too.
        most: how many to read.
        complain: is told of each file that cannot be read.
    """
    found, seen = Pictures(), set[str]()
    for file in files:
        try:
            image = decode_image(_body(file, settings), size=size, max_pixels=settings.image_max_pixels)
        except (EventError, OSError) as error:
            found.skipped += 1
            told = error.strerror if isinstance(error, OSError) and error.strerror else error
            complain(f"skipped {file}: {told}")
            continue
        if image.info.sha256 in seen:
            found.twice += 1
            continue
        seen.add(image.info.sha256)
        found.images.append(image.pixels)
        if len(found.images) == most:
            break
    return found


def _body(file: Path, settings: Settings) -> bytes:
    if (size := file.stat().st_size) > settings.fetch_max_bytes:
        raise TooLarge(f"{size} bytes are more than {settings.fetch_max_bytes} (FETCH_MAX_BYTES)")
    return file.read_bytes()
