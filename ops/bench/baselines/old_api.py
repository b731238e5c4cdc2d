"""The old web API's way: ``python -m ops.bench.baselines.old_api MODEL_DIR PORT``.

FastAPI; each request downloads its image with `requests` and asks ``model.predict`` for this one.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

import keras
import numpy as np
import requests
import uvicorn
from fastapi import FastAPI
from PIL import Image

from consumer.model import ModelConfig


def application(folder: Path) -> FastAPI:
    """The API with its model loaded."""
    config = ModelConfig.read(folder)
    model = keras.models.load_model(config.model_path)
    app = FastAPI()

    @app.get("/predict/")
    def predict(url: str) -> dict[str, object]:
        image = Image.open(io.BytesIO(requests.get(url, timeout=10).content)).convert("RGB")
        pixels = np.asarray(image.resize(config.input_size, Image.Resampling.BICUBIC))
        heads = model.predict(pixels[None].astype(np.float32), verbose=0)
        named = {
            task: dict(zip(labels, map(float, head[0]), strict=True))
            for (task, labels), head in zip(config.tasks.items(), heads, strict=True)
        }
        return {"url": url, "predictions": named}

    return app


if __name__ == "__main__":
    uvicorn.run(application(Path(sys.argv[1])), host="127.0.0.1", port=int(sys.argv[2]), log_level="warning")
