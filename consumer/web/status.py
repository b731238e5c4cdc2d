"""``/status``: one look for a person on call, as a page or as JSON."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict

from fastapi import Depends, FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response

from consumer.status import Status
from consumer.web import status_page
from consumer.web.forms import OWN_CODES, Problem, problem
from consumer.web.keys import BASIC, BASIC_OR_BEARER, BEARER, TEXT, has_key


def add_status(app: FastAPI, status: Callable[[], Status], api_key: str | None) -> None:
    """Adds the path; with a key, nobody else is told anything."""

    @app.get(
        "/status",
        name="status",
        summary="What runs, what holds it up, what failed last",
        tags=["service"],
        response_model=Status,
        response_description="A page; with `Accept: application/json` the same as JSON.",
        responses={
            200: {"content": {"text/html": {"schema": {"type": "string"}}}},
            **({401: {"model": Problem, "description": "The key is missing or wrong."}} if api_key else {}),
        },
        dependencies=[Depends(BEARER), Depends(BASIC)] if api_key else [],  # for the documentation
    )
    async def show(request: Request) -> Response:
        """URLs are masked, times are in milliseconds since the epoch, and null is what is not known.

        A failure without partition and offset is one of `/predict/`.
        """
        as_json = _wants_json(request.headers.get("Accept", ""))
        if api_key and not has_key(request.headers.get("Authorization", ""), api_key):
            challenge = {"WWW-Authenticate": BASIC_OR_BEARER}
            return problem(401, TEXT, OWN_CODES[401], challenge) if as_json else _page(status_page.no_key(), challenge)
        if as_json:
            return JSONResponse(asdict(status()), headers={"Vary": "Accept"})
        return _page(status_page.page(status()))


def _page(text: str, challenge: dict[str, str] | None = None) -> HTMLResponse:
    headers = {"Vary": "Accept", "Content-Security-Policy": status_page.CONTENT_SECURITY}
    return HTMLResponse(text, 401 if challenge else 200, headers | (challenge or {}))


def _wants_json(accept: str) -> bool:
    """Whether JSON is asked for by name. Who asks for anything, as curl does, gets the page."""
    return "application/json" in accept.lower() and "text/html" not in accept.lower()
