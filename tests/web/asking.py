"""One request to the application, without a server between, and what it may be answered with."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from typing import Any

import httpx
import numpy as np

from consumer.events import Answer, ImageInfo, ModelInfo, Prediction

INFO = ModelInfo("garments", "7", "tensorflow")
PREDICTION = Prediction(
    {"print": {"solid": float(np.float32(0.9731)), "floral": 0.1 + 0.2}},
    ImageInfo("00", "JPEG", 640, 480, 12345),
)
PREDICT = "/predict/?url=http://images.example/a.jpg"


def done(answer: Answer) -> Future[Answer]:
    future: Future[Answer] = Future()
    future.set_result(answer)
    return future


def never(_: str) -> Future[Answer]:
    return Future()


def ask(app: Any, path: str, method: str = "GET", **more: Any) -> httpx.Response:
    """One request, without a server between."""

    async def asked() -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
            return await client.request(method, path, **more)

    return asyncio.run(asked())


def code(response: httpx.Response) -> tuple[int, str]:
    """Status and code of a failure in the contract's form."""
    assert set(response.json()) == {"detail", "code"}
    assert response.json()["detail"]
    return response.status_code, response.json()["code"]
