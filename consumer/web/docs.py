"""The interactive documentation, without the internet.

FastAPI's own page loads Swagger UI from a content network, which leaves users behind a firewall with
a blank page. Ours serves it from the package ``fastapi-swagger``, of which we use nothing but the
files: they are those of npm's swagger-ui-dist, byte for byte. All links are relative, so that the page
works behind a proxy that adds a prefix.
"""

from __future__ import annotations

import html
from collections.abc import AsyncIterator
from importlib.resources import files
from typing import Final

from fastapi import FastAPI, Response
from fastapi.responses import HTMLResponse, StreamingResponse

ASSETS: Final = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "favicon-32x32.png": "image/png",
}

PIECE_BYTES: Final = 64 * 2**10
"""Handed over at a time."""

CONTENT_SECURITY: Final = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self' 'unsafe-inline'",  # Swagger UI styles its parts with style attributes
        "img-src 'self' data:",  # its arrows and locks
        "connect-src 'self'",  # openapi.json, and "Try it out"
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
)

PAGE: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="icon" href="docs/favicon-32x32.png">
<link rel="stylesheet" href="docs/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
"""

START: Final = """SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  displayRequestDuration: true,
  tryItOutEnabled: true,
  defaultModelsExpandDepth: 0,
  validatorUrl: null,
});
"""
"""A file of its own: the page's policy lets no inline script run."""


async def in_pieces(content: bytes) -> AsyncIterator[bytes]:
    """A piece when the one before was taken. An answer in one piece would be copied for each caller who does not read
    it: 1.7 MB, 512 times."""
    for start in range(0, len(content), PIECE_BYTES):
        yield content[start : start + PIECE_BYTES]


def add_docs(app: FastAPI) -> None:
    """Adds ``/docs`` and the files that it needs."""
    page = PAGE.format(title=html.escape(app.title))
    contents = {name: (files("fastapi_swagger.resources") / name).read_bytes() for name in ASSETS}

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(page, headers={"Content-Security-Policy": CONTENT_SECURITY})

    @app.get("/docs/start.js", include_in_schema=False)
    async def start() -> Response:
        return Response(START, media_type="text/javascript")

    def serve(name: str, kind: str) -> None:
        headers = {
            "Cache-Control": "max-age=3600",  # an hour: long enough for a visit, short enough for an upgrade
            "Content-Length": str(len(contents[name])),
        }

        @app.get(f"/docs/{name}", include_in_schema=False)
        async def asset() -> Response:
            return StreamingResponse(in_pieces(contents[name]), media_type=kind, headers=headers)

    for name, kind in ASSETS.items():
        serve(name, kind)
