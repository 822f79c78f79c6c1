"""How many connections the server holds, and how long one may take over a request.

aiohttp waits without limit for the rest of a request, and for the first byte of the first one: a client that vanished
or is hostile would keep its connection for ever. WebSockets have their own heartbeat.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\nRetry-After: 5\r\nConnection: close\r\n\r\n"
    b"this server has as many connections as it takes; try again later\n"
)


@dataclasses.dataclass(frozen=True)
class Limits:
    """What the server grants its clients.

    Attributes:
      connections: that are open at the same time; a further one is answered with status 503.
      request_seconds: a connection is closed that has not sent a whole request so long after it was opened, or after
        the last answer, or that does not take in its answer.
      heartbeat_seconds: a WebSocket is pinged so often, and closed when half as long passes without an answer.
    """

    connections: int = 100
    request_seconds: float = 15.0
    heartbeat_seconds: float = 20.0


DEFAULT_LIMITS = Limits()


class Connections:
    """The open connections of a server.

    Attributes:
      limits: that hold for them.
    """

    def __init__(self, limits: Limits):
        self.limits = limits
        self._deadlines: dict[asyncio.BaseTransport, asyncio.TimerHandle] = {}

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """A request that has arrived takes as long as it takes; then its connection's time begins anew."""
        transport = request.transport
        self._stop_clock(transport)
        try:
            return await handler(request)
        finally:
            if transport in self._deadlines:
                self._start_clock(transport)

    def opened(self, transport: asyncio.BaseTransport) -> bool:
        """Count a connection; False where it is one too many."""
        if len(self._deadlines) >= self.limits.connections:
            return False
        self._start_clock(transport)
        return True

    def closed(self, transport: asyncio.BaseTransport) -> None:
        """Forget a connection."""
        self._stop_clock(transport)
        self._deadlines.pop(transport, None)

    def _start_clock(self, transport: asyncio.BaseTransport) -> None:
        loop = asyncio.get_running_loop()
        # abort rather than close, which would wait until the client has taken in what is buffered
        end = transport.abort if isinstance(transport, asyncio.WriteTransport) else transport.close
        self._deadlines[transport] = loop.call_later(self.limits.request_seconds, end)

    def _stop_clock(self, transport: asyncio.BaseTransport | None) -> None:
        if transport is not None and (deadline := self._deadlines.get(transport)):
            deadline.cancel()


class _Counted(asyncio.Protocol):
    """aiohttp's protocol of one connection, which `Connections` hears of."""

    def __init__(self, connections: Connections, inner: asyncio.Protocol):
        self._connections = connections
        self._inner: asyncio.Protocol | None = inner
        self._transport: asyncio.BaseTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        if self._connections.opened(transport):
            assert self._inner is not None
            self._inner.connection_made(transport)
            return
        self._inner = None
        if isinstance(transport, asyncio.WriteTransport):
            transport.write(_FULL)
        transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        assert self._transport is not None
        self._connections.closed(self._transport)
        if self._inner:
            self._inner.connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._inner:
            self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        return self._inner.eof_received() if self._inner else None

    def pause_writing(self) -> None:
        if self._inner:
            self._inner.pause_writing()

    def resume_writing(self) -> None:
        if self._inner:
            self._inner.resume_writing()


@contextlib.asynccontextmanager
async def listening(
    runner: web.AppRunner, connections: Connections, host: str, port: int
) -> AsyncIterator[asyncio.Server]:
    """Accept connections while the block runs; OSError where nobody can listen there. `runner` is set up already."""
    factory = runner.server
    assert factory is not None
    server = await asyncio.get_running_loop().create_server(lambda: _Counted(connections, factory()), host, port)
    try:
        yield server
    finally:
        server.close()
