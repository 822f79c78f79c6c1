"""From pictures and videos to their faces in one call, and what can be done with these: `fer_jax.analyze`."""

from __future__ import annotations

import base64
import dataclasses
import functools
import html
import itertools
import json
import os
import pathlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypedDict, Unpack, cast, overload

import cv2
import numpy as np

from fer_jax import files, zoo
from fer_jax.errors import UserError
from fer_jax.faces import registry
from fer_jax.preprocess import images
from fer_jax.serve import outputs, sources
from fer_jax.serve.analysis import FrameAnalyzer, FrameResult, TrackedFace
from fer_jax.serve.classifier import TTA, Classifier
from fer_jax.serve.frames import Frame, Sampling, shown
from fer_jax.serve.overlay import Overlay, percent
from fer_jax.serve.plot import Plot
from fer_jax.serve.summary import Summarizer, Summary, data_frame

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Analyzer", "Face", "Faces", "analyze"]

SHOWN_FACES, SHOWN_SIDE = 5, 640  # in a notebook: names, and pixels of the picture's longer side


class PILImage(Protocol):
    """An image of Pillow, which need not be installed."""

    mode: str
    size: tuple[int, int]

    def convert(self, mode: str) -> Any:
        """The image in another mode."""


# A path (of a picture, a video, a folder or a glob of them) or an address, a file's bytes, pixels.
Source = str | os.PathLike[str] | bytes | np.ndarray | PILImage
Tta = Literal["auto", "none", "flip"]


class FrameOptions(TypedDict, total=False):
    """Which frames `Analyzer.__call__` analyzes, and how arrays are read."""

    rgb: bool
    every: int
    fps: float | None
    start: float
    end: float | None


class AnalyzeOptions(FrameOptions, total=False):
    """Options of `analyze` beside them."""

    tta: Tta
    prior: str | Mapping[str, float]


@dataclasses.dataclass(frozen=True)
class Face:
    """One face in one picture or frame.

    Attributes:
      label: the most probable expression; of a video, the one that smoothing shows.
      probabilities: of every expression by name, summing to 1; of a video smoothed over the frames before.
      box: left, top, width, height in pixels of the upright picture: one whose EXIF orientation says so is turned
        first, as `PIL.ImageOps.exif_transpose` does. It may reach beyond the picture.
      uncertain: whether the label's probability is below what the model calls certain.
      score: of the detector, 0..1, that this is a face; 1 where the detector has none.
      source: what it was found in: a path, or "<memory>".
      frame: index of the picture or frame within the source.
      time: seconds from the first frame of a video; 0 for a picture.
      track: number of the face, the same through a video; 0, 1, ... in a picture.
      roll: clockwise tilt of the head in degrees, by the slope of the eyes; None where it was not measured: by Haar's
        cascade, and in videos unless the analyzer has `align=True`.
      landmarks: x and y in pixels of the eye at the left of the picture, the other eye, the tip of the nose and the
        corners of the mouth, left and right, by YuNet; None by other detectors. Without a roll they are rough.
    """

    label: str
    probabilities: dict[str, float] = dataclasses.field(hash=False)
    box: tuple[float, float, float, float]
    uncertain: bool
    score: float
    source: str
    frame: int
    time: float
    track: int
    roll: float | None = None
    landmarks: tuple[tuple[float, float], ...] | None = None

    @property
    def probability(self) -> float:
        """Of the label, 0..1."""
        return self.probabilities[self.label]

    def __repr__(self) -> str:
        left, top, width, height = self.box
        doubt = "?" if self.uncertain else ""
        return (
            f"<{self.label}{doubt} {percent(self.probability)}, {width:.0f}x{height:.0f} at ({left:.0f}, {top:.0f}), "
            f"frame {self.frame} of {self.source}>"
        )

    def to_dict(self) -> dict[str, Any]:
        """A dictionary that JSON can hold, rounded as events are."""
        return dataclasses.asdict(self) | {
            "probabilities": {name: round(value, 6) for name, value in self.probabilities.items()},
            "box": [round(value, 1) for value in self.box],
            "score": round(self.score, 4),
            "time": round(self.time, 4),
            "roll": None if self.roll is None else round(self.roll, 1),
            "landmarks": self.landmarks and [[round(x, 1), round(y, 1)] for x, y in self.landmarks],
        }


class Faces(Sequence[Face]):
    """The faces that were found, in the order of the frames; in a picture from left to right.

    Attributes:
      labels: names of the expressions in the model's order.
      source: what was analyzed: a path, or "<memory>".
      time: of the frame, in seconds from the first one of a video; 0 for a picture, and for several frames together.
      result: the one frame with its pixels, None where the faces are of several frames.
    """

    def __init__(
        self,
        faces: Iterable[Face],
        labels: Sequence[str],
        source: str,
        of: FrameResult | Summary,
        uncertain_below: float = 0.0,
        path: pathlib.Path | None = None,
    ):
        """Args:
        faces: all of them.
        labels: see the attribute.
        source: see the attribute.
        of: the one frame, or the summary of several.
        uncertain_below: probability below which the model is not certain.
        path: of a picture's file, which is read again to be drawn, so that a thousand of them fit into memory.
        """
        self._faces = tuple(faces)
        self.labels = tuple(labels)
        self.source = source
        self._summary, result = (of, None) if isinstance(of, Summary) else (None, of)
        self._uncertain_below = uncertain_below
        self.time = result.frame.time if result and not result.frame.still else 0.0
        self.result = result
        self._path, self._shape = path, result.frame.image.shape if result else ()
        if result and path:
            self.summary()  # has thumbnails, of pixels that are not kept
            frame = dataclasses.replace(result.frame, image=np.empty((0, 0, 3), np.uint8))
            self.result = FrameResult(frame, [dataclasses.replace(face, crop=None) for face in result.faces])

    @overload
    def __getitem__(self, index: int) -> Face: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Face, ...]: ...
    def __getitem__(self, index: int | slice) -> Face | tuple[Face, ...]:
        return self._faces[index]

    def __len__(self) -> int:
        return len(self._faces)

    def __repr__(self) -> str:
        return f"<{self._heading()}>"

    def _heading(self) -> str:
        names = ", ".join(f"{face.label} {percent(face.probability)}" for face in self._faces[:SHOWN_FACES])
        more = ", ..." if len(self) > SHOWN_FACES else ""
        count = "1 face" if len(self) == 1 else f"{len(self)} faces"
        return f"{count} in {self.source}{': ' if names else ''}{names}{more}"

    def _repr_html_(self) -> str:
        """For a notebook: the picture with its faces, or the bands and the table of a video."""
        if self.result is None:
            summary = self.summary()
            return f"{Plot(summary).svg()}{summary._repr_html_()}"
        drawn = self.draw()
        scale = min(SHOWN_SIDE / max(drawn.shape[:2]), 1.0)
        small = cv2.resize(drawn, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else drawn
        data = base64.b64encode(cv2.imencode(".jpg", small)[1].tobytes()).decode()
        return f'<p>{html.escape(self._heading())}</p><img alt="" src="data:image/jpeg;base64,{data}">'

    def to_dicts(self) -> list[dict[str, Any]]:
        """A dictionary for each face, of what JSON can hold."""
        return [face.to_dict() for face in self._faces]

    def to_json(self, indent: int | None = None) -> str:
        """A JSON list with an object for each face."""
        return json.dumps(self.to_dicts(), ensure_ascii=False, indent=indent)

    def rows(self) -> Iterator[dict[str, Any]]:
        """A flat dictionary for each face: a column for every number of the box and for every expression."""
        for face in self.to_dicts():
            left, top, width, height = face.pop("box")
            del face["landmarks"]
            probabilities = face.pop("probabilities")
            place = {name: face.pop(name) for name in ("source", "frame", "time", "track")}
            box = {"left": left, "top": top, "width": width, "height": height}
            yield place | box | face | {name: probabilities[name] for name in self.labels}

    def to_pandas(self) -> pd.DataFrame:
        """A row for each face, see `rows`; UserError where pandas is not installed."""
        return data_frame(list(self.rows()), columns(self.labels))

    def tracks(self) -> dict[int, tuple[Face, ...]]:
        """The faces of each person of a video in the order of time, by the number of the track."""
        found: dict[int, list[Face]] = {}
        for face in self._faces:
            found.setdefault(face.track, []).append(face)
        return {track: tuple(found[track]) for track in sorted(found)}

    def summary(self) -> Summary:
        """The time for which each person of a video is seen, with which expressions; of a picture, each face."""
        if self._summary is None:
            summarizer = Summarizer(self.labels, self._uncertain_below)
            if self.result is not None:
                summarizer.add(self.result)
            self._summary = summarizer.summary(self.source)
        return self._summary

    def plot(self, path: str | os.PathLike | None = None, *, thumbnails: bool = False) -> Plot:
        """A band over time for each person of a video, colored by expression; a notebook shows it.

        Args:
          path: file to write as well: .svg, .png or .html.
          thumbnails: whether a picture of each face stands beside its band.
        """
        plot = Plot(self.summary(), thumbnails)
        if path is not None:
            plot.save(path)
        return plot

    def draw(self, view: str = "multi", explain: bool = False) -> np.ndarray:
        """The picture with its faces: uint8 BGR (H, W, 3).

        Args:
          view: "multi" names every face, "single" draws bars for the largest one.
          explain: tint what is evidence for each face's label red, what is evidence against it blue, where the model
            has class activation maps.

        Raises:
          UserError: the picture's file, which is read again, is gone or another one.
          ValueError: the faces are of several pictures or frames, whose pixels are not kept: draw each one that
            `Analyzer.stream` gives.
        """
        if self.result is None:
            raise ValueError(f"{self.source} has several frames, whose pixels are not kept: use Analyzer.stream")
        result = self.result
        if self._path:
            image = cv2.cvtColor(images.read(self._path), cv2.COLOR_RGB2BGR)
            if image.shape != self._shape:
                raise UserError(f"{self.source}: the file changed since it was analyzed: analyze it again")
            result = dataclasses.replace(result, frame=dataclasses.replace(result.frame, image=image))
        return Overlay(self.labels).draw(result, view, explain)

    def save(self, path: str | os.PathLike, view: str = "multi", explain: bool = False) -> None:
        """Write what `draw` gives, in the format of the path's suffix; UserError for the path of the picture itself."""
        target = files.expand(path)
        if self.source != sources.MEMORY:
            outputs.refuse_conflicts([self._path or pathlib.Path(self.source)], {"save": str(target)})
        images.write(target, self.draw(view, explain))


def columns(labels: Sequence[str]) -> list[str]:
    """The keys of `Faces.rows` for a model with these labels."""
    place, box = ["source", "frame", "time", "track"], ["left", "top", "width", "height"]
    return [*place, *box, "label", "uncertain", "score", "roll", *labels]


class Analyzer:
    """A model and a detector, loaded once, as a function from pictures and videos to their faces.

    Attributes:
      labels: names of the expressions in the model's order.
      detector: name of what finds the faces.
      classifier: the model.
    """

    def __init__(
        self,
        model: str | os.PathLike = zoo.DEFAULT,
        detector: str | None = None,
        *,
        detector_model: str = "",
        tta: Tta = "auto",
        align: bool | None = None,
        search_side: int | None = None,
        runtime: str = "onnx",
        threads: int = 2,
        prior: str | Mapping[str, float] = "",
        device: str = "auto",
    ):
        """Load the model; the detector is loaded with the first picture.

        Args:
          model: folder of a bundle, or the name of a model that comes with the package (`fer-jax models`).
          detector: "haar", "yunet", or "none", which takes every picture for a face. None is YuNet, whose file is
            fetched once, and Haar where that fails or FER_JAX_OFFLINE forbids it.
          detector_model: YuNet's file, where it is not in the user's cache.
          tta: "flip" averages the logits of each face and of its mirror image; "auto" does so for pictures alone.
          align: whether YuNet measures each head's tilt, and one of 8 degrees or more is leveled before it is
            classified; None is for pictures alone, as it takes 4 ms of CPU a face.
          search_side: pixels of the picture's longer side when it is searched; None is 960, and 320 for videos.
          runtime: see `fer_jax.serve.Classifier`.
          threads: see there.
          prior: see there, or the shares by name; "flat" takes every expression to be as frequent as the others.
          device: "cpu", "cuda", "openvino", "coreml" or "directml", by ONNX Runtime's provider of it; "auto" is the
            one that the installed ONNX Runtime was made for, CoreML aside.

        Raises:
          UserError: no bundle there, no such detector, prior or device.
        """
        self._arguments = dict(locals())
        del self._arguments["self"]
        self.classifier = Classifier(zoo.resolve(model), runtime, threads, _as_text(prior), device)
        if tta not in ("auto", *TTA):
            raise UserError(f"unknown test-time augmentation {tta!r}: expected one of auto, {', '.join(TTA)}")
        self._tta = tta
        self.labels = self.classifier.labels
        self._uncertain_below = self.classifier.bundle.uncertain_below
        self._detectors = registry.Detectors(detector, detector_model, align=align, search_side=search_side)
        self.detector = self._detectors.of(True).name  # a missing detector is reported at once

    def __reduce__(self) -> tuple:
        """Pickles as its arguments: each process loads the model for itself."""
        return functools.partial(Analyzer, **self._arguments), ()

    @overload
    def __call__(self, source: Source, **options: Unpack[FrameOptions]) -> Faces: ...
    @overload
    def __call__(self, source: Sequence[Source], **options: Unpack[FrameOptions]) -> list[Faces]: ...
    def __call__(
        self,
        source: Source | Sequence[Source],
        *,
        rgb: bool = False,
        every: int = 1,
        fps: float | None = None,
        start: float = 0.0,
        end: float | None = None,
    ) -> Faces | list[Faces]:
        """The faces in a picture, a video, a folder, a glob; of a list of them, a list.

        Args:
          source: a path or an address of a picture or a video; a path of a folder of them, or a glob; the bytes of a
            file; pixels, uint8 (H, W) gray, (H, W, 3) BGR or (H, W, 4) BGRA; a PIL image.
          rgb: whether arrays are RGB or RGBA.
          every: of a video, analyze one frame of so many.
          fps: of a video, analyze so many frames a second at most.
          start, end: of a video, seconds between which it is analyzed.

        Raises:
          UserError: nothing there, or nothing that can be read.
          TypeError, ValueError: an object of another kind, an array of another type or shape.
        """
        options = {"rgb": rgb, "every": every, "fps": fps, "start": start, "end": end}
        if isinstance(source, list | tuple):
            return [self(one, **options) for one in source]
        frames = self.stream(cast("Source", source), **options)
        first, second = next(frames, None), next(frames, None)
        if first is None:
            return Faces((), self.labels, _name(source), self.summarizer().summary(_name(source)))
        if second is None:
            return self._reread(first, source)
        found, summarizer = [], self.summarizer()
        for faces in itertools.chain((first, second), frames):
            found += faces
            summarizer.add(cast("FrameResult", faces.result))
        return Faces(found, self.labels, _name(source), summarizer.summary(_name(source)))

    def stream(
        self,
        source: Source,
        *,
        rgb: bool = False,
        every: int = 1,
        fps: float | None = None,
        start: float = 0.0,
        end: float | None = None,
    ) -> Iterator[Faces]:
        """One `Faces` for each picture or frame of a source, which can be drawn; one at a time is in memory.

        The arguments are those of a call.
        """
        opened = sources.open_source(source, rgb=rgb, sampling=Sampling(every, fps, start, end))
        try:
            yield from self.frames(opened)
        finally:
            opened.close()

    def _reread(self, faces: Faces, source: Any) -> Faces:
        """The faces of a picture's file without its pixels, which are read again when they are drawn."""
        read = sources.inputs_of(os.fspath(source)) if isinstance(source, str | os.PathLike) else []
        if faces.result is None or len(read) != 1 or sources.kind_of(read[0]) != "picture":
            return faces
        return Faces(faces, self.labels, faces.source, faces.result, self._uncertain_below, read[0])

    def summarizer(self) -> Summarizer:
        """Sums up what `stream` gives: `add` takes the `result` of each `Faces`."""
        return Summarizer(self.labels, self._uncertain_below)

    def frames(self, frames: Iterable[Frame]) -> Iterator[Faces]:
        """`stream` for a source that is open, such as of `fer_jax.serve.sources.open_source`."""
        analyzer = FrameAnalyzer(self.classifier, self._detectors, tta=self._tta)
        for frame in frames:
            result = analyzer.read(analyzer.search(frame))
            named = (face for face in result.faces if not face.doubtful)
            faces = [self._face(result, face, i) for i, face in enumerate(named)]
            yield Faces(faces, self.labels, frame.name, result, self._uncertain_below)

    def _face(self, result: FrameResult, face: TrackedFace, position: int) -> Face:
        """`position` is that among the faces of the result."""
        left, top, width, height = map(float, face.box)
        return Face(
            label=self.labels[face.label],
            probabilities=dict(zip(self.labels, map(float, face.smoothed), strict=True)),
            box=(left, top, width, height),
            uncertain=face.uncertain,
            score=float(face.score),
            source=result.frame.name,
            frame=result.frame.index,
            time=0.0 if result.frame.still else result.frame.time,
            track=position if result.frame.still else face.track,
            roll=face.roll,
            landmarks=None if face.landmarks is None else tuple((float(x), float(y)) for x, y in face.landmarks),
        )


@overload
def analyze(source: Source, **options: Unpack[AnalyzeOptions]) -> Faces: ...
@overload
def analyze(source: Sequence[Source], **options: Unpack[AnalyzeOptions]) -> list[Faces]: ...
def analyze(
    source: Source | Sequence[Source],
    *,
    rgb: bool = False,
    tta: Tta = "auto",
    prior: str | Mapping[str, float] = "",
    every: int = 1,
    fps: float | None = None,
    start: float = 0.0,
    end: float | None = None,
) -> Faces | list[Faces]:
    """The faces in a picture or video, by the model that comes with the package; it is loaded once in a process.

        faces = fer_jax.analyze("group.jpg")
        faces[0].label, faces[0].probabilities["happy"], faces[0].box

    For another model or detector make an `Analyzer`, which also says what a source can be and what is raised.

    Args:
      source: a path, bytes, pixels, a PIL image, or a list of them, which gives a list.
      rgb: whether arrays are RGB rather than OpenCV's BGR.
      tta: test-time augmentation, see `Analyzer`.
      prior: shares of the expressions to be expected, see `Analyzer`.
      every, fps, start, end: which frames of a video are analyzed, see `Analyzer.__call__`.
    """
    return _default(tta, _as_text(prior))(source, rgb=rgb, every=every, fps=fps, start=start, end=end)


@functools.cache
def _default(tta: Tta, prior: str) -> Analyzer:
    return Analyzer(tta=tta, prior=prior)


def _as_text(prior: str | Mapping[str, float]) -> str:
    """Shares by name as `fer_jax.bundle.prior.parse` reads them."""
    return prior if isinstance(prior, str) else ",".join(f"{name}:{share}" for name, share in prior.items())


def _name(source: Any) -> str:
    return shown(os.fspath(source)) if isinstance(source, str | os.PathLike) else sources.MEMORY
