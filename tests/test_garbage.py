"""Python's collector while the service runs."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from consumer import garbage


class Ring:
    """What only the collector can free."""

    def __init__(self) -> None:
        self.ring = self


@pytest.fixture(autouse=True)
def looked_at_again() -> Iterator[None]:
    yield
    garbage.look_at_everything()


def test_a_full_collection_does_not_look_at_what_the_start_has_made() -> None:
    stays = [{"number": number} for number in range(10_000)]
    garbage.leave_alone_what_is_here()
    assert gc.get_freeze_count() > len(stays)
    assert len(gc.get_objects()) < len(stays)


def test_what_becomes_garbage_later_is_collected_and_what_was_garbage_is_gone_before() -> None:
    before = weakref.ref(Ring())
    garbage.leave_alone_what_is_here()
    assert before() is None
    later = weakref.ref(Ring())
    gc.collect()
    assert later() is None
