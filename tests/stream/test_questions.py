"""What it says of the network that a host could be reached, or not."""

from __future__ import annotations

from concurrent.futures import Future

import pytest

from consumer.errors import ConnectFailed, DnsFailed, FetchTimeout, TlsFailed, UrlBlocked
from consumer.stream.questions import Questions

URL = "https://shop.example/"


@pytest.mark.parametrize(
    ("error", "network"),
    [
        (None, True),
        (ConnectFailed("no"), False),
        (FetchTimeout("no"), False),
        (DnsFailed("no resolver"), False),
        (DnsFailed("no such host", retriable=False), True),
        (TlsFailed("no"), True),
        (UrlBlocked("no"), None),
        (RuntimeError("a mistake of ours"), None),
    ],
)
def test_an_answer_says_what_an_events_end_would_say(error: Exception | None, network: bool | None) -> None:
    asked: Future[None] = Future()
    questions = Questions({URL: asked}.__getitem__)
    questions.ask({"shop.example": URL})
    assert list(questions.answers()) == []
    if error is None:
        asked.set_result(None)
    else:
        asked.set_exception(error)
    ((host, told),) = questions.answers()
    assert (host, told.network, told.decoder, told.model) == ("shop.example", network, None, None)
    assert list(questions.answers()) == [], "each answer is given once"


def test_who_is_asked_again_answers_once() -> None:
    before, now = Future[None](), Future[None]()
    waiting = [before, now]
    questions = Questions(lambda _: waiting.pop(0))
    questions.ask({"shop.example": URL})
    questions.ask({"shop.example": URL})
    before.set_exception(FetchTimeout("it was gone then"))
    now.set_result(None)
    ((_, told),) = questions.answers()
    assert told.network


def test_where_nobody_can_ask_nobody_can_be_reached() -> None:
    questions = Questions(None)
    questions.ask({"shop.example": URL})
    ((_, told),) = questions.answers()
    assert told.network is False
