"""The README says what the code does."""

from __future__ import annotations

from ops.readme_tables import README, rendered


def test_the_readmes_tables_are_those_of_the_code() -> None:
    """If this fails: python -m ops.readme_tables."""
    text = README.read_text("utf-8")
    assert rendered(text) == text
