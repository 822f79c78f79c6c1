"""The HTTP interface: files go in, what `fer_jax.analyze` says of them comes back as JSON."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import time
from collections.abc import AsyncGenerator, Awaitable, Mapping
from typing import Any, TypeVar

from aiohttp import BodyPartReader, StreamReader, web

from fer_jax import __version__
from fer_jax.errors import UserError
from fer_jax.serve.analyzer import Analyzer, Face
from fer_jax.serve.frames import Sampling, shown
from fer_jax.serve.plot import Plot
from fer_jax.serve.sources import MEMORY
from fer_jax.serve.summary import Summary
from fer_jax.web import openapi
from fer_jax.web.access import Handler, Limits

T = TypeVar("T")
MAX_FILES = 100  # of a request
MAX_FRAMES = 3000  # of a video, after sampling: two minutes of 25 frames/s
MAX_UPLOADS = 8  # files that are received or analyzed at the same time; others wait
MIN_BYTES_PER_SECOND = 50_000  # below which an upload is given up
TURN_SECONDS = 0.25  # for which a video may keep others waiting
PIECE = 2**18  # bytes


@dataclasses.dataclass(frozen=True)
class Options(Sampling):
    """Which frames of videos are analyzed, and what comes with the answer.

    Attributes:
      plot: whether a band over time for each person comes as well, and the table that the command prints.
    """

    plot: bool = False


@dataclasses.dataclass(frozen=True)
class Result:
    """One file's faces and summary.

    Attributes:
      name: of the file, as it was sent.
      error: why it was not analyzed; null where it was.
      faces: in a picture from left to right, in a video frame by frame.
      summary: how long each person is seen, and with which expressions.
      plot: an SVG image; null where none was asked for.
      table: the cells of the printed table, its head first; null where no plot was asked for.
    """

    name: str
    error: str | None = None
    faces: tuple[Face, ...] = ()
    summary: Summary | None = None
    plot: str | None = None
    table: tuple[tuple[str, ...], ...] | None = None


@dataclasses.dataclass(frozen=True)
class Answer:
    """Faces and summaries of a request's files.

    Attributes:
      model: name of the model.
      results: in the order of the files.
    """

    model: str
    results: tuple[Result, ...]


@dataclasses.dataclass(frozen=True)
class Model:
    """The model that answers.

    Attributes:
      name: of the bundle.
      labels: names of the expressions in the model's order.
      network: name of its architecture.
      parameters: how many the network has.
      size: height and width in pixels of the face that it is shown.
      uncertain_below: a name with a lower probability is marked as uncertain.
      detector: what finds the faces.
      training_data: what it was trained on.
      license: terms of use.
    """

    name: str
    labels: tuple[str, ...]
    network: str
    parameters: int
    size: int
    uncertain_below: float
    detector: str
    training_data: str
    license: str


@dataclasses.dataclass(frozen=True)
class Models:
    """The models of this server.

    Attributes:
      models: the one that it serves.
    """

    models: tuple[Model, ...]


@dataclasses.dataclass(frozen=True)
class Health:
    """That the server answers.

    Attributes:
      status: "ok".
      version: of fer_jax.
    """

    status: str
    version: str


class Rest:
    """The handlers; the model is shared with all other clients, who take turns."""

    def __init__(self, analyzer: Analyzer, turns: asyncio.Semaphore, limits: Limits):
        """`turns` has one for each file that is analyzed at the same time."""
        self._analyzer = analyzer
        self._turns = turns
        self._limits = limits
        self._uploads = asyncio.Semaphore(MAX_UPLOADS)
        refused = {401: "A wrong token, or none.", 403: "A foreign name or origin.", 422: "No file could be analyzed."}
        sends = {
            "multipart/form-data": "Up to 100 pictures and videos, each a part with a file name.",
            "application/octet-stream": "One picture or video; its own media type is as good.",
        }
        limited = {400: "A malformed request.", 408: "Too slow an upload.", 413: "Too large a file, or too many."}
        self.routes = (
            openapi.Route("POST", "/v1/analyze", self.analyze, sends, refused | limited),
            openapi.Route("GET", "/v1/models", self.models, errors={401: refused[401], 403: refused[403]}),
            openapi.Route("GET", "/healthz", self.health),
            openapi.Route("GET", "/openapi.json", self.description),
        )

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Serve the routes."""
        for route in self.routes:
            add = router.add_get if route.method == "GET" else router.add_post  # HEAD is answered as GET is
            add(route.path, _answering(route))

    async def analyze(self, request: web.Request, options: Options) -> Answer:
        """Faces and expressions in pictures and short videos.

        The faces are those that `fer-jax analyze --json` prints. Nothing is stored.
        """
        results = []
        async with contextlib.aclosing(self._files(request)) as sent:
            async for name, data in sent:
                if len(results) == MAX_FILES:
                    raise web.HTTPRequestEntityTooLarge(0, 0, text=f"more than {MAX_FILES} files: send them in turns")
                results.append(await self._analyze(request, name, data, options))
        if not results:
            raise UserError("no file was sent: expected a picture or video as the body, or parts with file names")
        if all(result.error for result in results):
            raise UserError(results[0].error)
        return Answer(self._analyzer.classifier.bundle.name, tuple(results))

    async def models(self, request: web.Request) -> Models:
        """The model that answers."""
        del request
        bundle = self._analyzer.classifier.bundle
        return Models(
            (
                Model(
                    bundle.name,
                    bundle.labels,
                    bundle.model["name"],
                    bundle.model["parameters"],
                    bundle.input.size,
                    bundle.uncertain_below,
                    self._analyzer.detector,
                    bundle.provenance["training_data"],
                    bundle.provenance["licence"],
                ),
            )
        )

    async def health(self, request: web.Request) -> Health:
        """The state of the server."""
        del request
        return Health("ok", __version__)

    async def description(self, request: web.Request) -> dict:
        """This document."""
        del request
        return openapi.document(self.routes, secured)

    async def _files(self, request: web.Request) -> AsyncGenerator[tuple[str, bytes], None]:
        """Name and content of each file that is sent, one at a time in memory."""
        if request.content_type != "multipart/form-data":
            async with self._uploads:
                if data := await self._read(request.content):
                    yield MEMORY, data
            return
        try:
            parts = await request.multipart()
            while part := await self._in_time(parts.next(), self._limits.message_seconds):
                if isinstance(part, BodyPartReader) and part.filename:
                    async with self._uploads:
                        yield shown(part.filename), await self._read(part)
        except ValueError as error:
            raise web.HTTPBadRequest(text=f"multipart/form-data that cannot be read: {error}") from None

    @staticmethod
    async def _in_time(arriving: Awaitable[T], patience: float) -> T:
        """What arrives within `patience` seconds: also a part's beginning, before which anything may stand."""
        try:
            async with asyncio.timeout(max(patience, 0)):
                return await arriving
        except TimeoutError:
            raise web.HTTPRequestTimeout(text="the file does not arrive: send it faster, or a smaller one") from None

    async def _read(self, body: StreamReader | BodyPartReader) -> bytes:
        """All of a body that comes in time and within the limits."""
        data, began = bytearray(), time.monotonic()
        while True:
            patience = self._limits.message_seconds + len(data) / MIN_BYTES_PER_SECOND + began - time.monotonic()
            piece = await self._in_time(
                body.readany() if isinstance(body, StreamReader) else body.read_chunk(PIECE), patience
            )
            if not piece:
                return bytes(data)
            data += piece
            if len(data) > self._limits.body_bytes:
                limit = f"{self._limits.body_bytes // 2**20} MiB"
                raise web.HTTPRequestEntityTooLarge(0, 0, text=f"a file above {limit}: send a smaller one")

    async def _analyze(self, request: web.Request, name: str, data: bytes, options: Options) -> Result:
        """Analyze a file in turns with the other clients; given up when its client is gone."""
        reading = _Reading(self._analyzer, name, data, options)
        try:
            while request.transport is not None:
                async with self._turns:
                    if not await asyncio.to_thread(reading.turn):
                        return await asyncio.to_thread(reading.result)
        except UserError as error:
            return Result(name, str(error).replace(MEMORY, name, 1))
        raise ConnectionResetError("the client is gone")


class _Reading:
    def __init__(self, analyzer: Analyzer, name: str, data: bytes, options: Options):
        sampling = {field.name: getattr(options, field.name) for field in dataclasses.fields(Sampling)}
        self._frames = analyzer.stream(data, **sampling)
        self._name, self._plot = name, options.plot
        self._faces: list[Face] = []
        self._summarizer = analyzer.summarizer()
        self._count = 0

    def turn(self) -> bool:
        """Analyze frames for a while; whether there may be more. UserError where they cannot be read."""
        until = time.monotonic() + TURN_SECONDS
        for faces in self._frames:
            self._count += 1
            if self._count > MAX_FRAMES:
                raise UserError(f"{self._name}: more than {MAX_FRAMES:,} frames: give fps, every, start or end")
            self._faces += (dataclasses.replace(face, source=self._name) for face in faces)
            assert faces.result is not None, "each frame by itself has one"
            self._summarizer.add(faces.result)
            if time.monotonic() > until:
                return True
        return False

    def result(self) -> Result:
        summary = self._summarizer.summary(self._name)
        result = Result(self._name, None, tuple(self._faces), summary)
        if not self._plot:
            return result
        table = tuple(map(tuple, summary.table()))
        return dataclasses.replace(result, plot=Plot(summary, thumbnails=True).svg(), table=table)


def secured(path: str) -> bool:
    """Return whether a path wants the token, if there is one."""
    return path.startswith("/v1/")


@web.middleware
async def errors_as_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer what is refused below /v1/ with an object whose "error" is a line."""
    try:
        return await handler(request)
    except UserError as error:
        return _json({"error": str(error)}, 422)
    except web.RequestPayloadError as error:  # a body that is not in its own encoding
        return _json({"error": f"a body that cannot be read: {error}"}, 400)
    except web.HTTPError as error:
        if not secured(request.path):
            raise
        text = (error.text or error.reason).strip()
        return _json({"error": text}, error.status, {"WWW-Authenticate": "Bearer"} if error.status == 401 else {})


def _answering(route: openapi.Route) -> Handler:
    """aiohttp's handler for a route: the query in, JSON out."""

    async def answer(request: web.Request) -> web.Response:
        try:
            arguments = [openapi.parse(route.options, request.query)] if route.options else []
        except UserError as error:
            raise web.HTTPBadRequest(text=str(error)) from None
        return _json(await route.handler(request, *arguments))

    return answer


def _json(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    text = json.dumps(_plain(value), ensure_ascii=False, separators=(",", ":"))
    return web.Response(text=text, status=status, headers=headers, content_type="application/json")


def _plain(value: Any) -> Any:
    """Convert to what JSON can hold; faces and summaries as they write themselves."""
    if isinstance(value, Face | Summary):
        return value.to_dict()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    return list(map(_plain, value)) if isinstance(value, tuple) else value
