"""Every case of the corpus through `/predict/`, each with its code, and good pictures in between untouched."""

from __future__ import annotations

import re
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
import requests

from consumer.errors import event_errors
from tests.hostile import images, urls
from tests.hostile.measuring import PREDICTED
from tests.hostile.running import DEADLINE_S, Servers, ask, asking, wrong

STATUS = {error.code: error.http_status for error in event_errors()} | {PREDICTED: 200}


def test_the_corpus_is_large_and_no_name_stands_twice() -> None:
    assert len(urls.URLS) + len(urls.ANSWERS) >= 80
    assert len(images.CASES) >= 60
    told = [[(one.name, one.outcome) for one in urls.URLS], [(one.name, one.outcome) for one in urls.ANSWERS]]
    told.append([(one.name, one.outcome) for one in images.CASES])
    for cases in told:
        assert [name for name, count in Counter(name for name, _ in cases).items() if count > 1] == []
    outcomes = {outcome for cases in told for _, outcome in cases}
    assert outcomes == set(STATUS) - {"event_unreadable", "model_failed", "overloaded"}, "each code has a case"


@pytest.mark.usefixtures("replacements")
def test_through_predict_every_case_has_its_code_and_its_status(hostile: Servers) -> None:
    with asking(hostile) as (service, sent), ThreadPoolExecutor(24) as pool:
        found = list(pool.map(partial(ask, service), sent))
        after = ask(service, sent[-1])
        metrics = requests.get(f"{service.url}/metrics", timeout=10).text
    assert wrong((one.sent, one.outcome) for one in found) == []
    assert [one.sent.name for one in found if one.status != STATUS[one.outcome]] == []
    assert {str(one.predictions) for one in found if one.sent.name == "good"} == {str(after.predictions)}
    labels = re.findall(r'="([^"]*)"', metrics)
    assert "http_status" in labels
    assert [one for one in labels if re.search(r"://|\.test|127\.0|%|\\", one)] == [], "nothing out of an event"
    assert max(one.seconds for one in found) < DEADLINE_S * 1.1 + 2  # and this machine's share of the others
