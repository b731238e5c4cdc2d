"""The HTTP endpoint: what it answers, what it bounds, and that it says nothing it should not."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, contextmanager
from typing import Any

import httpx
import numpy as np
import pytest
import requests

from consumer.errors import FetchError, HttpStatus, ImageCorrupt, Overloaded, SettingsError, event_errors
from consumer.events import Answer, Failure, ImageInfo, ModelInfo, Prediction
from consumer.health import Health
from consumer.metrics import Metrics
from consumer.web import Submit, WebServer, create_app

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


@pytest.fixture
def health() -> Health:
    health = Health(60)
    health.running()
    return health


@pytest.fixture
def app_with(health: Health) -> Callable[..., Any]:
    """Makes the application around what answers for a URL."""

    def make(submit: Submit | None = lambda _: done(PREDICTION), **more: Any) -> Any:
        return create_app(
            predictor=lambda: submit,
            model=lambda: INFO,
            health=health,
            metrics=Metrics(),
            version="1.2.3",
            **more,
        )

    return make


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


@contextmanager
def serving(app: Any, host: str = "127.0.0.1") -> Iterator[WebServer]:
    server = WebServer(app, host, 0)
    server.start()
    try:
        yield server
    finally:
        server.stop(1)


# ── predictions ──────────────────────────────────────────────────────────────────────────────────


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


# ── the service ──────────────────────────────────────────────────────────────────────────────────


def test_the_root_says_that_it_is_up(app_with: Callable[..., Any]) -> None:
    assert ask(app_with(), "/").json() == {"API status": "Up and running!"}


def test_the_probes_tell_the_verdicts_of_the_health(app_with: Callable[..., Any], health: Health) -> None:
    app = app_with()
    assert ask(app, "/livez").status_code == 200
    assert ask(app, "/readyz").json() == {
        "ok": True,
        "phase": "running",
        "reason": "ok",
        "reasons": [],
        "model": {"name": "garments", "version": "7", "backend": "tensorflow", "precision": "float32"},
    }
    health.hold("group", "the consumer group is not joined")
    assert ask(app, "/livez").status_code == 200
    response = ask(app, "/readyz")
    assert response.status_code == 503
    assert response.json()["reasons"][0]["name"] == "group"


def test_a_stuck_service_is_not_live(app_with: Callable[..., Any]) -> None:
    now = 0.0
    stuck = Health(60, clock=lambda: now)
    stuck.running()
    now = 61.0
    app = create_app(predictor=lambda: None, model=lambda: None, health=stuck, metrics=Metrics(), version="1")
    response = ask(app, "/livez")
    assert response.status_code == 503
    assert response.json()["reason"] == "the stream loop does not turn (for 61 s)"


def test_the_metrics_are_prometheus_text(app_with: Callable[..., Any]) -> None:
    response = ask(app_with(), "/metrics")
    assert response.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert 'image_consumer_events_total{outcome="predicted"} 0.0' in response.text


@pytest.mark.parametrize("path", ["/nothing", "/predict/more", "/livez/", "/docs/../secret"])
def test_what_is_not_there_is_told_in_the_same_form(app_with: Callable[..., Any], path: str) -> None:
    assert code(ask(app_with(), path)) == (404, "not_found")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_other_methods_are_refused_in_the_same_form(app_with: Callable[..., Any], method: str) -> None:
    response = ask(app_with(), "/predict/", method)
    assert code(response) == (405, "method_not_allowed")
    assert response.headers["Allow"] == "GET, HEAD"


@pytest.mark.parametrize("path", ["/", "/livez", "/readyz", "/metrics", "/docs", "/openapi.json", PREDICT])
def test_head_is_get_without_the_body(app_with: Callable[..., Any], path: str) -> None:
    app = app_with()
    head, get = ask(app, path, "HEAD"), ask(app, path)
    assert head.content == b""
    assert (head.status_code, head.headers["Content-Type"]) == (200, get.headers["Content-Type"])


@pytest.mark.parametrize("path", ["/", PREDICT, "/predict/", "/nothing", "/docs", "/docs/swagger-ui.css"])
def test_every_answer_has_the_headers_that_protect_a_browser(app_with: Callable[..., Any], path: str) -> None:
    headers = ask(app_with(), path).headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]


def test_a_mistake_of_ours_is_logged_and_tells_nothing(
    app_with: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: str) -> Future[Answer]:
        raise KeyError("what nobody should see")

    response = ask(app_with(fail), PREDICT)
    assert code(response) == (500, "internal")
    assert "nobody should see" not in response.text
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    (record,) = caplog.records
    assert record.exc_info is not None
    assert "images.example" not in record.getMessage(), "the query may hold secrets"


# ── the documentation ────────────────────────────────────────────────────────────────────────────


def test_the_documentation_needs_nothing_from_elsewhere(app_with: Callable[..., Any]) -> None:
    app = app_with()
    page = ask(app, "/docs")
    links = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(links) == 4
    for link in links:
        assert not link.startswith(("http", "/")), "relative, so that it works behind a prefix"
        assert ask(app, f"/{link}").status_code == 200
    assert ask(app, "/docs/swagger-ui-bundle.js").headers["Content-Type"].startswith("text/javascript")
    assert "<script>" not in page.text, "the policy lets no inline script run"


@pytest.mark.parametrize(
    ("name", "sha256"),
    [
        ("swagger-ui-bundle.js", "3f6abf70480db7e07914df4c98a77385f22ea585eaf457a3e6415ba0eae2d167"),
        ("swagger-ui.css", "c3cfe8248c4b0b89673600fb829924eafbac6de4bc4b2b06f5f5243483074d0a"),
    ],
)
def test_swagger_ui_is_what_its_makers_published(app_with: Callable[..., Any], name: str, sha256: str) -> None:
    """The sums are those of npm's swagger-ui-dist 5.34.0."""
    assert hashlib.sha256(ask(app_with(), f"/docs/{name}").content).hexdigest() == sha256


def test_every_code_that_predict_can_answer_is_documented_under_its_status(app_with: Callable[..., Any]) -> None:
    document = ask(app_with(api_key="right-key"), "/openapi.json").json()
    responses = document["paths"]["/predict/"]["get"]["responses"]
    told = {
        (int(status), example)
        for status, response in responses.items()
        if status != "200"
        for example in response["content"]["application/json"]["examples"]
    }
    expected = {(kind.http_status, kind.code) for kind in event_errors() if kind.code != "event_unreadable"}
    assert told == expected | {(500, "internal"), (401, "unauthorized")}
    assert "Retry-After" in responses["503"]["headers"]
    assert "HTTPValidationError" not in json.dumps(document), "FastAPI's own form never leaves the service"


def test_the_documents_paths_are_those_of_the_contract(app_with: Callable[..., Any]) -> None:
    document = ask(app_with(), "/openapi.json").json()
    assert list(document["paths"]) == ["/", "/predict/", "/livez", "/readyz", "/metrics"]
    assert document["info"]["version"] == "1.2.3"
    assert "401" not in document["paths"]["/predict/"]["get"]["responses"]


# ── the server ───────────────────────────────────────────────────────────────────────────────────


def test_it_serves_on_a_free_port_and_stops(app_with: Callable[..., Any]) -> None:
    server = WebServer(app_with(), "127.0.0.1", 0)
    server.start()
    assert requests.get(server.url + "/livez", timeout=5).status_code == 200
    server.stop()
    assert not server.running
    assert not accepts(server.port)


def test_it_tells_nothing_of_what_it_is_made_of(app_with: Callable[..., Any]) -> None:
    with serving(app_with()) as server:
        assert "Server" not in requests.get(server.url, timeout=5).headers


def test_a_head_answer_over_a_real_connection_has_the_length_and_no_body(app_with: Callable[..., Any]) -> None:
    with serving(app_with()) as server:
        response = requests.head(server.url + "/livez", timeout=5)
        assert int(response.headers["Content-Length"]) > 0
        assert response.content == b""


def test_answers_on_a_kept_connection_do_not_wait_for_the_callers_acknowledgement(app_with: Callable[..., Any]) -> None:
    with serving(app_with()) as server, requests.Session() as session:
        session.get(server.url, timeout=5)
        took = []
        for _ in range(10):
            began = time.monotonic()
            session.get(server.url, timeout=5)
            took.append(time.monotonic() - began)
    assert min(took) < 0.03, "a delayed acknowledgement takes 40 ms"


def test_a_taken_port_is_told_in_one_line(app_with: Callable[..., Any]) -> None:
    with serving(app_with()) as first:
        with pytest.raises(SettingsError) as caught:
            WebServer(app_with(), "127.0.0.1", first.port).start()
        assert str(caught.value).startswith(f"HTTP_PORT={first.port} is taken: ")
    assert "\n" not in str(caught.value)


def test_a_port_that_nobody_chose_gives_way_to_the_next_free_one(app_with: Callable[..., Any]) -> None:
    with serving(app_with()) as first:
        second = WebServer(app_with(), "127.0.0.1", first.port, tries=20)
        second.start()
        assert first.port < second.port < first.port + 20
        assert requests.get(second.url, timeout=5).status_code == 200
        second.stop()


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid"])
def test_a_host_that_is_not_ours_is_told_in_one_line(app_with: Callable[..., Any], host: str) -> None:
    with pytest.raises(SettingsError, match=rf"HTTP_HOST={re.escape(host)} is no address of this machine: \w+"):
        WebServer(app_with(), host, 0).start()


@pytest.mark.parametrize(
    ("host", "reached_at"),
    [("::1", ["[::1]"]), ("::", ["[::1]", "127.0.0.1"]), ("0.0.0.0", ["127.0.0.1"]), ("localhost", ["localhost"])],
)
def test_it_listens_where_it_should(app_with: Callable[..., Any], host: str, reached_at: list[str]) -> None:
    if ":" in host and not _has_ipv6():
        pytest.skip("this machine has no IPv6")
    with serving(app_with(), host) as server:
        for url in [server.url, *(f"http://{address}:{server.port}" for address in reached_at)]:
            assert requests.get(f"{url}/livez", timeout=5).status_code == 200


def _has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


def connection(server: WebServer, path: str) -> AbstractContextManager[socket.socket]:
    """A caller that has asked and does not read."""
    caller = socket.create_connection(("127.0.0.1", server.port), 5)
    caller.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    return closing(caller)


def accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 5).close()
    except ConnectionError:
        return False
    return True


def test_a_caller_who_leaves_cancels_the_work(app_with: Callable[..., Any]) -> None:
    future: Future[Answer] = Future()
    asked, cancelled = threading.Event(), threading.Event()
    future.add_done_callback(lambda _: cancelled.set())

    def submit(_: str) -> Future[Answer]:
        asked.set()
        return future

    with serving(app_with(submit)) as server:
        with connection(server, PREDICT):
            assert asked.wait(5)
        assert cancelled.wait(5)
    assert future.cancelled()


def test_a_stop_lets_a_request_under_way_finish(app_with: Callable[..., Any]) -> None:
    future: Future[Answer] = Future()
    asked = threading.Event()

    def submit(_: str) -> Future[Answer]:
        asked.set()
        return future

    server = WebServer(app_with(submit), "127.0.0.1", 0)
    server.start()
    with ThreadPoolExecutor(2) as callers:
        response = callers.submit(requests.get, server.url + PREDICT, timeout=10)
        assert asked.wait(5)
        stopped = callers.submit(server.stop, 10)
        while accepts(server.port):
            pass
        with pytest.raises(TimeoutError):
            response.result(0.5)  # it is not cut off while the budget lasts
        future.set_result(PREDICTION)
        assert response.result(10).status_code == 200
        stopped.result(10)
    assert not server.running


def test_a_stop_does_not_wait_longer_than_its_budget(app_with: Callable[..., Any]) -> None:
    future: Future[Answer] = Future()
    asked = threading.Event()

    def submit(_: str) -> Future[Answer]:
        asked.set()
        return future

    server = WebServer(app_with(submit, deadline_s=60), "127.0.0.1", 0)
    server.start()
    with connection(server, PREDICT):
        assert asked.wait(5)
        server.stop(0.1)
        assert not server.running
    assert future.cancelled()
