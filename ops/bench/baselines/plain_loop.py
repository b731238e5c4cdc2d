"""A plain loop: ``python -m ops.bench.baselines.plain_loop MODEL_DIR BROKERS INPUT OUTPUT``.

Poll, download, ``tf.function``, produce, one event at a time, offsets committed by the client when it likes:
an outcome may be lost or doubled by a crash.
"""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import keras
import numpy as np
import requests
import tensorflow as tf
from confluent_kafka import Consumer, Producer
from PIL import Image

from consumer.model import ModelConfig


def main(folder: Path, brokers: str, source: str, target: str) -> None:
    """Until it is ended."""
    config = ModelConfig.read(folder)
    model = keras.models.load_model(config.model_path)
    width, height = config.input_size
    predict = tf.function(
        lambda images: model(images, training=False), input_signature=[tf.TensorSpec((1, height, width, 3), tf.float32)]
    )
    predict(tf.zeros((1, height, width, 3)))
    session = requests.Session()
    producer = Producer({"bootstrap.servers": brokers})
    consumer = Consumer({"bootstrap.servers": brokers, "group.id": source, "auto.offset.reset": "earliest"})
    consumer.subscribe([source])
    print("ready", flush=True)
    while True:
        message = consumer.poll(1.0)
        if message is None or message.error():
            continue
        event = json.loads(message.value())
        image = Image.open(io.BytesIO(session.get(event["url"], timeout=10).content)).convert("RGB")
        pixels = np.asarray(image.resize((width, height), Image.Resampling.BICUBIC), np.float32)
        heads = [head.numpy()[0].tolist() for head in predict(tf.constant(pixels[None]))]
        named = {
            task: dict(zip(labels, head, strict=True))
            for (task, labels), head in zip(config.tasks.items(), heads, strict=True)
        }
        outcome = json.dumps({"event_id": event["event_id"], "predictions": named})
        producer.produce(target, outcome, message.key(), headers={"ce_id": event["event_id"]})
        producer.poll(0)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:5])
