"""Images in memory stay within the threads that fetch and the places at the model, however large and many they are."""

from __future__ import annotations

import io
import threading
import tracemalloc
from collections.abc import Iterator, Sequence
from concurrent.futures import wait
from ipaddress import ip_network
from typing import Any

import pytest
from PIL import Image

from consumer.events import Prediction, Probabilities
from consumer.fetching import Fetcher
from consumer.model import Batcher
from consumer.predictor import Predictor
from consumer.settings import Settings
from tests.decoding.in_thread import InThread
from tests.fetching.server import HostileServer, ok

THREADS, PLACES, BATCH = 4, 2, 2
IMAGE_BYTES = 2**20
EVENTS = 40


@pytest.fixture
def server() -> Iterator[HostileServer]:
    with HostileServer() as made:
        yield made


class StandingModel:
    """Answers nothing until it is let go."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.go = threading.Event()

    def __call__(self, images: Any) -> Sequence[Probabilities]:
        self.asked.set()
        assert self.go.wait(20)
        return [{"print": {"solid": 1.0}}] * len(images)


class Places(threading.BoundedSemaphore):
    """Tells how many images want a place at the model, or have one."""

    def __init__(self, value: int) -> None:
        super().__init__(value)
        self.wanted = threading.Semaphore(0)

    def acquire(self, blocking: bool = True, timeout: float | None = None) -> bool:
        self.wanted.release()
        return super().acquire(blocking, timeout)


def test_while_the_model_stands_still_no_more_images_are_in_memory_than_threads_and_places(
    server: HostileServer,
) -> None:
    file = io.BytesIO()
    Image.new("RGB", (20, 10), "red").save(file, "PNG")
    body = file.getvalue().ljust(IMAGE_BYTES, b"\0")  # what is behind a picture's end takes memory all the same
    urls = [server.serve(f"/{number}", ok(body)) for number in range(EVENTS)]
    settings = Settings(
        fetch_allow_nets=(ip_network("127.0.0.0/8"),),
        fetch_allow_ports=None,
        fetch_concurrency=THREADS,
        fetch_deadline_s=60.0,
    )
    model = StandingModel()
    fetcher, batcher = Fetcher(settings), Batcher(model, BATCH, 0.0)
    predictor = Predictor(fetcher, InThread((8, 8), 10_000), batcher, waiting=PLACES)
    places = Places(PLACES)
    setattr(predictor, "_places", places)  # noqa: B010 - so that the test can wait until everything stands still
    tracemalloc.start()
    try:
        answers = [predictor.submit(url) for url in urls]
        for _ in range(PLACES + 3 * THREADS // 4):  # as many threads as one machine's images may hold, and the places
            assert places.wanted.acquire(timeout=10)
        assert model.asked.is_set()
        assert len(server.seen) <= PLACES + THREADS
        assert tracemalloc.get_traced_memory()[0] < (THREADS + 1) * IMAGE_BYTES
        model.go.set()
        assert not wait(answers, 30).not_done
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        model.go.set()
        fetcher.close()
        batcher.close()
    assert all(isinstance(answer.result(), Prediction) for answer in answers)
    assert most < 2 * (THREADS + 1) * IMAGE_BYTES  # while one arrives, its parts and the whole are there
