"""The lines of a file, numbered, in flat memory whatever the file holds."""

from __future__ import annotations

from typing import BinaryIO, Self

from consumer.codec import EVENT_MAX_BYTES


class Lines:
    """An iterator over a binary file's lines as text, line ends included.

    One that is too long or no UTF-8 raises `ValueError`; the next call goes on with the line after it.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.number = 0
        """Number of the latest line, from 1."""
        self.bytes_read = 0

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> str:
        line = self._read()
        if not line:
            raise StopIteration
        self.number += 1
        if self.number == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")  # the byte order mark that Excel writes
        if len(line) > EVENT_MAX_BYTES:
            piece = line
            while piece and not piece.endswith(b"\n"):
                piece = self._read()
            raise ValueError(f"longer than {EVENT_MAX_BYTES} bytes")
        try:
            return line.decode()
        except UnicodeDecodeError:
            raise ValueError("not UTF-8") from None

    def _read(self) -> bytes:
        line = self._file.readline(EVENT_MAX_BYTES + 1)
        self.bytes_read += len(line)
        return line
