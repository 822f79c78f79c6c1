"""From pictures and videos to their faces in one call: `fer_jax.analyze` and `fer_jax.Analyzer`."""

from __future__ import annotations

import functools
import itertools
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, Protocol, TypedDict, Unpack, cast, overload

import numpy as np

from fer_jax import zoo
from fer_jax.errors import UserError
from fer_jax.faces import registry
from fer_jax.serve import sources
from fer_jax.serve.analysis import FrameAnalyzer, FrameResult, TrackedFace
from fer_jax.serve.answers import Face, Faces
from fer_jax.serve.classifier import TTA, Classifier
from fer_jax.serve.frames import Frame, Sampling, shown
from fer_jax.serve.summary import Summarizer

__all__ = ["Analyzer", "Face", "Faces", "analyze"]


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
        files = sources.inputs_of(os.fspath(source)) if isinstance(source, str | os.PathLike) else []
        if faces.result is None or len(files) != 1 or sources.kind_of(files[0]) != "picture":
            return faces
        return Faces(faces, self.labels, faces.source, faces.result, self._uncertain_below, files[0])

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
