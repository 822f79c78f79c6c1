"""The server: the page's files, and a WebSocket for each client, who share one model turn by turn."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import mimetypes
import os
import pathlib
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from aiohttp import WSCloseCode, WSMsgType, web

from fer_jax.errors import UserError
from fer_jax.serve.classifier import Classifier
from fer_jax.web import protocol
from fer_jax.web.session import Session, detectors

PAGE = pathlib.Path(__file__).with_name("page")
HEARTBEAT_SECONDS = 20.0  # a client that does not answer one is gone
HEADERS = {
    # scripts, styles and connections of this server only, and no other page around it
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Permissions-Policy": "camera=(self)",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

mimetypes.add_type("text/javascript", ".js")  # some Windows registries say otherwise, and browsers then refuse it


def application(
    classifier: Classifier, detector_model: str = "", host: str = "localhost", turns: int | None = None
) -> web.Application:
    """The server's application.

    Args:
      classifier: that all clients share.
      detector_model: path of YuNet's file; "" offers Haar's cascade alone.
      host: name under which browsers may know this machine, besides localhost and addresses in numbers.
      turns: how many frames are analysed at once; None is one a core.

    Raises:
      UserError: the bundle has no crop policy for a detector, or YuNet's file is not usable.
    """
    server = _Server(classifier, detector_model, {"localhost", host.lower()}, turns or os.cpu_count() or 1)
    app = web.Application(middlewares=[server.refuse_other_names])
    app.router.add_get("/", server.page)
    app.router.add_get("/socket", server.socket)
    app.router.add_static("/", PAGE)
    app.on_response_prepare.append(_add_headers)
    app.on_shutdown.append(server.say_goodbye)
    return app


@contextlib.asynccontextmanager
async def listening(app: web.Application, host: str, port: int):  # noqa: ANN201
    """Serve while the block runs; gives the address of the page. UserError where nobody can listen there."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            raise UserError(
                f"cannot listen on port {port} of {host} ({error.strerror}): give another --port, or 0 "
                "for any that is free, or another --host"
            ) from error
        yield f"http://{f'[{host}]' if ':' in host else host}:{runner.addresses[0][1]}/"
    finally:
        await runner.cleanup()


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach what listens on `host`."""
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host.lower() == "localhost"


class _Server:
    """What the handlers of all requests share."""

    def __init__(self, classifier: Classifier, detector_model: str, names: set[str], turns: int):
        self._classifier = classifier
        self._detector_model = detector_model
        self._detectors = detectors(classifier, detector_model)
        self._names = names
        # first come, first served, and a client waits for one turn at a time: that is all there is to fairness
        self._turns = asyncio.Semaphore(turns)
        self._sockets: set[web.WebSocketResponse] = set()

    @web.middleware
    async def refuse_other_names(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """A foreign name that leads here is a page of others on its way to this machine (DNS rebinding)."""
        if not self._is_own_name(request.host):
            raise web.HTTPForbidden(text=f"{request.host}: this server is not known by that name\n")
        return await handler(request)

    async def page(self, request: web.Request) -> web.StreamResponse:
        """The page itself."""
        return web.FileResponse(PAGE / "index.html")

    async def socket(self, request: web.Request) -> web.StreamResponse:
        """A client from its first to its last message."""
        origin = request.headers.get("Origin", "")
        if origin.lower() not in (f"{scheme}://{request.host.lower()}" for scheme in ("http", "https")):
            raise web.HTTPForbidden(text=f"origin {origin or 'none'}: only this server's own page may connect\n")
        socket = web.WebSocketResponse(max_msg_size=protocol.MAX_BYTES, heartbeat=HEARTBEAT_SECONDS, compress=False)
        await socket.prepare(request)
        self._sockets.add(socket)
        settings = protocol.Settings(self._detectors[0])
        session = Session(self._classifier, settings, self._detector_model)
        try:
            await socket.send_str(protocol.hello(self._classifier, self._detectors))
            await _Client(socket, session, self._detectors, self._turns).attend()
        except* ConnectionResetError:
            pass  # gone while something was said to it
        finally:
            self._sockets.discard(socket)
        return socket

    async def say_goodbye(self, app: web.Application) -> None:
        """End all connections, or the server would wait for them."""
        for socket in set(self._sockets):
            await socket.close(code=WSCloseCode.GOING_AWAY, message=b"the server stops")

    def _is_own_name(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        with contextlib.suppress(ValueError):
            return bool(ipaddress.ip_address(name))
        return name in self._names


class _Client:
    """Takes a client's messages as they come, and answers its newest frame whenever it is its turn."""

    def __init__(
        self, socket: web.WebSocketResponse, session: Session, detectors: tuple[str, ...], turns: asyncio.Semaphore
    ):
        self._socket = socket
        self._session = session
        self._detectors = detectors
        self._turns = turns
        self._newest: protocol.ClientFrame | None = None
        self._arrived = asyncio.Event()
        self._dropped = 0

    async def attend(self) -> None:
        """Until the client is gone; what goes wrong here ends this client's connection and nobody else's."""
        async with asyncio.TaskGroup() as group:
            answering = group.create_task(self._answer())
            await self._receive()
            answering.cancel()

    async def _receive(self) -> None:
        async for message in self._socket:
            try:
                if message.type == WSMsgType.BINARY:
                    sent = protocol.parse_frame(message.data)
                    self._dropped += self._newest is not None
                    self._newest = sent
                    self._arrived.set()
                elif message.type == WSMsgType.TEXT:
                    self._session.settings = protocol.parse_settings(message.data, self._detectors)
            except UserError as error:
                await self._socket.send_str(protocol.refused(error))

    async def _answer(self) -> None:
        while True:
            await self._arrived.wait()
            async with self._turns:
                sent, self._newest = self._newest, None
                self._arrived.clear()
                try:
                    answer = await asyncio.to_thread(self._session.answer, sent, self._dropped)
                except UserError as error:
                    answer = protocol.refused(error, sent)
            await self._socket.send_str(answer)


async def _add_headers(request: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(HEADERS)
