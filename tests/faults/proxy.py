"""A TCP proxy that can be told to misbehave, to put between the gateway and a real part.

async with Proxy("127.0.0.1", 6379) as proxy:     # or Proxy("/folder/of/.s.PGSQL.5432"): a Unix socket
    connect("127.0.0.1", proxy.port)
    proxy.delay = 0.2     # seconds before each chunk, either way
    proxy.hang()          # connections stay and are taken, and nothing comes through any more
    proxy.cut()           # every connection is closed; new ones are served
    proxy.refuse()        # and new ones end at once, as behind a router where no program listens
    proxy.serve()         # all is well again: what hung comes through now
"""

from __future__ import annotations

import asyncio
import contextlib
from types import TracebackType


class Proxy:
    """Listens on a free port of loopback and passes on to `host` and `port`, or to the Unix socket `host`."""

    def __init__(self, host: str, port: int | None = None) -> None:
        self._host = host
        self._upstream_port = port
        self._open = asyncio.Event()
        self._open.set()
        self._refusing = False
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self.delay = 0.0
        self.port = 0
        self.connections = 0  # so far

    def hang(self) -> None:
        self._open.clear()

    def cut(self) -> None:
        for writer in tuple(self._writers):
            writer.transport.abort()

    def refuse(self) -> None:
        self._refusing = True
        self.cut()

    def serve(self) -> None:
        self._refusing, self.delay = False, 0.0
        self._open.set()

    async def __aenter__(self) -> Proxy:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self.connections += 1
        self._writers.add(writer)
        try:
            if self._refusing:
                return
            await self._open.wait()
            with contextlib.suppress(OSError):
                if self._upstream_port is None:
                    far_reader, far_writer = await asyncio.open_unix_connection(self._host)
                else:
                    far_reader, far_writer = await asyncio.open_connection(self._host, self._upstream_port)
                self._writers.add(far_writer)
                try:
                    ways = [self._pass(reader, far_writer), self._pass(far_reader, writer)]
                    there, back = (asyncio.create_task(way, name="a way through the proxy") for way in ways)
                    try:
                        await asyncio.wait([there, back], return_when=asyncio.FIRST_COMPLETED)
                    finally:
                        there.cancel()
                        back.cancel()
                        await asyncio.gather(there, back, return_exceptions=True)
                finally:
                    self._writers.discard(far_writer)
                    far_writer.transport.abort()
        finally:
            self._writers.discard(writer)
            # What was written is sent on before it closes, unless it was cut.
            writer.close()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(65_536):
            if self.delay:
                await asyncio.sleep(self.delay)
            await self._open.wait()
            writer.write(chunk)
            await writer.drain()
