"""Sharing fetches and recalling answers save work and change no outcome: any mix of events, both on and both off."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from ipaddress import ip_network
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from consumer.answer_cache import AnswerCache
from consumer.events import Answer, Prediction, Probabilities
from consumer.fetching import Fetcher
from consumer.fetching.retry import Retries
from consumer.model import Batcher
from consumer.predictor import Predictor
from consumer.settings import Settings
from tests.decoding.in_thread import InThread
from tests.fetching.server import Answer as Reply
from tests.fetching.server import HostileServer, head, ok, redirect


def picture(shade: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (20, 10), (shade, 0, 0)).save(file, "PNG")
    return file.getvalue()


REPLIES: dict[str, Reply] = {
    "/one": ok(picture(10)),
    "/the-same": ok(picture(10)),
    "/two": ok(picture(200)),
    "/three": ok(picture(90)),
    "/leads-to-one": redirect("/one"),
    "/leads-to-itself": redirect("/leads-to-itself"),
    "/leads-away": redirect("http://10.1.2.3/"),
    "/missing": (head("404 Not Found", "Content-Length: 0"), "keep"),
    "/busy": (head("503 Service Unavailable", "Content-Length: 0"), "keep"),
    "/page": ok(b"<!doctype html>"),
    "/cut": ok(picture(10)[:60]),
}
CALLS: list[int] = []
"""How many images the model was asked about, call by call."""

URLS = [*REPLIES, "not a URL", "http://10.1.2.3/private"]


def predict(images: Any) -> Sequence[Probabilities]:
    """A model that tells shades apart."""
    CALLS.append(len(images))
    shades = np.asarray(images)[:, 0, 0, 0].astype(float) / 255
    return [{"shade": {"red": shade, "black": 1 - shade}} for shade in shades.tolist()]


@contextmanager
def running(*, on: bool, per_host: int, kept_bytes: int) -> Iterator[tuple[Predictor, Fetcher]]:
    ours = Settings(
        fetch_allow_nets=(ip_network("127.0.0.0/8"),),
        fetch_allow_ports=None,
        fetch_per_host=per_host,
        fetch_concurrency=4,
        fetch_shared=on,
    )
    fetcher, batcher = Fetcher(ours), Batcher(predict, 4, 0.0)
    cache = AnswerCache(kept_bytes) if on else None
    yield Predictor(fetcher, InThread((8, 8), 10_000), batcher, waiting=4, cache=cache), fetcher
    fetcher.close()
    batcher.close()


@pytest.fixture(scope="module")
def server() -> Iterator[HostileServer]:
    with HostileServer() as made:
        for path, reply in REPLIES.items():
            made.serve(path, reply)
        yield made


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Retries.__init__, "__defaults__", (lambda _low, high: high / 50,))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    events=st.lists(st.tuples(st.sampled_from(URLS), st.booleans()), max_size=30),
    held=st.integers(0, 30),
    per_host=st.integers(1, 3),
    kept_bytes=st.sampled_from([0, 1500, 2**20]),
)
def test_every_event_of_any_mix_has_the_outcome_that_it_has_alone(
    server: HostileServer, events: list[tuple[str, bool]], held: int, per_host: int, kept_bytes: int
) -> None:
    """``held`` of them come in before the host's first answer goes out, the others while it answers."""
    bounds = {"per_host": per_host, "kept_bytes": kept_bytes}
    alone, together = (_outcomes(server, events, held, on=on, **bounds) for on in (False, True))
    assert together == alone


def _outcomes(
    server: HostileServer, events: list[tuple[str, bool]], held: int, *, on: bool, **bounds: int
) -> list[Answer]:
    go = threading.Event()
    with running(on=on, **bounds) as (predictor, fetcher):
        server.on_request = lambda: None
        fetcher.fetch(server.url("/one"))
        server.on_request = lambda: _wait(go)
        answers: list[Future[Answer]] = []
        for number, (path, urgent) in enumerate(events):
            if number == held:
                go.set()
            url = server.url(path) if path.startswith("/") else path
            answers.append(predictor.submit(url, urgent=urgent))
        go.set()
        return [one.result(20) for one in answers]


def _wait(go: threading.Event) -> None:
    assert go.wait(10)


def test_a_burst_for_one_image_costs_two_fetches_and_at_most_two_images_in_the_model(server: HostileServer) -> None:
    """One is under way when the others come, and they share the next."""
    go, asked = threading.Event(), threading.Event()

    def hold() -> None:
        asked.set()
        _wait(go)

    CALLS.clear()
    with running(on=True, per_host=1, kept_bytes=2**20) as (predictor, fetcher):
        server.on_request = lambda: None
        fetcher.fetch(server.url("/two"))
        before = len(server.seen)
        server.on_request = hold
        answers = [predictor.submit(server.url("/one"))]
        assert asked.wait(10)
        answers += [predictor.submit(server.url("/one")) for _ in range(49)]
        go.set()
        assert all(isinstance(one.result(20), Prediction) for one in answers)
    assert len(server.seen) - before == 2
    assert sum(CALLS) <= 2
