"""Sockets before they are bound, and lines that strangers make long."""

from __future__ import annotations

import socket
import time
import tracemalloc
from typing import Any

import pytest

from consumer.errors import FetchTimeout, ProtocolError
from consumer.fetching.deadline import Deadline
from consumer.fetching.http1 import HEAD_BYTES, AnswerReader
from consumer.fetching.wire import PIECE_BYTES, PIECES, ROOM_BYTES, BoundedSocket


def pair() -> tuple[BoundedSocket, socket.socket]:
    ours, theirs = socket.socketpair()
    return BoundedSocket(fileno=ours.detach()), theirs


def test_a_socket_is_read_before_it_is_bound_as_ssl_does_where_the_peer_is_gone_before_the_handshake() -> None:
    ours, theirs = pair()
    with ours, theirs:
        theirs.send(b"x")
        assert ours.recv(1) == b"x"


class Narrow(socket.socket):
    """Takes a byte a second, by a clock of its own; stands below `BoundedSocket`, as TLS does."""

    now = 0.0

    def send(self, data: Any, flags: int = 0) -> int:
        self.now += 1.0
        return super().send(bytes(data)[:1], flags)


class Bounded(BoundedSocket, Narrow):
    pass


def test_a_request_has_one_deadline_and_not_one_for_each_piece_of_it() -> None:
    made, theirs = socket.socketpair()
    with Bounded(fileno=made.detach()) as ours, theirs:
        ours.bound(Deadline(10.0, lambda: ours.now))
        ours.sendall(b"12345678")
        with pytest.raises(FetchTimeout):
            ours.sendall(b"90123")
        assert theirs.recv(100) == b"1234567890"


def test_an_answer_may_not_come_in_more_pieces_than_honest_ones_have() -> None:
    ours, theirs = pair()
    with ours, theirs:
        ours.bound(Deadline(10.0))
        theirs.sendall(bytes(20_000))
        ours.allow(20 * PIECE_BYTES)
        for _ in range(PIECES + 20):
            assert ours.recv(1)
        with pytest.raises(ProtocolError, match="pieces"):
            ours.recv(1)
        ours.allow(20 * PIECE_BYTES)
        assert ours.recv(1)


def test_what_is_received_takes_the_memory_of_what_came_and_not_of_what_might_have_come() -> None:
    ours, theirs = pair()
    with ours, theirs:
        ours.bound(Deadline(10.0))
        ours.allow(ROOM_BYTES)
        theirs.sendall(bytes(20_000))
        assert ours.recv(1)  # the thread has its room
        tracemalloc.start()
        try:
            piece = ours.recv(ROOM_BYTES)
            most = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert len(piece) == 19_999
        assert most < ROOM_BYTES / 2


@pytest.mark.parametrize(
    ("line", "good"),
    [
        (b"a: x" + b" " * 60_000 + b"y", True),
        (b"a:" + b" " * 60_000 + b"\0", False),
        (b"a: x\r\n" + b" y\r\n" * 900 + b"b: z", True),
        (b"a: x\r\n" + b" y\r\n" * 12_000 + b"b: z", False),
        (b"a: x\r\n" * 900 + b"b: z", True),
        (b"a: x\r\n" * 10_000 + b"b: z", False),
        (b"a" * 60_000, False),
    ],
    ids=["spaces", "spaces and a NUL", "folded", "very often folded", "a name again", "again and again", "no colon"],
)
def test_headers_of_any_form_are_read_or_refused_at_once(line: bytes, good: bool) -> None:
    answer = b"HTTP/1.1 200 OK\r\n" + line + b"\r\nContent-Length: 0\r\n\r\n"
    assert len(answer) <= HEAD_BYTES
    ours, theirs = pair()
    with ours, theirs:
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * HEAD_BYTES)
        theirs.sendall(answer)
        ours.bound(Deadline(10.0))
        reader = AnswerReader(ours)
        began = time.process_time()
        if good:
            assert reader.head().length == 0
        else:
            with pytest.raises(ProtocolError):
                reader.head()
        assert time.process_time() - began < 1.0  # 20 ms; the form that backtracked would have taken a minute or hours
