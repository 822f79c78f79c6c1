"""From pictures and videos to their faces in one call: `fer_jax.analyze` and `fer_jax.Analyzer`."""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import pathlib
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal, cast, overload

import cv2
import numpy as np

from fer_jax import zoo
from fer_jax.errors import UserError
from fer_jax.faces import registry
from fer_jax.preprocess import images
from fer_jax.serve import places, sources
from fer_jax.serve.analysis import FrameAnalyzer, FrameResult, TrackedFace
from fer_jax.serve.classifier import TTA, Classifier
from fer_jax.serve.frames import shown
from fer_jax.serve.overlay import Overlay

if TYPE_CHECKING:
    import pandas as pd
    import PIL.Image

    # A path (of a picture, a video, a folder or a glob of pictures), a file's bytes, pixels.
    Source = str | os.PathLike[str] | bytes | np.ndarray | PIL.Image.Image

MEMORY = "<memory>"  # the name of what has no path


@dataclasses.dataclass(frozen=True)
class Face:
    """One face in one picture or frame.

    Attributes:
      label: the most probable expression; of a video, the one that smoothing shows.
      probabilities: of every expression by name, summing to 1; of a video smoothed over the frames before.
      box: left, top, width, height in pixels. It may reach beyond the picture.
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
    probabilities: dict[str, float]
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

    def to_dict(self) -> dict[str, Any]:
        """What JSON can hold, rounded as events are."""
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
      source: what was analysed: a path, or "<memory>".
      time: of the frame, in seconds from the first one of a video; 0 for a picture, and for several frames together.
    """

    def __init__(self, faces: Iterable[Face], labels: Sequence[str], source: str, result: FrameResult | None = None):
        """`result` is the one frame with its pixels, None where the faces are of several."""
        self._faces = tuple(faces)
        self.labels = tuple(labels)
        self.source = source
        self.time = result.frame.time if result else 0.0
        self._result = result

    @overload
    def __getitem__(self, index: int) -> Face: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Face, ...]: ...
    def __getitem__(self, index: int | slice) -> Face | tuple[Face, ...]:
        return self._faces[index]

    def __len__(self) -> int:
        return len(self._faces)

    def __repr__(self) -> str:
        shown = ", ".join(f"{face.label} {face.probability:.0%}" for face in self._faces[:10])
        return f"<{len(self)} faces in {self.source}: {shown}{', ...' if len(self) > 10 else ''}>"

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
        try:
            import pandas as pd
        except ModuleNotFoundError:
            raise UserError("to_pandas needs pandas, which is not installed: pip install pandas") from None
        return pd.DataFrame(list(self.rows()), columns=columns(self.labels))

    def draw(self, view: str = "multi", explain: bool = False) -> np.ndarray:
        """The picture with its faces: uint8 BGR (H, W, 3).

        Args:
          view: "multi" names every face, "single" draws bars for the largest one.
          explain: tint what is evidence for each face's label red, what is evidence against it blue, where the model
            has class activation maps.

        Raises:
          ValueError: the faces are of several pictures or frames, whose pixels are not kept: draw each one that
            `Analyzer.stream` gives.
        """
        if self._result is None:
            raise ValueError(f"{self.source} has several frames, whose pixels are not kept: use Analyzer.stream")
        return Overlay(self.labels).draw(self._result, view, explain)

    def save(self, path: str | os.PathLike, view: str = "multi", explain: bool = False) -> None:
        """Write what `draw` gives, in the format of the path's suffix; UserError for the path of the picture itself."""
        if self.source != MEMORY:
            places.refuse_conflicts([pathlib.Path(self.source)], {"save": str(path)})
        images.write(pathlib.Path(path), self.draw(view, explain))


def columns(labels: Sequence[str]) -> list[str]:
    """The keys of `Faces.rows` for a model with these labels."""
    place, box = ["source", "frame", "time", "track"], ["left", "top", "width", "height"]
    return [*place, *box, "label", "uncertain", "score", "roll", *labels]


class Analyzer:
    """A model and a detector, loaded once, as a function from pictures and videos to their faces.

    Attributes:
      labels: names of the expressions in the model's order.
      detector: name of what finds the faces.
    """

    def __init__(
        self,
        model: str | os.PathLike = zoo.DEFAULT,
        detector: str | None = None,
        *,
        detector_model: str = "",
        tta: Literal["auto", "none", "flip"] = "auto",
        align: bool | None = None,
        search_side: int | None = None,
        runtime: str = "onnx",
        threads: int = 2,
        prior: str = "",
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
          prior: see there; "flat" takes every expression to be as frequent as the others.

        Raises:
          UserError: no bundle there, no such detector, or no such prior.
        """
        self._classifier = Classifier(zoo.resolve(model), runtime, threads, prior)
        if tta not in ("auto", *TTA):
            raise UserError(f"unknown test-time augmentation {tta!r}: expected one of auto, {', '.join(TTA)}")
        self._tta = tta
        self.labels = self._classifier.labels
        self._detectors = registry.Detectors(detector, detector_model, align=align, search_side=search_side)
        self.detector = self._detectors.of(True).name  # a missing detector is reported at once

    @overload
    def __call__(self, source: Source, *, rgb: bool = False) -> Faces: ...
    @overload
    def __call__(self, source: Sequence[Source], *, rgb: bool = False) -> list[Faces]: ...
    def __call__(self, source: Source | Sequence[Source], *, rgb: bool = False) -> Faces | list[Faces]:
        """The faces in a picture, a video, a folder, a glob; of a list of them, a list.

        Args:
          source: a path of a picture, a video, a folder of pictures or a glob; the bytes of a picture's file; pixels,
            uint8 (H, W) grey, (H, W, 3) BGR or (H, W, 4) BGRA; a PIL image.
          rgb: whether arrays are RGB or RGBA.

        Raises:
          UserError: nothing there, or nothing that can be read.
          TypeError, ValueError: an object of another kind, an array of another type or shape.
        """
        if isinstance(source, list | tuple):
            return [self(one, rgb=rgb) for one in source]
        frames = self.stream(cast("Source", source), rgb=rgb)
        first = next(frames, None)
        second = next(frames, None)
        if first is None:
            return Faces((), self.labels, _name(source))
        if second is None:
            return first
        faces = [*first, *second]
        for frame in frames:
            faces += frame
        return Faces(faces, self.labels, _name(source))

    def stream(self, source: Source, *, rgb: bool = False) -> Iterator[Faces]:
        """One `Faces` for each picture or frame of a source, which can be drawn; one at a time is in memory."""
        if isinstance(source, str | os.PathLike):
            opened = sources.open_source(os.fspath(source))
            try:
                yield from self._frames(opened)
            finally:
                opened.close()
            return
        image = _pixels(source, rgb)
        yield from self._frames([sources.Frame(image, 0, 0.0, time.perf_counter(), MEMORY, True, still=True)])

    def _frames(self, frames: Iterable[sources.Frame]) -> Iterator[Faces]:
        analyzer = FrameAnalyzer(self._classifier, self._detectors, tta=self._tta)
        for frame in frames:
            result = analyzer.read(analyzer.search(frame))
            named = [face for face in result.faces if not face.doubtful]
            yield Faces((self._face(result, face, i) for i, face in enumerate(named)), self.labels, frame.name, result)

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
def analyze(
    source: Source, *, rgb: bool = False, tta: Literal["auto", "none", "flip"] = "auto", prior: str = ""
) -> Faces: ...
@overload
def analyze(
    source: Sequence[Source], *, rgb: bool = False, tta: Literal["auto", "none", "flip"] = "auto", prior: str = ""
) -> list[Faces]: ...
def analyze(
    source: Source | Sequence[Source],
    *,
    rgb: bool = False,
    tta: Literal["auto", "none", "flip"] = "auto",
    prior: str = "",
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
    """
    return _default(tta, prior)(source, rgb=rgb)


@functools.cache
def _default(tta: Literal["auto", "none", "flip"], prior: str) -> Analyzer:
    return Analyzer(tta=tta, prior=prior)


def _name(source: Any) -> str:
    return shown(os.fspath(source)) if isinstance(source, str | os.PathLike) else MEMORY


def _pixels(source: Any, rgb: bool) -> np.ndarray:
    """uint8 BGR (H, W, 3) of what is in memory."""
    if isinstance(source, bytes | bytearray | memoryview):
        return cv2.cvtColor(images.decode(bytes(source), MEMORY), cv2.COLOR_RGB2BGR)
    if "PIL.Image" in sys.modules and isinstance(source, sys.modules["PIL.Image"].Image):
        from PIL import ImageOps

        try:
            upright = ImageOps.exif_transpose(source)
            # PIL would cut 16 bits off at 255
            source = np.asarray(upright) if upright.mode.startswith("I;16") else np.asarray(upright.convert("RGB"))
        except OSError as error:  # it decodes a file when it is asked for pixels
            raise UserError(f"{MEMORY}: a PIL image that cannot be decoded ({error}): open a whole file") from None
        source, rgb = (source >> 8).astype(np.uint8) if source.dtype != np.uint8 else source, True
    if not isinstance(source, np.ndarray):
        raise TypeError(f"cannot analyse a {type(source).__name__}: expected a path, bytes, a PIL image or an array")
    if source.dtype != np.uint8 or source.ndim not in (2, 3) or source.shape[2:] not in ((), (1,), (3,), (4,)):
        raise ValueError(
            f"expected uint8 pixels (H, W), (H, W, 3) or (H, W, 4), got {source.dtype} of shape {source.shape}"
        )
    if not source.size:
        raise ValueError(f"an array of shape {source.shape} has no pixels")
    image = sources.as_bgr(source)
    return np.ascontiguousarray(image[..., ::-1]) if rgb and source.ndim == 3 else image
