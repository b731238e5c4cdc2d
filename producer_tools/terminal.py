"""What is said to the person at the terminal, beside the output: on stderr, one safe line each."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from consumer.logs import printable


def stderr() -> Console:
    """The console for everything that is no output. Without highlighting: numbers are no news."""
    return Console(stderr=True, highlight=False)


def say(console: Console, text: str) -> None:
    """One line, escape sequences and line breaks made visible; above a progress bar if there is one."""
    console.print(Text(printable(f"image-tools: {text}")), soft_wrap=True)


class Complaints:
    """What is wrong with single lines or records: all counted, the first 20 shown."""

    SHOWN = 20

    def __init__(self, console: Console) -> None:
        self._console = console
        self.count = 0

    def tell(self, text: str) -> None:
        """Something that is said in any case, and not counted."""
        say(self._console, text)

    def add(self, text: str) -> None:
        """One more."""
        self.count += 1
        if self.count <= self.SHOWN:
            say(self._console, text)

    def close(self) -> None:
        """Says how many were not shown."""
        if self.count > self.SHOWN:
            say(self._console, f"and {self.count - self.SHOWN} more like these")
