"""The models that are measured: Xception with three heads at 224 × 224, and the one that ships.

Xception has seeded weights, made so that precisions have something to agree on, as those of a trained model do:
its batch norms hold the statistics of real activations (else they vanish or explode on the way), its residual
branches are small against what they are added to, and its heads are fitted to the pictures, with clear margins.
It is made once, and kept in ``.cache/bench``.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray
from PIL import Image

from consumer.model.heads import Pixels
from consumer.model.model import SHIPPED
from consumer.model.probes import probe_images
from ops.bench.pictures import SIZES, TASKS, jpeg, picture, truth
from ops.bench.processes import BenchError

CACHE = Path(__file__).parents[2] / ".cache" / "bench"
SEED = 1
SIDE = 224
FITTED = 160
"""Pictures that the heads are fitted to."""
CALIBRATED = 80
"""Pictures for the int8 copy, half of which are held out: enough for drawn ones, and a minute quicker than 800."""
BRANCH = 0.2
"""Gain of the last batch norm of each residual branch."""
MARGIN = 8.0
"""Lead of the right label's logit: its probability is near 1, and a hundredth of noise does not turn it."""
RIDGE = 1e-2

Tell = Callable[[str], None]


def model_folder(name: str, tell: Tell) -> Path:
    """The directory of ``xception`` or ``shipped``, made if it is not there; ``tell`` hears what takes long."""
    if name == "shipped":
        return SHIPPED
    folder = CACHE / f"xception-{SIDE}-{SEED}"
    if not (folder / "config.yml").exists():
        tell("making the Xception model, once")
        _in_own_process(folder)
    return folder


def with_int8_copy(folder: Path, tell: Tell) -> bool:
    """Quantises the Xception model, once, with the command that users have; whether a copy is there."""
    if folder == SHIPPED:
        return False
    if not list(folder.glob("*.int8")):
        tell("quantising the Xception model, once")
        pictures = folder / "pictures"
        pictures.mkdir(exist_ok=True)
        for number in range(CALIBRATED):
            (pictures / f"{number}.jpg").write_bytes(jpeg(number, SIZES["385x500"]))
        command = [sys.executable, "-m", "producer_tools", "quantize", str(folder), str(pictures)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            tell(f"without int8: {done.stderr.strip().splitlines()[-1] if done.stderr.strip() else 'no reason given'}")
            return False
    return True


def _in_own_process(folder: Path) -> None:
    """TensorFlow's memory and threads go with the process."""
    environ = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, "-m", "ops.bench.models", str(folder)]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchError(f"the model cannot be made:\n{done.stderr[-2000:]}")


def make(folder: Path) -> None:
    """Builds, calibrates and fits the model, and writes it with its configuration."""
    import keras  # noqa: PLC0415 - TensorFlow takes seconds to import

    keras.utils.set_random_seed(SEED)
    base = keras.applications.Xception(weights=None, include_top=False, pooling="avg", input_shape=(SIDE, SIDE, 3))
    inputs = keras.Input((SIDE, SIDE, 3))
    features = base(keras.layers.Rescaling(1 / 127.5, offset=-1)(inputs))
    heads = [keras.layers.Dense(len(labels), activation="softmax", name=task) for task, labels in TASKS.items()]
    model = keras.Model(inputs, [head(features) for head in heads])

    images = np.stack([_small(number) for number in range(FITTED)])
    _calibrate(base, keras, images[:64])
    probes = probe_images((SIDE, SIDE))
    seen = np.concatenate([images, probes])
    found = base.predict(seen.astype(np.float32) / 127.5 - 1, batch_size=16, verbose=0)
    answers = np.array([truth(number) for number in range(len(seen))])  # any answers will do for the probe images
    for place, head in enumerate(heads):
        head.set_weights(_fit(found, answers[:, place], head.units))
    folder.mkdir(parents=True, exist_ok=True)
    model.save(folder / "model.keras")
    config = {
        "paths": {"model_path": "./model.keras"},
        "model": {
            "name": f"xception-{SIDE}",
            "input_shape": [SIDE, SIDE],
            "target_encoder": {task: list(labels) for task, labels in TASKS.items()},
        },
    }
    (folder / "config.yml").write_text(yaml.safe_dump(config, sort_keys=False), "utf-8")


def _small(number: int) -> Pixels:
    resized = Image.fromarray(picture(number, SIZES["385x500"])).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    return np.asarray(resized)


def _calibrate(base: Any, keras: Any, images: Pixels) -> None:
    """One pass in training mode: each batch norm takes this batch's statistics for its own."""
    norms = [layer for layer in base.layers if isinstance(layer, keras.layers.BatchNormalization)]
    for norm in norms:
        norm.momentum = 0.0
        if norm.name.endswith(("_sepconv2_bn", "_sepconv3_bn")) and not norm.name.startswith(("block1_", "block14_")):
            norm.gamma.assign(norm.gamma * BRANCH)
    base(images.astype(np.float32) / 127.5 - 1, training=True)
    for norm in norms:
        norm.momentum = 0.99


def _fit(features: NDArray[np.float32], answers: NDArray[np.int64], labels: int) -> list[NDArray[np.float32]]:
    """Weights and biases of one head: ridge regression onto ±`MARGIN`/2."""
    mean = features.mean(0)
    centred = (features - mean).astype(np.float64)
    wanted = np.where(np.arange(labels) == answers[:, None], MARGIN / 2, -MARGIN / 2)
    kernel = centred @ centred.T
    weights = centred.T @ np.linalg.solve(kernel + RIDGE * np.trace(kernel) / len(kernel) * np.eye(len(kernel)), wanted)
    return [weights.astype(np.float32), (-mean @ weights).astype(np.float32)]


if __name__ == "__main__":
    make(Path(sys.argv[1]))
