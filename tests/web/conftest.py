"""The application around what answers for a URL."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from consumer.health import Health
from consumer.metrics import Metrics
from consumer.web import Submit, create_app
from tests.web.asking import INFO, PREDICTION, done


@pytest.fixture
def health() -> Health:
    health = Health(60)
    health.running()
    return health


@pytest.fixture
def app_with(health: Health) -> Callable[..., Any]:
    """Makes the application around what answers for a URL."""

    def make(submit: Submit | None = lambda _: done(PREDICTION), **more: Any) -> Any:
        return create_app(
            predictor=lambda: submit,
            model=lambda: INFO,
            health=health,
            metrics=Metrics(),
            version="1.2.3",
            **more,
        )

    return make
