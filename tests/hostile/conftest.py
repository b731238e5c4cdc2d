from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.hostile.running import Servers, replaced, servers


@pytest.fixture(scope="module")
def hostile() -> Iterator[Servers]:
    with servers() as made:
        yield made


@pytest.fixture
def replacements(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with replaced(monkeypatch):
        yield
