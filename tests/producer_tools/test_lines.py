"""Reading a file line by line, whatever it holds."""

from io import BytesIO

import pytest

from consumer.codec import EVENT_MAX_BYTES
from producer_tools.lines import Lines


def lines_of(data: bytes) -> list[str]:
    """The lines, or in their place what is wrong with them."""
    lines = Lines(BytesIO(data))
    found = []
    while True:
        try:
            found.append(next(lines))
        except StopIteration:
            assert lines.number == len(found)
            assert lines.bytes_read == len(data)
            return found
        except ValueError as error:
            found.append(str(error))


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", []),
        (b"a", ["a"]),
        (b"a\nb\r\n\nc", ["a\n", "b\r\n", "\n", "c"]),
        (b"\xef\xbb\xbfa\n\xef\xbb\xbfb", ["a\n", "\ufeffb"]),
        (b"a\n\xff\nb\n", ["a\n", "not UTF-8", "b\n"]),
    ],
)
def test_lines_come_with_their_ends_and_a_bad_one_is_one_bad_line(data: bytes, expected: list[str]) -> None:
    assert lines_of(data) == expected


@pytest.mark.parametrize("end", [b"\nb", b""])
def test_a_line_without_end_is_one_bad_line_and_never_in_memory(end: bytes) -> None:
    too_long = f"longer than {EVENT_MAX_BYTES} bytes"
    assert lines_of(b"x" * (3 * EVENT_MAX_BYTES) + end) == [too_long, *(["b"] if end else [])]
    assert lines_of(b"x" * (EVENT_MAX_BYTES + 1) + end) == [too_long, *(["b"] if end else [])]
    assert lines_of(b"x" * (EVENT_MAX_BYTES - 1) + b"\n")[0].endswith("x\n")
