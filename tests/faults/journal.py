"""What instances did to themselves, noted before they did it: a file that all of a run's lives add to."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tests.faults.tally import Place


def note(journal: Path | None, what: str, records: Sequence[Place] = ()) -> None:
    """Adds a line. It outlives SIGKILL, and lines of several processes do not mix: each is one write."""
    if journal is not None:
        line = json.dumps({"what": what, "records": records}) + "\n"
        file = os.open(journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(file, line.encode())
        finally:
            os.close(file)


def happened(journal: Path) -> Counter[str]:
    """What was noted → how often."""
    return Counter(what for what, _ in _lines(journal))


def records(journal: Path) -> set[Place]:
    """Where records stand that were aborted on purpose."""
    return {place for _, places in _lines(journal) for place in places}


def _lines(journal: Path) -> list[tuple[str, list[Place]]]:
    if not journal.exists():
        return []
    lines = [json.loads(line) for line in journal.read_text("utf-8").splitlines()]
    return [
        (line["what"], [(topic, partition, offset) for topic, partition, offset in line["records"]]) for line in lines
    ]
