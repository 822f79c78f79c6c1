"""How long a client may take, and how many connections one address may hold; a connection that overstays is closed.

aiohttp waits without limit for the rest of a request: a client that vanished, or is hostile, would keep its connection
for ever.
"""

from __future__ import annotations

import asyncio
import collections
import dataclasses
from collections.abc import Awaitable, Callable

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclasses.dataclass(frozen=True)
class Limits:
    """What the server grants its clients.

    Attributes:
      address: connections of one address at the same time.
      request_seconds: for a request's head to arrive, from the opening of the connection or from the last answer.
      message_seconds: for a request's body, and between two messages of a WebSocket, pongs included.
      heartbeat_seconds: a WebSocket is pinged so often; less than `message_seconds`.
      body_bytes: of a request's body.
    """

    address: int = 100
    request_seconds: float = 15.0
    message_seconds: float = 30.0
    heartbeat_seconds: float = 20.0
    body_bytes: int = 64 * 2**20


DEFAULT_LIMITS = Limits()


class Watch:
    """Closes the connections that wait too long for a request, and those beyond what an address may hold."""

    def __init__(self, limits: Limits):
        """`run` must be running for the limits to hold."""
        self.limits = limits
        self._answering: set[asyncio.BaseTransport | None] = set()

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Note that a whole head has arrived: its answer may take as long as it takes."""
        self._answering.add(request.transport)
        try:
            return await handler(request)
        finally:
            self._answering.discard(request.transport)

    async def run(self, server: web.Server) -> None:
        """Look after the server's connections until cancelled."""
        waiting: dict[asyncio.BaseTransport, int] = {}  # for how many looks
        period = min(self.limits.request_seconds / 5, 1.0)
        while True:
            await asyncio.sleep(period)
            held = [connection.transport for connection in server.connections if connection.transport]
            waiting = {end: waiting.get(end, 0) + 1 for end in held if end not in self._answering}
            of_address: collections.Counter[str] = collections.Counter()
            for end in held:
                address = (end.get_extra_info("peername") or ("",))[0]
                of_address[address] += 1
                late = waiting.get(end, 0) * period > self.limits.request_seconds
                if late or of_address[address] > self.limits.address:
                    end.abort()  # close would wait until the client has taken in what is buffered
