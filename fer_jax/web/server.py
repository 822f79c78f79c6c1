"""The server: the page's files, and a WebSocket for each client, who has tracks of its own; all share one model."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import functools
import hmac
import logging
import mimetypes
import os
import pathlib
import re
import time
from collections.abc import AsyncIterator, Iterable

from aiohttp import WSCloseCode, WSMsgType, web
from aiohttp.http_exceptions import HttpProcessingError

from fer_jax.errors import UserError
from fer_jax.faces import cropping, registry
from fer_jax.serve.analysis import FrameAnalyzer
from fer_jax.serve.analyzer import Analyzer
from fer_jax.serve.classifier import Classifier
from fer_jax.serve.frames import Frame
from fer_jax.web import protocol
from fer_jax.web.access import DEFAULT_LIMITS, Handler, Limits, Origins, Watch, reachable
from fer_jax.web.rest import Rest, errors_as_json, secured

PAGE = pathlib.Path(__file__).with_name("page")
HEADERS = {
    # scripts, styles and connections of this server only, and no other page around it
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Permissions-Policy": "camera=(self)",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}
TOKEN = re.compile(r"([\w.~-]{16,})?", re.ASCII)
WATCH = web.AppKey("watch", Watch)

mimetypes.add_type("text/javascript", ".js")  # some Windows registries differ, and browsers refuse the script then


def application(
    analyzer: Analyzer,
    detector_model: str = "",
    host: str = "localhost",
    turns: int | None = None,
    public_origins: Iterable[str] = (),
    token: str = "",
    limits: Limits = DEFAULT_LIMITS,
) -> web.Application:
    """The server's application.

    Args:
      analyzer: that all clients share.
      detector_model: path of YuNet's file; "" looks for it, see `fer_jax.faces.registry.find_model`.
      host: name under which browsers may know this machine, besides localhost and addresses in numbers.
      turns: how many frames are analyzed at once; None is one a core.
      public_origins: such as "https://faces.example", of proxies in front of this server.
      token: that clients must send; "" for none.
      limits: of the clients.

    Raises:
      UserError: the bundle has no crop policy for a detector, YuNet's file is not usable, or a public origin or the
        token is none.
    """
    if not TOKEN.fullmatch(token):
        raise UserError("--token has other characters than letters, digits and -._~, or fewer than 16: give another")
    origins = Origins(host, public_origins)
    watch = Watch(limits)
    # fair: first come, first served, and a client waits for one turn at a time
    taken_in_turn = asyncio.Semaphore(turns or os.cpu_count() or 1)
    server = _Server(analyzer, detector_model, origins, taken_in_turn, token, limits)
    app = web.Application(middlewares=[watch.middleware, errors_as_json, server.refuse_strangers])
    app[WATCH] = watch
    Rest(analyzer, taken_in_turn, limits).add_to(app.router)
    app.router.add_get("/socket", server.socket)
    for file in PAGE.iterdir():
        app.router.add_get(f"/{file.name}".removesuffix("index.html"), functools.partial(_send, file))
    app.on_response_prepare.append(_add_headers)
    app.on_shutdown.append(server.say_goodbye)
    return app


@contextlib.asynccontextmanager
async def listening(app: web.Application, host: str, port: int) -> AsyncIterator[str]:
    """Serve while the block runs; gives the page's address on this machine. UserError where `host` has no free `port`.

    Work that is underway at the end is not waited for; its thread keeps the process until the work ends or
    `os._exit` is called.
    """
    logging.getLogger("aiohttp.server").addFilter(_is_own_error)
    watch = app[WATCH]
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0, keepalive_timeout=watch.limits.request_seconds)
    await runner.setup()
    site = web.TCPSite(runner, host, port)
    try:
        try:
            await site.start()
        except OSError as error:
            raise UserError(
                f"cannot listen on port {port} of {host} ({error.strerror}): give another --port, or 0 "
                "for any that is free, or another --host"
            ) from error
        assert runner.server is not None
        watching = asyncio.create_task(watch.run(runner.server))
        yield f"http://{reachable(host)}:{runner.addresses[0][1]}/"
        watching.cancel()
    finally:
        await runner.cleanup()


@dataclasses.dataclass(eq=False, repr=False)  # the token is in no log
class _Server:
    """State shared by the handlers of all requests."""

    analyzer: Analyzer
    detector_model: str
    origins: Origins
    turns: asyncio.Semaphore
    token: str
    limits: Limits

    def __post_init__(self):
        self._detectors = detectors(self.analyzer.classifier, self.detector_model)
        self._sockets: set[web.WebSocketResponse] = set()

    @web.middleware
    async def refuse_strangers(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answer requests to this server's own names and from its own pages only, see `Origins`."""
        if not self.origins.is_own_name(request.host):
            raise web.HTTPForbidden(
                text=f"{request.host}: this server is not known by that name; a proxy's goes into --public-origin\n"
            )
        origin = request.headers.get("Origin")
        if origin is not None and not self.origins.may_connect(origin, request.host):
            raise web.HTTPForbidden(
                text=f"origin {origin or 'none'}: only this server's own page may connect; a proxy's origin goes into "
                "--public-origin\n"
            )
        given = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if secured(request.path) and not self._is_token(given):
            raise web.HTTPUnauthorized(
                text="expected the header Authorization: Bearer TOKEN, with the server's --token\n"
            )
        return await handler(request)

    def _is_token(self, given: str) -> bool:
        return not self.token or hmac.compare_digest(given.encode(errors="surrogateescape"), self.token.encode())

    async def socket(self, request: web.Request) -> web.StreamResponse:
        """Serve one client until it disconnects."""
        if "Origin" not in request.headers:  # browsers always send it
            raise web.HTTPForbidden(text="no origin: only this server's own page may connect\n")
        offered = [part.strip() for part in request.headers.get("Sec-WebSocket-Protocol", "").split(",")]
        if not any(map(self._is_token, offered)):
            raise web.HTTPUnauthorized(text="the page lacks the server's --token: open the address that it printed\n")
        socket = web.WebSocketResponse(
            protocols=offered if self.token else (),
            max_msg_size=protocol.MAX_BYTES,
            heartbeat=self.limits.heartbeat_seconds,
            receive_timeout=self.limits.message_seconds,
            compress=False,
        )
        await socket.prepare(request)
        self._sockets.add(socket)
        session = Session(self.analyzer.classifier, protocol.Settings(self._detectors[0]), self.detector_model)
        try:
            await socket.send_str(protocol.hello(self.analyzer.classifier, self._detectors))
            await _Client(socket, session, self._detectors, self.turns).attend()
        except* (ConnectionResetError, TimeoutError):
            pass  # the client left while it was being answered, or it sends a message that does not end
        finally:
            self._sockets.discard(socket)
        return socket

    async def say_goodbye(self, app: web.Application) -> None:
        """Close all WebSockets: the server would wait for them."""
        for socket in set(self._sockets):
            await socket.close(code=WSCloseCode.GOING_AWAY, message=b"the server stops")


class Session:
    """Analyzes the frames of one client, one after the other, as its settings say.

    Attributes:
      settings: may be replaced at any time, from any thread; they take effect with the next frame.
    """

    def __init__(self, classifier: Classifier, settings: protocol.Settings, detector_model: str = ""):
        """`detector_model` is the path of YuNet's file, "" to look for it."""
        self.settings = settings
        self._classifier = classifier
        self._detector_model = detector_model
        self._detectors: dict[str, registry.Detectors] = {}
        self._analyzer: FrameAnalyzer | None = None
        self._analyzed_as: tuple | None = None  # the settings and shape of the present analyzer
        self._frames = 0

    def answer(self, sent: protocol.ClientFrame, dropped: int) -> str:
        """The message that answers a frame; UserError for one that is no picture."""
        settings = self.settings
        image = protocol.decode(sent.file, sent.still)
        now = time.perf_counter()
        made = registry.Detectors(settings.detector, self._detector_model)
        detector = self._detectors.setdefault(settings.detector, made)
        if sent.still:
            analyzer, starts = FrameAnalyzer(self._classifier, detector, tta="auto"), True
            self._analyzed_as = None
        else:
            wanted = settings.detector, settings.smoothing, image.shape
            starts = wanted != self._analyzed_as
            if starts or self._analyzer is None:
                self._analyzer = FrameAnalyzer(self._classifier, detector, settings.smoothing)
                self._analyzed_as = wanted
            analyzer = self._analyzer
        frame = Frame(image, self._frames, now, now, "", starts, still=sent.still)
        self._frames += 1
        return protocol.scene(sent, analyzer.read(analyzer.search(frame)), settings.explain, dropped)


def detectors(classifier: Classifier, detector_model: str = "") -> tuple[str, ...]:
    """Names of the detectors that clients may choose, the first one to begin with.

    A detector that cannot be had is left out, such as Haar's cascade in OpenCV 5. UserError when the first one cannot:
    YuNet's file is not usable, or the bundle has no crop policy for it.
    """
    first = registry.default(detector_model)
    known = [name for name, entry in registry.DETECTORS.items() if not entry.needs_model or name == first]
    names = sorted(known, key=lambda name: (not registry.DETECTORS[name].searches, name != first))
    usable = []
    for name in names:
        try:
            registry.create(name, detector_model)
            cropping.CropPolicy.of(classifier.bundle.crop, name)
        except UserError:
            if name == first:
                raise
        else:
            usable.append(name)
    return tuple(usable)


@dataclasses.dataclass
class _Client:
    """Receives a client's messages, and answers its newest frame whenever it has a turn."""

    socket: web.WebSocketResponse
    session: Session
    detectors: tuple[str, ...]
    turns: asyncio.Semaphore

    def __post_init__(self):
        self._newest: protocol.ClientFrame | None = None
        self._arrived = asyncio.Event()
        self._dropped = 0

    async def attend(self) -> None:
        """Serve until the client is gone; an error here ends this client's connection and no other."""
        async with asyncio.TaskGroup() as group:
            answering = group.create_task(self._answer())
            await self._receive()
            answering.cancel()

    async def _receive(self) -> None:
        async for message in self.socket:
            try:
                if message.type == WSMsgType.BINARY:
                    sent = protocol.parse_frame(message.data)
                    self._dropped += self._newest is not None
                    self._newest = sent
                    self._arrived.set()
                elif message.type == WSMsgType.TEXT:
                    self.session.settings = protocol.parse_settings(message.data, self.detectors)
            except UserError as error:
                await self.socket.send_str(protocol.refused(error))

    async def _answer(self) -> None:
        while True:
            await self._arrived.wait()
            async with self.turns:
                sent, self._newest = self._newest, None
                self._arrived.clear()
                assert sent is not None, "the event is set for a frame"
                try:
                    answer = await asyncio.to_thread(self.session.answer, sent, self._dropped)
                except UserError as error:
                    answer = protocol.refused(error, sent)
            await self.socket.send_str(answer)


def _is_own_error(record: logging.LogRecord) -> bool:
    """Drop the tracebacks of malformed requests and of clients that left: they are no defects, and could fill a log."""
    of_clients = HttpProcessingError, web.RequestPayloadError, ConnectionError
    return not (record.exc_info and isinstance(record.exc_info[1], of_clients))


async def _send(file: pathlib.Path, request: web.Request) -> web.StreamResponse:
    del request
    return web.FileResponse(file)


async def _add_headers(request: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(HEADERS)
