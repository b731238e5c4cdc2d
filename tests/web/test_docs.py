"""The documentation is whole, true, and served from here."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from consumer.errors import event_errors
from tests.web.asking import ask


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
