"""The shipped model's training: ``python -m consumer.demo.training`` makes ``model.keras`` and ``config.yml``.

A small convolutional network with one softmax head for each task learns from drawn garments. It is
measured on drawings that no training sees: the training's seeds lie above `consumer.demo.images.MAX_SEED`,
the measurement's below. The same options give the same weights on the same machine and versions.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from consumer.demo.drawing import HEIGHT, TASKS, WIDTH, draw_garment, truth_of
from consumer.demo.images import MAX_SEED
from consumer.imaging import decode_image

INPUT_SIZE = (128, 128)
"""Width and height of the model's input: a crew neckline is then about 8 pixels deep, a pleat 4 pixels wide."""

SHIPPED = Path(__file__).resolve().parent.parent / "shipped_model"

MEASURED = 1000
"""Drawings that the accuracy is measured on: its standard error is 0.5 points at 97 %."""

MEASURED_FROM = MAX_SEED - 10**6
"""Their first seed: far from the demo's, which count from 0."""

LEAST_ACCURACY = 0.95
"""What each task must reach before the weights are written."""

INTERRUPTED = 130
"""As a shell says of a program that Ctrl-C ended."""

BATCH = 64
LEARNING_RATE = 2e-3
_SEEDS_APART = 10**6  # training seeds between one --seed and the next; also the most drawings of one training


def pixels_of(seed: int) -> NDArray[np.uint8]:
    """The drawing as the service shows it to the model: its JPEG file, decoded and resized; (height, width, 3)."""
    return decode_image(draw_garment(seed).jpeg, size=INPUT_SIZE, max_pixels=WIDTH * HEIGHT).pixels


def truths(seeds: range) -> list[NDArray[np.int64]]:
    """The right labels' indices: one array of shape (len(seeds),) for each task, in order."""
    known = [truth_of(seed) for seed in seeds]
    return [np.array([labels.index(one[task]) for one in known]) for task, labels in TASKS.items()]


def configuration() -> dict[str, Any]:
    """What ``config.yml`` holds beside the weights."""
    return {
        "paths": {"model_path": "./model.keras"},
        "model": {
            "name": "drawn-garments",
            "version": "1",
            "input_shape": list(INPUT_SIZE),
            "target_encoder": {task: list(labels) for task, labels in TASKS.items()},
        },
    }


def build() -> Any:
    """The network: RGB 0..255, shape (n, height, width, 3) → a list of softmax outputs, one for each task."""
    from keras import Model, layers  # noqa: PLC0415 - heavy: not for --help

    def block(x: Any, filters: int, stride: int = 1) -> Any:
        x = layers.Conv2D(filters, 3, stride, padding="same", use_bias=False)(x)
        return layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))

    width, height = INPUT_SIZE
    inputs = layers.Input((height, width, 3), name="image")
    x = layers.Rescaling(1 / 127.5, offset=-1.0)(inputs)
    x = block(x, 16, stride=2)
    x = block(x, 32, stride=2)
    x = block(x, 32)
    x = layers.MaxPooling2D()(x)
    x = block(x, 64)
    x = block(x, 64)
    x = layers.MaxPooling2D()(x)
    x = block(x, 128)
    # The largest answer anywhere finds a neckline or a motif, the average tells a cloth that repeats itself.
    x = layers.Concatenate()([layers.GlobalMaxPooling2D()(x), layers.GlobalAveragePooling2D()(x)])
    x = layers.Dropout(0.2)(x)
    return Model(inputs, [layers.Dense(len(labels), "softmax", name=task)(x) for task, labels in TASKS.items()])


def train(seed: int, drawings: int, epochs: int, console: Console) -> tuple[Any, dict[str, float]]:
    """Draws, trains, measures; returns the model and its accuracy in each task."""
    first = MAX_SEED + seed * _SEEDS_APART
    seeds, held_out = range(first, first + drawings), range(MEASURED_FROM, MEASURED_FROM + MEASURED)
    # Drawn before TensorFlow starts, whose threads a machine with few cores would feel.
    pixels, measured = _draw(seeds, "drawing", console), _draw(held_out, "drawing, held out", console)

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # has to stand before the import
    import keras  # noqa: PLC0415 - see above
    import tensorflow as tf  # noqa: PLC0415 - only training needs it, and it takes seconds

    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()

    def mirrored(image: Any, labels: Any, number: Any) -> tuple[Any, Any]:
        """At random left for right: no garment here has a side of its own."""
        return tf.image.stateless_random_flip_left_right(image, tf.stack([number, seed])), labels

    once = tf.data.Dataset.from_tensor_slices((pixels, tuple(truths(seeds)))).shuffle(
        drawings, seed=seed, reshuffle_each_iteration=True
    )
    several = once.repeat(epochs).enumerate().map(lambda number, pair: (*pair, number))
    batches = several.map(mirrored, num_parallel_calls=2).batch(BATCH, drop_remainder=True).prefetch(2)
    steps = drawings // BATCH

    model = build()
    model.compile(
        keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(LEARNING_RATE, steps * epochs)),
        loss=["sparse_categorical_crossentropy"] * len(TASKS),
        metrics=[["accuracy"]] * len(TASKS),
    )
    with _progress(console) as progress:
        bar = progress.add_task("training", total=steps * epochs)
        model.fit(
            batches,
            epochs=epochs,
            steps_per_epoch=steps,
            shuffle=False,  # done above
            verbose=0,
            callbacks=[
                keras.callbacks.LambdaCallback(
                    on_train_batch_end=lambda batch, logs: progress.advance(bar),  # noqa: ARG005 - passed by name
                    on_epoch_end=lambda epoch, logs: progress.console.print(f"epoch {epoch + 1:2}  {_told(logs)}"),
                )
            ],
        )
    trained = build()  # leaves the optimizer's state behind, which is twice the size of the weights
    trained.set_weights(model.get_weights())
    outputs = trained.predict(measured, batch_size=BATCH, verbose=0)
    pairs = zip(TASKS, outputs, truths(held_out), strict=True)
    return trained, {task: float((output.argmax(1) == truth).mean()) for task, output, truth in pairs}


def write(model: Any, folder: Path) -> None:
    """Writes the weights and the configuration into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    model.save(folder / "model.keras")
    heading = "# Made by `python -m consumer.demo.training`, together with the weights.\n"
    text = yaml.safe_dump(configuration(), sort_keys=False, default_flow_style=None, width=120)
    (folder / "config.yml").write_text(heading + text, encoding="utf-8")


def _draw(seeds: range, what: str, console: Console) -> NDArray[np.uint8]:
    """The drawings' pixels, shape (n, height, width, 3)."""
    width, height = INPUT_SIZE
    pixels = np.empty((len(seeds), height, width, 3), dtype=np.uint8)
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool, _progress(console) as progress:
        drawn: Iterator[NDArray[np.uint8]] = pool.map(pixels_of, seeds, chunksize=50)
        for number, one in enumerate(progress.track(drawn, total=len(seeds), description=what)):
            pixels[number] = one
    return pixels


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=console
    )


def _told(logs: Mapping[str, float]) -> str:
    shares = "  ".join(f"{task} {logs[f'{task}_accuracy']:.3f}" for task in TASKS)
    return f"loss {logs['loss']:.3f}  accuracy: {shares}"


def main(arguments: list[str] | None = None) -> int:
    """Trains; returns 0 if every task reached `LEAST_ACCURACY` and the model was written."""
    parser = argparse.ArgumentParser(
        prog="python -m consumer.demo.training",
        description="Trains the model that the service ships with, on drawn garments; minutes on two cores.",
        epilog="examples:\n"
        "  python -m consumer.demo.training                          # makes the shipped model again\n"
        "  python -m consumer.demo.training --out ./mine --seed 7    # another one; then MODEL_PATH=./mine",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", type=Path, default=SHIPPED, help="the model directory (default: the shipped model's)")
    parser.add_argument("--seed", type=int, default=0, help="of drawings and weights, from 0 (default: %(default)s)")
    parser.add_argument("--train", type=int, default=6000, metavar="N", help="drawings (default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=8, help="times that each is seen (default: %(default)s)")
    options = parser.parse_args(arguments)
    if not 0 <= options.seed < 2**32:
        parser.error(f"--seed is {options.seed}: it must be from 0 to {2**32 - 1}")
    if not BATCH <= options.train <= _SEEDS_APART:
        parser.error(f"--train is {options.train}: it must be from {BATCH} to {_SEEDS_APART}")
    if options.epochs < 1:
        parser.error(f"--epochs is {options.epochs}: it must be at least 1")

    console = Console(highlight=False)
    try:
        model, accuracy = train(options.seed, options.train, options.epochs, console)
    except KeyboardInterrupt:
        console.print("interrupted: nothing written")
        return INTERRUPTED
    console.print(f"on {MEASURED} held-out drawings:")
    for task, share in accuracy.items():
        console.print(f"  {task:10} {share:.1%}", style="green" if share >= LEAST_ACCURACY else "red")
    if min(accuracy.values()) < LEAST_ACCURACY:
        console.print(f"nothing written: each task needs {LEAST_ACCURACY:.0%}; try more --train or --epochs")
        return 1
    write(model, options.out)
    size = (options.out / "model.keras").stat().st_size
    console.print(f"wrote {options.out}/model.keras ({size / 2**20:.1f} MiB) and config.yml")
    return 0


if __name__ == "__main__":
    sys.exit(main())
