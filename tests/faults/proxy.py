"""A TCP proxy on loopback that can be cut: what a network does when a cable, a switch or a firewall fails."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Mapping
from contextlib import suppress
from enum import Enum
from functools import partial
from types import TracebackType
from typing import Any, Self

CHUNK = 2**16


class Cut(Enum):
    """How a network fails."""

    HELD = "held"
    """Nothing passes; what was sent comes later, as after a short outage: TCP sends it again."""
    ANSWERS_HELD = "answers held"
    """Requests arrive and take effect, their answers come later: nobody can know what became of them."""
    CLOSED = "closed"
    """Every connection ends, and a new one at once."""


class Proxy:
    """Passes bytes on from its own ports to others', unless it is cut. It has a thread of its own.

    Args:
        routes: port of ours → port behind it, both on 127.0.0.1. What is behind may be filled in later.
    """

    def __init__(self, routes: Mapping[int, int]) -> None:
        self.routes = dict(routes)
        self._loop = asyncio.new_event_loop()
        self._cut: Cut | None = None
        self._open = {True: asyncio.Event(), False: asyncio.Event()}  # by whether it is the way of answers
        self._writers: set[asyncio.StreamWriter] = set()
        self._servers: list[asyncio.Server] = []
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._do(self._listen())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._do(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def cut(self, how: Cut) -> None:
        """From now on, until `heal`."""
        self._do(self._set(how))

    def heal(self) -> None:
        """Passes everything again."""
        self._do(self._set(None))

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _listen(self) -> None:
        for port in self.routes:
            server = await asyncio.start_server(partial(self._serve, port), "127.0.0.1", port)
            self._servers.append(server)
        await self._set(None)

    async def _end(self) -> None:
        for server in self._servers:
            server.close()
        await self._set(Cut.CLOSED)
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _set(self, how: Cut | None) -> None:
        self._cut = how
        for answers, gate in self._open.items():
            held = how is Cut.HELD or (how is Cut.ANSWERS_HELD and answers)
            (gate.clear if held else gate.set)()
        if how is Cut.CLOSED:
            for writer in list(self._writers):
                writer.transport.abort()

    async def _serve(self, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._cut is Cut.CLOSED:
            writer.transport.abort()
            return
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self.routes[port])
        except OSError:  # the broker is down: so is this way to it
            writer.transport.abort()
            return
        ours = {writer, back}
        self._writers |= ours
        try:
            await asyncio.gather(self._pass(reader, back, answers=False), self._pass(there, writer, answers=True))
        finally:
            self._writers -= ours
            for one in ours:
                one.transport.abort()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, answers: bool) -> None:
        with suppress(OSError):
            while data := await reader.read(CHUNK):
                await self._open[answers].wait()
                writer.write(data)
                await writer.drain()
        writer.transport.abort()  # the other direction ends with this one
