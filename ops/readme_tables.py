"""Writes the README's tables of settings and error codes from the code, so that they cannot disagree."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from consumer.errors import event_errors
from consumer.settings import Settings

README = Path(__file__).parents[1] / "README.md"


def settings_table() -> str:
    """Every setting with its default and meaning."""
    rows = [f"| `{row.variable}` | {row.default} | {row.meaning} |" for row in Settings().rows()]
    return "\n".join(["| variable | default | meaning |", "|---|---|---|", *rows])


def codes_table() -> str:
    """Every error code with its HTTP status and whether another try may help."""
    rows = []
    for kind in event_errors():
        status = "" if kind.code == "event_unreadable" else str(kind.http_status)
        retriable = "408, 425, 429 and 5xx" if kind.code == "http_status" else "yes" if kind.retriable else "no"
        meaning = (kind.__doc__ or "").strip().splitlines()[0].rstrip(".")
        rows.append(f"| `{kind.code}` | {status} | {retriable} | {meaning} |")
    return "\n".join(["| `error.code` | HTTP | retriable | meaning |", "|---|---|---|---|", *rows])


def rendered(text: str) -> str:
    """The README's text with fresh tables."""
    for name, table in (("settings", settings_table()), ("codes", codes_table())):
        pattern = rf"<!-- {name} -->.*?<!-- /{name} -->"
        fresh = f"<!-- {name} -->\n{table}\n<!-- /{name} -->"
        text = re.sub(pattern, lambda _, fresh=fresh: fresh, text, flags=re.DOTALL)  # type: ignore[misc] # a default that binds the loop variable
    return text


def main() -> int:
    """0, or 1 if it was only to check and the tables are out of date."""
    parser = argparse.ArgumentParser(prog="python -m ops.readme_tables", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 if they are out of date")
    only_check = parser.parse_args().check
    text = README.read_text("utf-8")
    fresh = rendered(text)
    if fresh == text:
        print(f"the tables of {README.name} are those of the code")
    elif only_check:
        print(f"the tables of {README.name} are out of date: python -m ops.readme_tables", file=sys.stderr)
        return 1
    else:
        README.write_text(fresh, "utf-8")
        print(f"wrote the tables of {README.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
