"""From a configuration to the backend that answers: the kept choice if it holds, else a measured one."""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path

from consumer.errors import ModelError
from consumer.model import kept
from consumer.model.choice import Choice
from consumer.model.config import ModelConfig
from consumer.model.heads import Pixels, check_heads
from consumer.model.int8_copy import Int8Copy
from consumer.model.keras_files import in_one_line
from consumer.model.loading import load_graph
from consumer.model.probes import Probes, probe_images
from consumer.model.selection import Workshop, select
from consumer.model.tensorflow import TensorFlowBackend, set_threads
from consumer.model.trials import Backend, Trial
from consumer.settings import Settings

log = logging.getLogger(__name__)


def choose(config: ModelConfig, settings: Settings, copy: Int8Copy | None) -> Choice:
    """What answers, checked against the reference's answers for probe images.

    With an int8 copy the probe images are the pictures that came with it, else they are drawn.

    Raises:
        ModelError: the model cannot be loaded, does not fit its configuration, or not be run as asked.
    """
    images = probe_images(config.input_size) if copy is None else copy.probes
    cache = kept.cache_folder()
    folder = cache and cache / kept.key_of(config, settings, copy)
    if folder and (entry := kept.Kept.read(folder)):
        try:
            return _resumed(entry, config, copy, images)
        except Exception as error:  # noqa: BLE001 - whatever a file may hold, the model itself can still be measured
            reason = error if isinstance(error, ModelError) else in_one_line(error)
            log.warning("the kept choice in %s does not hold, so it is made again: %s", folder, reason)
    return _measured(config, settings, copy, images, folder)


def _resumed(entry: kept.Kept, config: ModelConfig, copy: Int8Copy | None, images: Pixels) -> Choice:
    """The kept choice, after a look whether it answers as the reference did.

    Raises:
        ModelError: it does not, or cannot be had.
    """
    backend = _again(entry, config, copy)
    trial = Trial.of(backend, Probes(images, entry.answers))
    if not trial.agrees:
        raise ModelError(f"{trial.backend} {trial.precision}: {trial.disagreement or trial.problem}")
    choice = entry.choice(backend)
    _tell(choice)
    kept.used(entry.folder)
    log.info("%s in %s is taken as it was then, and still agrees", backend.name, backend.precision)
    return choice


def _again(entry: kept.Kept, config: ModelConfig, copy: Int8Copy | None) -> Backend:
    """The chosen backend; without TensorFlow if it is OpenVINO's."""
    if entry.backend == "tensorflow":
        return Workshop(load_reference(config), copy).make(entry.backend, entry.precision)
    if entry.precision != "int8":
        converted = entry.converted()
    elif copy is not None:
        converted = copy.converted()
    else:
        raise ModelError("it is of an int8 copy that is not there any more")
    compiled = entry.folder / kept.COMPILED
    may_keep = compiled.is_dir() or os.access(entry.folder, os.W_OK)  # a folder that is read only is read all the same
    return converted.backend(entry.precision, compiled if may_keep else None)


def _measured(
    config: ModelConfig, settings: Settings, copy: Int8Copy | None, images: Pixels, folder: Path | None
) -> Choice:
    """A choice by measuring, kept in ``folder`` for the next start."""
    workshop = Workshop(reference := load_reference(config), copy)
    probes = Probes.asked(reference, images)
    began = time.monotonic()
    choice = select(workshop, probes, settings)
    took = time.monotonic() - began
    _tell(choice)
    log.info("%s in %s is taken, found out in %.1f s", choice.backend.name, choice.backend.precision, took)
    if folder is not None:
        of_openvino = choice.backend.name == "openvino" and choice.backend.precision != "int8"
        kept.keep(folder, choice, probes.answers, workshop.converted if of_openvino else None)
    return choice


def _tell(choice: Choice) -> None:
    for line in choice.told():
        log.info("%s", line)


def load_reference(config: ModelConfig) -> TensorFlowBackend:
    """The model in TensorFlow, its heads checked on probe images.

    Raises:
        ModelError: it cannot be loaded, or does not fit its configuration.
    """
    began = time.monotonic()
    set_threads()
    imported = time.monotonic()
    graph = load_graph(config)
    try:
        reference = TensorFlowBackend(graph, config.input_size)
        heads = reference(probe_images(config.input_size))
    except ModelError:
        raise
    except Exception as error:  # noqa: BLE001 - TensorFlow raises what it likes for a graph that does not fit
        width, height = config.input_size
        raise ModelError(
            f"{config.model_path} cannot be run on images of width {width} and height {height} ({in_one_line(error)})"
        ) from None
    check_heads(config, heads)
    log.info(
        "TensorFlow imported in %.1f s; %s (%.1f MB) loaded in %.1f s",
        *(imported - began, config.model_path, config.model_bytes / 1e6, time.monotonic() - imported),
    )
    return reference
