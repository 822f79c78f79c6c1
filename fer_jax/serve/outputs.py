"""Where scenes go: an annotated video or picture, lines of events, pictures of faces.

Each is a context manager that is closed properly however the stream ends.
"""

from __future__ import annotations

import contextlib
import csv
import json
import os
import pathlib
import sys
import tempfile
from collections.abc import Sequence
from typing import IO, Any

import cv2
import numpy as np

from fer_jax import files
from fer_jax.errors import UserError
from fer_jax.serve.analysis import FrameResult

# the codecs that opencv-python's FFmpeg can encode and most players know
VIDEO_CODECS = {".mp4": "mp4v", ".m4v": "mp4v", ".mov": "mp4v", ".mkv": "mp4v", ".avi": "XVID", ".webm": "VP80"}
PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg")
MAX_GAP_SECONDS = 1.0  # of a live source that is filled with the last frame; a longer one was a pause, and is cut


class Recording:
    """An annotated video that gets its name when it is closed; or, for a name such as out.png, a picture.

    The video has the source's size and frame rate and no sound. Of a live source it lasts as long as the source did:
    a frame is repeated for those that were dropped. Pictures of other sizes are fitted into the first one's.
    """

    def __init__(self, path: str | os.PathLike, rate: float, live: bool):
        """Args:
          path: file to write; its suffix chooses the format.
          rate: frames a second.
          live: whether frames may be missing.

        Raises:
          UserError: an unknown suffix, or a place that cannot be written.
        """
        self.path = pathlib.Path(path)
        suffix = self.path.suffix.lower()
        if suffix not in VIDEO_CODECS and suffix not in PICTURE_SUFFIXES:
            raise UserError(
                f"--record={path}: cannot record {suffix or 'a file without suffix'}: expected a name "
                f"ending in {', '.join((*VIDEO_CODECS, *PICTURE_SUFFIXES))}"
            )
        self._rate = rate
        self._live = live
        self._written = 0
        self._shift = 0.0
        self._size: tuple[int, int] | None = None
        self._video: cv2.VideoWriter | None = None
        self._picture: np.ndarray | None = None
        self._stack = contextlib.ExitStack()
        _make_folder("--record", self.path.parent)
        if self.path.is_dir():
            raise UserError(f"--record={path}: is a folder: name a file in it")

    def write(self, image: np.ndarray, time: float) -> None:
        """Append a frame, uint8 BGR, shown `time` seconds after the first."""
        if self.path.suffix.lower() in PICTURE_SUFFIXES:
            self._picture = image
            return
        if self._video is None:
            self._open(image)
        image = _fitted(image, self._size)
        due = self._written + 1
        if self._live:
            due = round((time - self._shift) * self._rate) + 1
            if (due - self._written) / self._rate > MAX_GAP_SECONDS:
                self._shift += (due - self._written - 1) / self._rate
                due = self._written + 1
        for _ in range(self._written, due):
            self._video.write(image)
            self._written += 1

    def _open(self, image: np.ndarray) -> None:
        self._size = image.shape[1], image.shape[0]
        tmp = self._stack.enter_context(files.atomic_path(self.path))
        codec = cv2.VideoWriter.fourcc(*VIDEO_CODECS[self.path.suffix.lower()])
        self._video = cv2.VideoWriter(str(tmp), cv2.CAP_FFMPEG, codec, self._rate, self._size)
        if not self._video.isOpened():
            self._stack.pop_all()
            raise UserError(
                f"--record={self.path}: FFmpeg cannot write {self._size[0]}x{self._size[1]} pixels at "
                f"{self._rate:g} frames/s there: try another suffix, such as .avi"
            )

    def close(self) -> None:
        """Finish the file and give it its name; without a frame there is none."""
        with self._stack:
            if self._video is not None:
                self._video.release()
        if self._picture is not None:
            with files.atomic_path(self.path) as tmp:
                _save(tmp, self._picture)


class Events:
    """What was seen, line by line, each complete as soon as its frame is done: JSON lines, or csv by the suffix .csv.

    JSON lines have one line a frame; csv has one row a face, and none for a frame without faces.
    """

    def __init__(self, path: str, labels: Sequence[str]):
        """Write to `path`, "-" for JSON lines on standard output; UserError where it cannot be written."""
        self._labels = tuple(labels)
        self._file: IO[str]
        if path == "-":
            self._file = sys.stdout
        else:
            _make_folder("--events", pathlib.Path(path).parent)
            try:
                self._file = pathlib.Path(path).open("w", newline="", encoding="utf-8")  # noqa: SIM115 close() does
            except OSError as error:
                raise _unwritable("--events", path, error) from error
        self._csv = None
        if path.lower().endswith(".csv"):
            self._csv = csv.writer(self._file)
            self._csv.writerow(
                [
                    "frame",
                    "time",
                    "source",
                    "track",
                    "left",
                    "top",
                    "width",
                    "height",
                    "found",
                    "label",
                    "uncertain",
                    *self._labels,
                ]
            )

    def write(self, scene: FrameResult) -> None:
        """Write the frame's line, or its faces' rows. `BrokenPipeError` when nobody reads standard output any more."""
        record = self._record(scene)
        if self._csv is None:
            self._file.write(json.dumps(record, ensure_ascii=False) + "\n")
        else:
            for face in record["faces"]:
                self._csv.writerow(
                    [
                        record["frame"],
                        record["time"],
                        record["source"],
                        face["track"],
                        *face["box"],
                        face["found"],
                        face["label"],
                        face["uncertain"],
                        *face["probabilities"].values(),
                    ]
                )
        self._file.flush()

    def _record(self, scene: FrameResult) -> dict[str, Any]:
        return {
            "frame": scene.frame.index,
            "time": round(scene.frame.time, 4),
            "source": scene.frame.name,
            "faces": [
                {
                    "track": reading.track,
                    "box": [round(float(value), 1) for value in reading.box],
                    "found": reading.found,
                    "label": self._labels[reading.label],
                    "uncertain": reading.uncertain,
                    "probabilities": {
                        name: round(float(value), 6)
                        for name, value in zip(self._labels, reading.probabilities, strict=True)
                    },
                }
                for reading in scene.readings
            ],
        }

    def close(self) -> None:
        """Close the file; standard output stays open."""
        if self._file is not sys.stdout:
            self._file.close()


class FaceFolder:
    """Every classified face as a picture: frame, track and shown name in the file's name."""

    def __init__(self, folder: str | os.PathLike, labels: Sequence[str]):
        """Write into `folder`, which is made if need be; UserError where that cannot be."""
        self._folder = pathlib.Path(folder)
        self._labels = labels
        _make_folder("--save-faces", self._folder)

    def write(self, scene: FrameResult) -> None:
        """Save the pixels that were classified in this frame, before they were resized."""
        for reading in scene.readings:
            if reading.crop is not None:
                name = f"{scene.frame.index:06d}_{reading.track:03d}_{self._labels[reading.label]}.png"
                _save(self._folder / name, reading.crop)

    def close(self) -> None:
        """Nothing is held."""


def _fitted(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The image, made smaller or larger to fit into (width, height), black around it."""
    height, width = image.shape[:2]
    if (width, height) == size:
        return image
    scale = min(size[0] / width, size[1] / height)
    inner_size = max(round(width * scale), 1), max(round(height * scale), 1)
    inner = cv2.resize(image, inner_size, interpolation=cv2.INTER_AREA)
    left, top = (size[0] - inner.shape[1]) // 2, (size[1] - inner.shape[0]) // 2
    return cv2.copyMakeBorder(
        inner, top, size[1] - inner.shape[0] - top, left, size[0] - inner.shape[1] - left, cv2.BORDER_CONSTANT
    )


def _save(path: pathlib.Path, image: np.ndarray) -> None:
    if not cv2.imwrite(str(path), image):
        raise UserError(f"{path}: cannot be written: is the disk full?")


def _make_folder(flag: str, folder: pathlib.Path) -> None:
    """Make a folder and see whether files can be made in it, which permissions alone do not tell."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise _unwritable(flag, folder, error) from error


def _unwritable(flag: str, path: str | os.PathLike, error: OSError) -> UserError:
    return UserError(f"{flag}: {path} cannot be written ({error.strerror}): name a place where you may write")
