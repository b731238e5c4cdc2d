"""The failure vocabulary against the contract's table."""

from __future__ import annotations

import pytest

from consumer import errors
from consumer.errors import event_errors
from consumer.events import Failure

CONTRACT = {
    "event_unreadable": (422, False),
    "url_invalid": (422, False),
    "url_blocked": (403, False),
    "dns_failed": (502, True),
    "connect_failed": (502, True),
    "tls_failed": (502, False),
    "protocol_error": (502, False),
    "too_many_redirects": (502, False),
    "fetch_timeout": (504, True),
    "too_large": (413, False),
    "image_too_large": (413, False),
    "not_an_image": (415, False),
    "image_unsupported": (415, False),
    "image_corrupt": (415, False),
    "model_failed": (500, True),
    "overloaded": (503, True),
}


def test_every_code_of_the_contract_has_one_type_with_its_status_and_retriability() -> None:
    types = {kind.code: (kind.http_status, kind.retriable) for kind in event_errors() if kind.code != "http_status"}
    assert types == CONTRACT


@pytest.mark.parametrize(
    ("status", "retriable"),
    [(404, False), (403, False), (408, True), (425, True), (429, True), (500, True), (599, True)],
)
def test_the_status_decides_whether_an_http_error_is_worth_another_try(status: int, retriable: bool) -> None:
    assert errors.HttpStatus(status).retriable is retriable


def test_a_failure_says_what_the_error_said() -> None:
    error = errors.ConnectFailed("refused", attempts=3)
    assert Failure.of(error) == Failure("connect_failed", "refused", True, 3, "fetch", "consumer.errors.ConnectFailed")


@pytest.mark.parametrize(
    ("kind", "code"),
    [("SettingsError", 2), ("ModelError", 3), ("BrokerError", 4), ("FatalError", 5)],
)
def test_errors_of_the_process_carry_the_contracts_exit_codes(kind: str, code: int) -> None:
    assert getattr(errors, kind).exit_code == code


def test_the_tree_in_the_documentation_names_every_type() -> None:
    assert errors.__doc__ is not None
    missing = [kind.__name__ for kind in event_errors() if kind.__name__ not in errors.__doc__]
    assert missing == []
