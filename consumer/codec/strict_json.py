"""One JSON object ⇄ bytes, as RFC 8259 and I-JSON (RFC 7493) mean it and no laxer.

Python's decoder takes NaN, Infinity, duplicate keys and UTF-16; a reader in another language would
see another event, or none.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def encode(value: Mapping[str, Any]) -> bytes:
    """One object, without spaces, in UTF-8.

    Raises:
        ValueError: a number is NaN or infinite, or a text holds half a surrogate pair.
    """
    return _ENCODER.encode(value).encode()


def decode(data: bytes) -> dict[str, Any]:
    """The object that the whole of ``data`` is.

    Raises:
        ValueError: it is none; the text repeats nothing of the data.
    """
    try:
        value = _DECODER.decode(data.decode())
    except UnicodeDecodeError as error:
        raise ValueError(f"the JSON value is not UTF-8 (byte {error.start})") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"the value is not valid JSON (character {error.pos})") from None
    except RecursionError:
        raise ValueError("the JSON value is nested too deeply") from None
    except _Refused as error:
        raise ValueError(f"the JSON value {error}") from None
    except ValueError:  # int() refuses more than 4300 digits
        raise ValueError("the JSON value holds a number with too many digits") from None
    if not isinstance(value, dict):
        raise ValueError(f"the JSON value is {kind_of(value)} instead of an object")  # noqa: TRY004 — its content is wrong
    return value


def kind_of(value: object) -> str:
    """A JSON value's type in JSON's words; the value itself is a stranger's and stays out of messages."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    return {int: "a number", float: "a number", str: "a string", list: "a list", dict: "an object"}[type(value)]


class _Refused(ValueError):
    """What the decoder would take and we do not."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        raise _Refused("has the same key twice in one object")
    return value


def _constant(_name: str) -> None:
    raise _Refused("holds NaN or Infinity, which JSON has not")


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_constant)
_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
