"""``GET /predict/``: what it answers, whom, and how much of it at a time."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import numpy as np
import pytest

from consumer.errors import FetchError, HttpStatus, ImageCorrupt, Overloaded, event_errors
from consumer.events import Answer, Failure, Prediction
from tests.web.asking import PREDICT, PREDICTION, ask, code, done, never


@pytest.mark.parametrize("path", ["/predict/", "/predict"])
def test_a_prediction_is_the_url_and_the_probabilities(app_with: Callable[..., Any], path: str) -> None:
    asked = []

    def submit(url: str) -> Future[Answer]:
        asked.append(url)
        return done(PREDICTION)

    response = ask(app_with(submit), path, params={"url": "https://images.example/a?w=1&h=2#ä"})
    assert response.status_code == 200
    assert asked == ["https://images.example/a?w=1&h=2#ä"]
    assert response.json() == {
        "url": "https://images.example/a?w=1&h=2#ä",
        "predictions": {"print": {"solid": 0.9731, "floral": 0.1 + 0.2}},
    }


def test_a_float32_is_told_in_its_shortest_form_and_read_back_bit_for_bit(app_with: Callable[..., Any]) -> None:
    values = np.random.default_rng(1).random(1000, np.float32) ** 8
    answer = Prediction({"task": {str(i): float(p) for i, p in enumerate(values)}}, PREDICTION.image)
    response = ask(app_with(lambda _: done(answer)), PREDICT)
    numbers = list(response.json()["predictions"]["task"].values())
    assert np.array_equal(np.array(numbers, np.float32), values)
    assert len(response.text) < 1000 * len('"999":1.2345678e-20,')


@pytest.mark.parametrize("error", [kind for kind in event_errors() if kind.code not in {"http_status", "overloaded"}])
def test_a_failure_has_the_status_of_its_code(app_with: Callable[..., Any], error: type[FetchError]) -> None:
    response = ask(app_with(lambda _: done(Failure.of(error("it is so")))), PREDICT)
    assert code(response) == (error.http_status, error.code)
    assert response.json()["detail"] == "it is so"


def test_a_failure_may_be_raised_too(app_with: Callable[..., Any]) -> None:
    def refuse(_: str) -> Future[Answer]:
        raise HttpStatus(404)

    def fail(_: str) -> Future[Answer]:
        future: Future[Answer] = Future()
        future.set_exception(ImageCorrupt("it is cut"))
        return future

    assert code(ask(app_with(refuse), PREDICT)) == (502, "http_status")
    assert code(ask(app_with(fail), PREDICT)) == (415, "image_corrupt")


@pytest.mark.parametrize(
    ("query", "detail"),
    [
        ("", "missing"),
        ("?", "missing"),
        ("?url=", "empty"),
        ("?url=http://a/%ff", "not UTF-8"),
        ("?url=http://a/%ed%a0%80", "not UTF-8"),
        ("?URL=http://a/", "missing"),
        ("?url=http://a/&url=http://b/", "more than once"),
        ("?url=http://a/?w=1&h=2", "percent-encode"),
    ],
)
def test_the_query_is_exactly_one_url(app_with: Callable[..., Any], query: str, detail: str) -> None:
    response = ask(app_with(never), "/predict/" + query)
    assert code(response) == (422, "url_invalid")
    assert detail in response.json()["detail"]


def test_before_the_model_is_there_callers_are_told_to_come_back(app_with: Callable[..., Any]) -> None:
    response = ask(app_with(None), PREDICT)
    assert code(response) == (503, "overloaded")
    assert int(response.headers["Retry-After"]) > 0


def test_an_overload_says_when_to_come_back(app_with: Callable[..., Any]) -> None:
    def refuse(_: str) -> Future[Answer]:
        raise Overloaded("full", retry_after_s=7)

    assert ask(app_with(refuse), PREDICT).headers["Retry-After"] == "7"
    response = ask(app_with(lambda _: done(Failure.of(Overloaded("full")))), PREDICT)
    assert response.headers["Retry-After"] == "1"


def test_nobody_waits_longer_than_the_deadline_and_the_work_is_cancelled(app_with: Callable[..., Any]) -> None:
    future: Future[Answer] = Future()
    began = time.monotonic()
    response = ask(app_with(lambda _: future, deadline_s=0.05), PREDICT)
    assert code(response) == (504, "fetch_timeout")
    assert time.monotonic() - began < 3
    assert future.cancelled()


def test_work_that_the_service_gave_up_is_an_overload(app_with: Callable[..., Any]) -> None:
    future: Future[Answer] = Future()
    future.cancel()
    assert code(ask(app_with(lambda _: future), PREDICT)) == (503, "overloaded")


def test_a_place_is_taken_until_the_work_is_over_not_until_the_caller_has_left(app_with: Callable[..., Any]) -> None:
    work: list[Future[Answer]] = []

    def running(_: str) -> Future[Answer]:
        work.append(Future())
        work[-1].set_running_or_notify_cancel()  # so it cannot be cancelled
        return work[-1]

    app = app_with(running, deadline_s=0.02, max_concurrency=4)
    statuses = [ask(app, PREDICT).status_code for _ in range(3)]
    assert statuses == [504, 504, 503]
    work[0].set_result(PREDICTION)
    assert ask(app, PREDICT).status_code == 504


def test_a_host_that_never_answers_leaves_places_to_others(app_with: Callable[..., Any]) -> None:
    work: list[Future[Answer]] = []

    def running(_: str) -> Future[Answer]:
        work.append(Future())
        work[-1].set_running_or_notify_cancel()
        return work[-1]

    def statuses(app: Any, domain: str, count: int) -> list[int]:
        return [ask(app, f"/predict/?url=http://{n}.{domain}/").status_code for n in range(count)]

    app = app_with(running, deadline_s=0.01, max_concurrency=6)
    assert statuses(app, "mute.example", 5) == [504, 504, 504, 503, 503]
    assert statuses(app, "other.example", 3) == [504, 504, 503]
    assert statuses(app, "third.example", 2) == [504, 503]
    assert statuses(app, "fourth.example", 1) == [503]
    for one in work[:3]:
        one.set_result(PREDICTION)
    assert statuses(app, "fourth.example", 1) == [504]


def test_a_place_is_given_back_when_the_work_cannot_begin(app_with: Callable[..., Any]) -> None:
    def refuse(_: str) -> Future[Answer]:
        raise HttpStatus(404)

    app = app_with(refuse, max_concurrency=1)
    assert [ask(app, PREDICT).status_code for _ in range(3)] == [502] * 3


# ── the key ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "given", [None, "", "Bearer", "Bearer ", "Bearer wrong-key", "Basic right-key", "Bearer right-keY", "Bearer ü"]
)
def test_without_the_right_key_there_is_no_prediction(app_with: Callable[..., Any], given: str | None) -> None:
    headers = {} if given is None else {"Authorization": given.encode("latin-1")}
    response = ask(app_with(never, api_key="right-key"), PREDICT, headers=headers)
    assert code(response) == (401, "unauthorized")
    assert response.headers["WWW-Authenticate"] == "Bearer"


def test_with_the_right_key_there_is_one(app_with: Callable[..., Any]) -> None:
    app = app_with(api_key="right-key")
    assert ask(app, PREDICT, headers={"Authorization": "Bearer right-key"}).status_code == 200
    assert ask(app, "/predict", headers={}, params={"url": "x"}).status_code == 401


def test_who_has_no_key_does_not_even_learn_what_is_wrong_with_the_query(app_with: Callable[..., Any]) -> None:
    assert ask(app_with(api_key="right-key"), "/predict/").status_code == 401


def test_probes_and_metrics_need_no_key(app_with: Callable[..., Any]) -> None:
    app = app_with(api_key="right-key")
    assert {ask(app, path).status_code for path in ("/", "/livez", "/readyz", "/metrics", "/docs")} == {200}
