"""Each awkward case of docs/delivery.md names tests that are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROWS = re.search(r"\| case \|.*?\n\n", (ROOT / "docs" / "delivery.md").read_text("utf-8"), re.DOTALL)
assert ROWS is not None


@pytest.mark.parametrize("row", ROWS[0].strip().splitlines()[2:])
def test_what_shows_a_case_is_there(row: str) -> None:
    named = re.search(r"`(\S+\.py) -k (.+)` \|$", row)
    assert named is not None
    tests = re.findall(r"^def (test_\w+)", (ROOT / "tests" / named[1]).read_text("utf-8"), re.MULTILINE)
    for keyword in named[2].strip('"').split(" or "):
        assert any(keyword in test for test in tests), keyword
