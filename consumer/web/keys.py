"""Who may ask: with HTTP_API_KEY only who has the key."""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Callable
from typing import Annotated, Final

from fastapi import Depends
from fastapi.security import HTTPAuthorizationCredentials, HTTPBasic, HTTPBearer
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection

BEARER: Final = HTTPBearer(auto_error=False, description="The value of HTTP_API_KEY.")


class _Described(HTTPBasic):
    """For the documentation only: `has_key` reads the header, and takes a malformed one for a wrong one."""

    async def __call__(self, request: HTTPConnection) -> None:
        """Says nothing."""


BASIC: Final = _Described(
    scheme_name="HTTPBasic",
    description="For browsers: any user name, and the value of HTTP_API_KEY as the password.",
)
"""Only for what a person looks at and what changes nothing: a browser sends it along by itself from then on."""

BASIC_OR_BEARER: Final = 'Basic realm="image-consumer", charset="UTF-8", Bearer'
"""The challenge to a browser: it asks for the password by itself."""

TEXT: Final = "this needs the header Authorization: Bearer KEY"


def key_check(api_key: str) -> Callable[..., None]:
    """What a path depends on that wants ``Authorization: Bearer KEY``."""

    def check(given: Annotated[HTTPAuthorizationCredentials | None, Depends(BEARER)]) -> None:
        if given is None or not _same(given.credentials.encode(), api_key):
            raise HTTPException(401, TEXT, headers={"WWW-Authenticate": "Bearer"})

    return check


def has_key(header: str, api_key: str) -> bool:
    """Whether an Authorization header holds the key, as a bearer's token or as the password of a browser."""
    scheme, _, given = header.partition(" ")
    if scheme.lower() == "bearer":
        return _same(given.strip().encode(), api_key)
    if scheme.lower() != "basic":
        return False
    try:
        return _same(base64.b64decode(given.strip().encode(), validate=True).partition(b":")[2], api_key)
    except binascii.Error:
        return False


def _same(given: bytes, api_key: str) -> bool:
    """In constant time, so that nobody finds the key letter by letter."""
    return hmac.compare_digest(given, api_key.encode())
