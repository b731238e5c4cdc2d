"""What answers look like: predictions, failures, and how the documentation describes them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import numpy as np
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from consumer.errors import EventUnreadable, event_errors
from consumer.events import Probabilities

HTTP_STATUS: Final = {error.code: error.http_status for error in event_errors()}
"""Error code → status, as the table of error codes in the README lists them."""

OWN_CODES: Final = {
    400: "bad_request",
    401: "unauthorized",
    404: "not_found",
    405: "method_not_allowed",
    431: "request_too_large",
    500: "internal",
}
"""Status → code of what goes wrong in HTTP itself and has no place among the errors of events."""


class Answered(BaseModel):
    """The probabilities of every label, task by task."""

    url: str = Field(description="The URL as it was given.")
    predictions: dict[str, dict[str, float]] = Field(
        description="Task → label → probability. Numbers are the shortest decimals of the model's 32-bit floats."
    )
    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "url": "https://images.example/dress.jpg",
                "predictions": {
                    "print": {"solid": 0.9731, "floral": 0.0269},
                    "sleeves": {"sleeveless": 0.9904, "long_sleeve": 0.0062, "short_sleeve": 0.0034},
                },
            }
        }
    )


class Problem(BaseModel):
    """Why there is no answer."""

    detail: str = Field(description="For people: what went wrong.")
    code: str = Field(description="For programs: which kind of failure it is.")


class HealthReport(BaseModel):
    """Whether it is, and if not, every reason."""

    ok: bool
    phase: str = Field(description="starting, running or stopping")
    reason: str = Field(description="All reasons as one line.")
    reasons: list[dict[str, Any]] = Field(description="Each reason: name, text and for how many seconds (for_s).")


class ReadyReport(HealthReport):
    """The same, and which model answers."""

    model: dict[str, str] | None = Field(description="Name, version, backend and precision; null while none is loaded.")


def problem(status: int, detail: str, code: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """A failure in the one form that all failures have."""
    return JSONResponse({"detail": detail, "code": code}, status, dict(headers or {}))


def numbers(probabilities: Probabilities) -> dict[str, dict[str, float]]:
    """Probabilities as JSON shows them well: 0.9731, not the 0.9731000065803528 that the same float32 is in
    64 bits. Whoever reads one into a float32 has the model's own number again, bit for bit."""
    return {task: {label: _shortest(p) for label, p in of.items()} for task, of in probabilities.items()}


def _shortest(value: float) -> float:
    single = np.float32(value)
    return float(str(single)) if float(single) == value else value


def documented(*, with_key: bool) -> dict[int | str, dict[str, Any]]:
    """Every failure of ``/predict/`` for its documentation: status → description and an example for each code."""
    kinds = [
        (error.http_status, error.code, (error.__doc__ or "").partition("\n")[0])
        for error in event_errors()
        if error is not EventUnreadable  # no event, so no such failure, over HTTP
    ]
    kinds.append((500, "internal", "A mistake of ours; the log has it."))
    if with_key:
        kinds.append((401, "unauthorized", "The header ``Authorization: Bearer KEY`` is missing, or its key is wrong."))
    told: dict[int | str, dict[str, Any]] = {}
    for status in sorted({status for status, _, _ in kinds}):
        told[status] = described((code, meaning) for of, code, meaning in kinds if of == status)
    told[503]["headers"] = {
        "Retry-After": {"description": "Seconds after which to try again.", "schema": {"type": "integer"}}
    }
    return told


def described(codes: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """One status: which codes it can have, in words and as examples."""
    listed = [(code, meaning.replace("``", "`")) for code, meaning in codes]
    return {
        "model": Problem,
        "description": "\n".join(f"- `{code}`: {meaning}" for code, meaning in listed),
        "content": {
            "application/json": {
                "examples": {
                    code: {"summary": code, "value": {"detail": meaning.replace("`", ""), "code": code}}
                    for code, meaning in listed
                }
            }
        },
    }
