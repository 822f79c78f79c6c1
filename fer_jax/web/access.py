"""Access to the server: its names, who may use it, for how long, and over how many connections.

aiohttp waits without limit for the rest of a request: a client that vanished, or is hostile, would keep its connection
for ever. Here one that overstays is closed.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import dataclasses
import ipaddress
import re
from collections.abc import Awaitable, Callable, Iterable
from urllib.parse import urlsplit

from aiohttp import web

from fer_jax.errors import UserError

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
DEFAULT_PORTS = {"http": "80", "https": "443"}


@dataclasses.dataclass(frozen=True)
class Limits:
    """Limits that the server sets its clients.

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


class Origins:
    """Names and origins (RFC 6454) of a server."""

    def __init__(self, host: str, public: Iterable[str] = ()):
        """Take the name or address that it listens on, and the origins under which a proxy shows it.

        Raises:
          UserError: a public origin that is none.
        """
        self._public = frozenset(map(parse_origin, public))
        self._names = {"localhost", host.lower(), *(urlsplit(origin).hostname for origin in self._public)}

    def is_own_name(self, host: str) -> bool:
        """Return whether a request's Host header names this server, if only by its address in numbers.

        A foreign name that leads here is another site's page on its way to this machine (DNS rebinding).
        """
        with contextlib.suppress(ValueError):
            name = urlsplit(f"//{host}").hostname or ""
            return name in self._names or bool(ipaddress.ip_address(name))
        return False

    def may_connect(self, origin: str, host: str) -> bool:
        """Return whether a page of `origin` may send requests: this server's own, as `host` names it, or a public one.

        A proxy may or may not pass on the name that the browser asked for, so a public origin fits any `host`.
        """
        return origin.lower() in {f"http://{host.lower()}", f"https://{host.lower()}"} | self._public


def parse_origin(origin: str) -> str:
    """An origin as browsers write it: lower case, without a default port; UserError for what is none."""
    match = re.fullmatch(r"(https?)://(\[[0-9a-f:.]+\]|[^][/?#@:*\s]+)(?::(\d+))?/?", origin.lower())
    if not match:
        raise UserError(
            f"--public-origin={origin}: expected a scheme, a name and a port unless it is the scheme's own, such as "
            "https://faces.example, without wildcards"
        )
    scheme, name, port = match.groups()
    return f"{scheme}://{name}" + ("" if port in (None, DEFAULT_PORTS[scheme]) else f":{port}")


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach what listens on `host`."""
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host.lower() == "localhost"


def reachable(host: str) -> str:
    """The part of an address that leads from this machine to what listens on `host`, such as 127.0.0.1 for 0.0.0.0."""
    with contextlib.suppress(ValueError):
        address = ipaddress.ip_address(host)
        if address.is_unspecified:
            host = "127.0.0.1" if address.version == 4 else "::1"
    return f"[{host}]" if ":" in host else host
