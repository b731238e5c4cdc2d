"""The paths of the HTTP endpoint."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Annotated, Final
from urllib.parse import unquote_to_bytes

from fastapi import Depends, FastAPI, Query, Request, Response
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from consumer.errors import EventError, Overloaded, UrlInvalid
from consumer.events import Failure, ModelInfo
from consumer.failures import FailedEvent, RecentFailures
from consumer.health import Health
from consumer.metrics import CONTENT_TYPE, Metrics
from consumer.status import Status
from consumer.web.docs import add_docs
from consumer.web.forms import (
    HTTP_STATUS,
    OWN_CODES,
    Answered,
    HealthReport,
    ReadyReport,
    documented,
    numbers,
    problem,
)
from consumer.web.frame import Frame
from consumer.web.keys import key_check
from consumer.web.status import add_status
from consumer.web.waiting import Submit, Waiting

LOADING_RETRY_S: Final = 5
"""Retry-After while the model is loading, which takes seconds to a minute."""

DESCRIPTION: Final = """Classifies the image behind a URL, by the same path as the events of the topic.

Failures have one form, `{"detail": TEXT, "code": CODE}`: `detail` is for people, `code` for programs.
Percent-encode the URL of the image: its own `&`, `#` and `+` mean something else in a query.
"""


def create_app(
    *,
    predictor: Callable[[], Submit | None],
    model: Callable[[], ModelInfo | None],
    health: Health,
    metrics: Metrics,
    version: str,
    status: Callable[[], Status] | None = None,
    failures: RecentFailures | None = None,
    api_key: str | None = None,
    deadline_s: float = 30.0,
    max_concurrency: int = 64,
) -> FastAPI:
    """The application.

    Args:
        predictor: gives what answers for a URL, or null while the model is not there yet.
        model: gives which model answers, or null.
        health: is asked by ``/livez`` and ``/readyz``.
        metrics: what ``/metrics`` shows.
        version: of the service, for its documentation.
        status: gives what ``/status`` shows; without it there is no such path.
        failures: is told what failed.
        api_key: with it, ``/predict/`` and ``/status`` want ``Authorization: Bearer KEY``.
        deadline_s: how long a caller waits at most. Longer than FETCH_DEADLINE_S, or callers never see
            what the fetch failed of.
        max_concurrency: images of HTTP callers that are worked on at once; more get a 503.
    """
    app = FastAPI(
        title="image-consumer",
        version=version,
        description=DESCRIPTION,
        openapi_tags=[{"name": "predictions"}, {"name": "service"}],
        generate_unique_id_function=lambda route: route.name,
        docs_url=None,  # see add_docs
        redoc_url=None,
        redirect_slashes=False,  # a redirect would name the host that the caller claims to speak to
    )
    app.add_middleware(Frame)
    _add_error_forms(app)
    add_docs(app)
    waiting = Waiting(max_concurrency, deadline_s)
    checks = [Depends(key_check(api_key))] if api_key else []

    @app.get("/", summary="Is anybody there?", tags=["service"])
    async def root() -> dict[str, str]:
        return {"API status": "Up and running!"}

    async def predict(
        request: Request,
        url: Annotated[
            str,
            Query(description="Where the image is: http or https.", examples=["https://images.example/dress.jpg"]),
        ],
    ) -> Response:
        """Fetches the image and answers with the probability of every label."""
        submit = predictor()
        if submit is None:
            raise Overloaded("the model is not loaded yet", retry_after_s=LOADING_RETRY_S)
        try:
            answer = await waiting.answer(submit, url, request.receive)
        except EventError as error:
            _note(failures, Failure.of(error), url)
            raise
        if isinstance(answer, Failure):
            _note(failures, answer, url)
            return _failed(HTTP_STATUS[answer.code], answer.message, answer.code)
        return JSONResponse({"url": url, "predictions": numbers(answer.probabilities)})

    # Both spellings answer alike; one of them is documented.
    for path, shown in (("/predict/", True), ("/predict", False)):
        app.get(
            path,
            summary="Classify one image",
            tags=["predictions"],
            dependencies=[*checks, Depends(_only_one_url)],
            response_model=Answered,
            response_description="The probabilities.",
            responses=documented(with_key=api_key is not None),
            include_in_schema=shown,
        )(predict)

    @app.get(
        "/livez",
        summary="Does the process move?",
        tags=["service"],
        response_model=HealthReport,
        response_description="Yes.",
        responses={503: {"model": HealthReport, "description": "It is stuck; only a restart helps."}},
    )
    async def livez() -> JSONResponse:
        verdict = health.live()
        return JSONResponse(verdict.to_json(), 200 if verdict.ok else 503)

    @app.get(
        "/readyz",
        summary="Does it do its work now?",
        tags=["service"],
        response_model=ReadyReport,
        response_description="Yes.",
        responses={503: {"model": ReadyReport, "description": "Not now; the reasons are named."}},
    )
    async def readyz() -> JSONResponse:
        verdict, info = health.ready(), model()
        told = verdict.to_json() | {"model": asdict(info) if info else None}
        return JSONResponse(told, 200 if verdict.ok else 503)

    @app.get(
        "/metrics",
        name="metrics",
        summary="Prometheus metrics",
        tags=["service"],
        response_class=Response,
        responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
    )
    async def exposition() -> Response:
        return Response(metrics.exposition(), media_type=CONTENT_TYPE)

    if status is not None:
        add_status(app, status, api_key)
    return app


def _note(failures: RecentFailures | None, failure: Failure, url: str) -> None:
    if failures is not None:
        failures.note(FailedEvent.of(failure, time.time_ns() // 1_000_000, url=url))


def _only_one_url(request: Request) -> None:
    """The query is one ``url`` and nothing else. Runs before FastAPI's own check, whose form is another."""
    try:
        unquote_to_bytes(request.scope["query_string"]).decode()
    except UnicodeDecodeError:  # Starlette would put U+FFFD in its place, and another URL would be fetched
        raise UrlInvalid("the query is not UTF-8") from None
    names = [name for name, _ in request.query_params.multi_items()]
    if "url" not in names:
        raise UrlInvalid("the query parameter url is missing")
    if names.count("url") > 1:
        raise UrlInvalid("the query parameter url is given more than once")
    if len(names) > 1:
        # Most likely the image's own query, cut off: the image without it may be another one.
        raise UrlInvalid("the query holds more than url: percent-encode the URL of the image, its & as %26")
    if not request.query_params["url"]:
        raise UrlInvalid("the query parameter url is empty")


def _failed(status: int, detail: str, code: str, retry_after_s: int = 1) -> JSONResponse:
    return problem(status, detail, code, {"Retry-After": str(retry_after_s)} if status == 503 else None)


def _add_error_forms(app: FastAPI) -> None:
    """One form for all failures, Starlette's own included."""

    @app.exception_handler(EventError)
    async def event_error(_: Request, error: EventError) -> JSONResponse:
        retry_after_s = error.retry_after_s if isinstance(error, Overloaded) else 1
        return _failed(error.http_status, str(error), error.code, retry_after_s)

    @app.exception_handler(HTTPException)
    async def http_error(_: Request, error: HTTPException) -> JSONResponse:
        headers = dict(error.headers or {})
        if error.status_code == 405:
            headers["Allow"] = "GET, HEAD"  # of every path; Starlette does not know that we answer HEAD
        return problem(error.status_code, error.detail, OWN_CODES.get(error.status_code, "http_error"), headers)
