"""Outputs: events, pictures of faces, annotated videos and pictures; and checks of the places that they are to go to.

FFmpeg writes the videos, through PyAV, which says when a write fails. OpenCV's writer reports neither a full disk nor a
frame that it drops, its frame rate is constant, and of the codecs it can encode browsers play VP8 only.
"""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import itertools
import json
import os
import pathlib
import re
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from fractions import Fraction
from typing import IO, Any, NoReturn

import cv2
import numpy as np
from absl import logging

from fer_jax import files
from fer_jax.errors import UserError
from fer_jax.preprocess import images
from fer_jax.serve import sources
from fer_jax.serve.analysis import FrameResult, TrackedFace
from fer_jax.serve.frames import Frame

PART = ".part"  # is added to the name of a file of events until it is whole
MARK = "annotated by fer_jax"  # a comment in every picture and video that is written here
FOLDERS = ("--out", "--record")  # flags whose folder gets the names of the inputs
PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg")
_FACE = re.compile(r"\d{6,}_\d{3,}_.*\.png", re.DOTALL)  # the names in a `FaceFolder`
MAX_GAP_SECONDS = 1.0  # between two frames of a live source; a longer one was a pause, and is cut
MAX_RATE_DENOMINATOR = 1001  # of a nominal frame rate
TICKS = Fraction(1, 90_000)  # of MPEG; holds 25, 29.97, 30, 50 and 60 frames per second exactly
MILLISECONDS = Fraction(1, 1000)  # all that Matroska stores
_Identity = tuple[int, int] | str  # of a file: its device and number, or its real path while it is not there


def refuse_conflicts(inputs: Iterable[pathlib.Path], outputs: Mapping[str, str | None]) -> None:
    """Refuse outputs that are an input, the folder of one, or each other, compared as files, before anything is opened.

    Args:
      inputs: files that are read.
      outputs: from the flag to its path, None, "" or "-" for none.

    Raises:
      UserError: names the flag, its path and what it would overwrite.
    """
    read: dict[_Identity, pathlib.Path] = {}
    folders: dict[_Identity, pathlib.Path] = {}
    faces: dict[_Identity, pathlib.Path] = {}
    for path in inputs:
        read.setdefault(_identity(path), path)
        for folder in (path.parent, pathlib.Path(os.path.realpath(path)).parent):
            folders.setdefault(_identity(folder), path)
            if _FACE.fullmatch(path.name):
                faces.setdefault(_identity(folder), path)
    earlier: dict[_Identity, str] = {}
    for flag, value in outputs.items():
        if not value or value == "-":
            continue
        path = pathlib.Path(value)
        place = _identity(path)
        as_folder = flag in FOLDERS and (path.is_dir() or not path.suffix or value.endswith(("/", os.sep)))
        below = folders if as_folder else faces if flag == "--save-faces" else {}
        if source := read.get(place) or below.get(place):
            raise UserError(f"{flag}={value} would overwrite the input {source}: name another place")
        if place in earlier:
            raise UserError(f"{flag}={value} and {earlier[place]} are the same place: name two")
        earlier[place] = f"{flag}={value}"


def _identity(path: pathlib.Path) -> _Identity:
    """What all names of a file or folder share."""
    try:
        status = path.stat()
    except OSError:  # it is not there yet
        return os.path.normcase(os.path.realpath(path))
    return status.st_dev, status.st_ino


def is_foreign(path: pathlib.Path) -> bool:
    """Return whether there is a picture or a video that was not written here."""
    if not path.is_file():
        return False
    head = _head(path)
    if (kind := sources.kind_by_content(head)) != "video":
        return bool(kind) and MARK.encode() not in head
    from fer_jax.serve import video

    try:
        with contextlib.closing(video.open_container(f"file:{path}", str(path))) as container:
            return MARK not in container.metadata.values()
    except UserError:  # it begins like a video, and is none
        return True


def _head(path: pathlib.Path) -> bytes:
    with path.open("rb") as file:
        return file.read(sources.HEAD_BYTES)


def check_writable(flag: str, folder: pathlib.Path) -> None:
    """Make a folder and see whether files can be made in it, which permissions alone do not tell."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise unwritable(flag, folder, error) from error


def check_target(flag: str, path: pathlib.Path) -> None:
    """Refuse a folder, a file that is write-protected (renaming would not ask), and another picture or video."""
    if path.is_dir():
        raise UserError(f"{flag}={path}: is a folder: name a file in it")
    if path.is_file() and not os.access(path, os.W_OK):
        raise UserError(f"{flag}={path}: is write-protected: name another place, or remove the protection")
    if is_foreign(path):
        raise UserError(f"{flag}={path}: is a picture or video that was not written here: name another, or remove it")


def unwritable(flag: str, path: str | os.PathLike, error: OSError) -> UserError:
    """The error of a place where files cannot be made."""
    return UserError(f"{flag}: {path} cannot be written ({error.strerror}): name a place where you may write")


def standard_output() -> IO[str]:
    """Standard output in UTF-8, which JSON is whatever the terminal's encoding."""
    with contextlib.suppress(AttributeError):
        sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")  # type: ignore[union-attr]
    return sys.stdout


class Events:
    """Lines of what was seen, each complete as soon as its frame is done: JSON, or csv by the suffix .csv.

    JSON lines have one line a frame; csv has one row a face, and none for a frame without faces. Lines are written to
    the path with `PART` added, where others can follow them, and get the path's name at the end.
    """

    def __init__(self, path: str, labels: Sequence[str]):
        """Write to `path`, "-" for JSON lines on standard output; UserError where it cannot be written."""
        self._labels = tuple(labels)
        self._name = "--events: standard output" if path == "-" else f"--events={path}"
        self._target = self._part = None
        self._whole = 0  # bytes of lines that are complete
        self._failed = self._seen = False
        self._file = self._opened(path)
        self._table = csv.writer(self._file) if path.lower().endswith(".csv") else None
        if self._table:
            box = ("left", "top", "width", "height")
            columns = ("frame", "time", "source", "track", *box, "found", "label", "uncertain", *self._labels)
            self._put(self._table.writerow, columns)

    def _opened(self, path: str) -> IO[str]:
        if path == "-":
            return standard_output()
        target = pathlib.Path(os.path.realpath(path))
        check_writable("--events", target.parent)
        check_target("--events", pathlib.Path(path))
        if not target.exists() or target.is_file():  # what is no file, such as a pipe, cannot be renamed to
            self._target, self._part = target, target.with_name(target.name + PART)
        try:
            return (self._part or target).open("w", newline="", encoding="utf-8")
        except OSError as error:
            raise unwritable("--events", path, error) from error

    def write(self, result: FrameResult) -> None:
        """Write the frame's line, or its faces' rows.

        Raises:
          BrokenPipeError: standard output has no reader any more.
          UserError: they cannot be written; those before them are in the file with `PART` in its name.
        """
        self._seen = True
        frame = {"frame": result.frame.index, "time": round(result.frame.time, 4), "source": result.frame.name}
        # what is doubtful has no name on the picture either
        faces = [self._record(face) for face in result.faces if not face.doubtful]
        if self._table is None:
            self._put(self._file.write, json.dumps(frame | {"faces": faces}, ensure_ascii=False) + "\n")
            return
        rows = []
        for face in faces:
            plain = face["found"], face["label"], face["uncertain"]
            rows.append([*frame.values(), face["track"], *face["box"], *plain, *face["probabilities"].values()])
        self._put(self._table.writerows, rows)

    def _put(self, write: Callable[[Any], object], what: Any) -> None:
        try:
            write(what)
            self._file.flush()
            if self._part:
                self._whole = self._file.tell()
        except BrokenPipeError:
            raise
        except OSError as error:
            self._fail(error)

    def _fail(self, error: OSError) -> NoReturn:
        self._failed = True
        kept = ""
        if self._part:
            # what is left in the buffer would be written half
            with contextlib.suppress(OSError):
                self._file.close()
            os.truncate(self._part, self._whole)
            kept = f"; the lines before that are in {self._part}, what was at the name itself is untouched"
        raise UserError(f"{self._name} cannot be written ({error.strerror}): is there space?{kept}") from error

    def _record(self, face: TrackedFace) -> dict[str, Any]:
        shares = (round(float(value), 6) for value in face.probabilities)
        return {
            "track": face.track,
            "box": [round(float(value), 1) for value in face.box],
            "found": face.found,
            "label": self._labels[face.label],
            "uncertain": face.uncertain,
            "probabilities": dict(zip(self._labels, shares, strict=True)),
        }

    def close(self) -> None:
        """Close the file and give it its name, unless no frame came; standard output stays open."""
        if self._failed or self._file is sys.stdout:
            return
        try:
            self._file.close()
            if self._target and self._part:
                self._part.replace(self._target) if self._seen else self._part.unlink()
        except OSError as error:
            self._fail(error)


class FaceFolder:
    """Every classified face as a picture: frame, track and shown name in the file's name.

    The faces of an earlier run go with the first frame of this one: the same name would stand for another person.
    """

    def __init__(self, folder: str | os.PathLike, labels: Sequence[str]):
        """Write into `folder`, which is made if need be; UserError where that cannot be, or holds other pictures."""
        self._folder = pathlib.Path(folder)
        self._labels = [re.sub(r'[/\\:*?"<>|\0-\x1f]', "-", label) for label in labels]
        check_writable("--save-faces", self._folder)
        files.remove_leftovers(self._folder)
        self._earlier = [path for path in self._folder.iterdir() if _FACE.fullmatch(path.name) and path.is_file()]
        for path in self._earlier:
            if MARK.encode() not in _head(path):
                raise UserError(f"--save-faces={folder}: {path.name} was not written here: name another folder")

    def write(self, result: FrameResult) -> None:
        """Save the pixels that were classified in this frame, before they were resized."""
        while self._earlier:
            self._earlier.pop().unlink(missing_ok=True)
        for face in result.faces:
            if face.crop is not None:
                name = f"{result.frame.index:06d}_{face.track:03d}_{self._labels[face.label]}.png"
                images.write(self._folder / name, face.crop, comment=MARK)


@dataclasses.dataclass(frozen=True)
class Encoder:
    """An encoder of FFmpeg.

    Attributes:
      name: in FFmpeg.
      options: of the encoder; B-frames would make time stamps and files more complicated for a few percent of size.
      even: whether both sides must be even.
      everywhere: whether all browsers play what it writes.
      max_ticks: per second, in the time stamps it takes.
    """

    name: str
    options: Mapping[str, str]
    even: bool = False
    everywhere: bool = True
    max_ticks: int = 90_000


_X264 = Encoder("libx264", {"preset": "veryfast", "crf": "20", "bf": "0"}, even=True)
_OPENH264 = Encoder("libopenh264", {"b": "4M"}, even=True)
_MPEG4 = Encoder("mpeg4", {"qscale": "3", "bf": "0"}, everywhere=False, max_ticks=65_535)
_VP8 = Encoder("libvpx", {"deadline": "realtime", "cpu-used": "8", "crf": "10", "b": "4M", "auto-alt-ref": "0"})
_VP9 = Encoder("libvpx-vp9", {"deadline": "realtime", "cpu-used": "8", "crf": "30", "b": "0", "row-mt": "1"})


@dataclasses.dataclass(frozen=True)
class Format:
    """The format of a suffix: FFmpeg's muxer, its options, encoders in order of preference, units of time stamps."""

    muxer: str
    encoders: tuple[Encoder, ...]
    options: Mapping[str, str] = dataclasses.field(default_factory=dict)
    tick: Fraction = TICKS


_H264 = (_X264, _OPENH264, _MPEG4)
_FASTSTART = {"movflags": "+faststart"}  # the index at the front: a browser starts before it has the whole file
FORMATS = {
    ".mp4": Format("mp4", _H264, _FASTSTART),
    ".m4v": Format("mp4", _H264, _FASTSTART),
    ".mov": Format("mov", _H264, _FASTSTART),
    ".mkv": Format("matroska", _H264, tick=MILLISECONDS),
    ".webm": Format("webm", (_VP8, _VP9), tick=MILLISECONDS),
    ".avi": Format("avi", (_MPEG4,)),
}
SUFFIXES = (*FORMATS, *PICTURE_SUFFIXES)


class Recording:
    """An annotated video that gets its name when it is whole; or, for a name such as out.png, a picture.

    Each frame keeps its time, so that the video lasts as long as its source, whatever its rate; pauses of a live source
    are cut. The video has the size of the first frame, others are fitted into it, and no sound. H.264 takes even sizes
    only: an odd one grows by a repeated row or column.
    """

    def __init__(self, path: str | os.PathLike, rate: float, live: bool, flag: str = "--record"):
        """Args:
          path: file to write; its suffix chooses the format. A link keeps its place, what it leads to is written.
          rate: frames per second, nominal.
          live: whether frames may be missing.
          flag: that named the path, for errors.

        Raises:
          UserError: an unknown suffix, or a place that cannot be written.
        """
        self.path = pathlib.Path(path)
        suffix = self.path.suffix.lower()
        if suffix not in SUFFIXES:
            raise UserError(
                f"{flag}={path}: cannot record {suffix or 'a file without suffix'}: expected a name "
                f"ending in {', '.join(SUFFIXES)}"
            )
        self._target = pathlib.Path(os.path.realpath(self.path))
        check_writable(flag, self._target.parent)
        check_target(flag, self.path)
        if self.path.exists() and not self.path.is_file():
            raise UserError(f"{flag}={path}: is a pipe or device, where no recording can be checked: name a file")
        files.remove_leftovers(self._target.parent, self._target.stem)
        self._flag = flag
        self._rate = rate
        self._live = live
        self._format = FORMATS.get(suffix)
        self._video: _Video | None = None
        self._picture: np.ndarray | None = None
        self._shift = self._last = 0.0
        self._stack = contextlib.ExitStack()

    def write(self, image: np.ndarray, frame: Frame) -> None:
        """Append the annotated image, uint8 BGR, of a frame. UserError where that fails; then nothing is kept."""
        if self._format is None:
            self._picture = image
            return
        if self._live and frame.time - self._last > MAX_GAP_SECONDS:
            self._shift += frame.time - self._last - 1 / self._rate
        self._last = frame.time
        try:
            if self._video is None:
                tmp = self._stack.enter_context(files.atomic_path(self._target))
                self._video = _Video(tmp, self._format, self._rate, (image.shape[1], image.shape[0]))
            self._video.write(image, frame.time - self._shift, frame.duration)
        except (OSError, ValueError) as error:
            self._fail(error)

    def close(self) -> None:
        """Finish the file, check it and give it its name; without a frame there is none."""
        picture, self._picture = self._picture, None
        if picture is not None:
            images.write(self._target, picture, comment=MARK)
        try:
            if self._video is not None:
                self._video.close()
            self._stack.close()
        except (OSError, ValueError) as error:
            self._fail(error)
        self._video = None

    def _fail(self, error: Exception) -> NoReturn:
        """Delete what was written, keep what was there before."""
        if self._video is not None:
            self._video.abort()
        self._video = None
        with contextlib.suppress(OSError):
            # by any error but one of the file system `files.atomic_path` just deletes its temporary
            self._stack.__exit__(RuntimeError, RuntimeError(), None)
        reason = getattr(error, "strerror", None) or str(error)
        raise UserError(
            f"{self._flag}={self.path} cannot be written ({reason}): is there space, and is the size possible? "
            "What was there before is kept"
        ) from error


class _Video:
    """A video file that is being written. OSError or ValueError (PyAV's errors are both) where something fails."""

    def __init__(self, path: pathlib.Path, made: Format, rate: float, size: tuple[int, int]):
        self._path = path
        import av  # takes a tenth of a second, which those who record nothing need not wait for
        from av.video.reformatter import ColorRange, Colorspace

        self._av = av
        self._container: Any = av.open(f"file:{path}", "w", format=made.muxer, options=dict(made.options))
        self._container.metadata["comment"] = MARK
        self._encoder = _available(made.encoders, path)
        fraction = Fraction(rate).limit_denominator(min(MAX_RATE_DENOMINATOR, int(self._encoder.max_ticks / rate)))
        # where an encoder's clock is too coarse it ticks once a frame
        self._tick = made.tick if 1 / made.tick <= self._encoder.max_ticks else 1 / fraction
        self._size = size
        options = dict(self._encoder.options)
        self._stream = self._container.add_stream(self._encoder.name, rate=fraction, options=options)
        self._stream.width, self._stream.height = (side + (self._encoder.even and side % 2) for side in size)
        self._stream.pix_fmt = "yuv420p"
        self._stream.codec_context.time_base = self._tick
        self._stream.codec_context.colorspace = Colorspace.ITU601
        self._stream.codec_context.color_range = ColorRange.MPEG
        self._last = -1  # time stamp, in ticks
        self._duration = 0  # of the last frame, in ticks
        self._frames = self._packets = 0

    def write(self, image: np.ndarray, seconds: float, duration: float) -> None:
        image = _fitted(image, self._size)
        below, right = self._stream.height - image.shape[0], self._stream.width - image.shape[1]
        if below or right:
            image = cv2.copyMakeBorder(image, 0, below, 0, right, cv2.BORDER_REPLICATE)
        frame = self._av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="bgr24")
        frame = frame.reformat(format="yuv420p", dst_colorspace="ITU601", threads=1)
        self._last = max(round(seconds / self._tick), self._last + 1)
        self._duration = max(round(duration / self._tick), 0)
        frame.pts, frame.time_base = self._last, self._tick
        self._frames += 1
        self._mux(self._stream.encode(frame))

    def _mux(self, packets: list[Any]) -> None:
        for packet in packets:
            if packet.pts == self._last and self._duration:
                packet.duration = self._duration  # nothing follows that would end the last frame
            self._packets += packet.size > 0
            self._container.mux(packet)

    def close(self) -> None:
        """Finish the file, open it again and compare what it holds with what was written."""
        self._mux(self._stream.encode(None))
        self._container.close()
        with self._av.open(f"file:{self._path}") as written:
            found = sum(packet.size > 0 for packet in written.demux(written.streams.video[0]))
        if found != self._packets or found < self._frames:
            raise ValueError(f"{found} of {self._frames} frames are in the file")

    def abort(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._container.close()


class RecordingFolder:
    """A folder with an annotated picture for each picture of the source, and an annotated video for each video."""

    def __init__(self, folder: str | os.PathLike, rate: float):
        """Write into `folder`, which is made if need be; UserError where that cannot be. `rate` as of `Recording`."""
        self._folder = pathlib.Path(folder)
        self._rate = rate
        check_writable("--record", self._folder)
        self._taken: set[str] = set()
        self._open: Recording | None = None
        self._begins = 0.0

    def write(self, image: np.ndarray, frame: Frame) -> None:
        """Save the annotated image of a picture, or append it to its video."""
        if frame.starts or self._open is None:
            self.close()
            self._begins = frame.time
            source = pathlib.PurePath(frame.name)
            suffix = source.suffix.lower()
            wanted = (suffix if suffix in PICTURE_SUFFIXES else ".png") if frame.still else ".mp4"
            path = free_path(self._folder, source.stem, wanted, self._taken)
            self._open = Recording(path, self._rate, live=False)
        self._open.write(image, dataclasses.replace(frame, time=frame.time - self._begins))

    def close(self) -> None:
        """Finish the last one."""
        done, self._open = self._open, None
        if done is not None:
            done.close()


def free_path(folder: pathlib.Path, stem: str, suffix: str, taken: set[str]) -> pathlib.Path:
    """The path of that name, or with a number, that is not among the names `taken` and not another's picture or video.

    It is added to `taken`, in lower case.
    """
    for number in itertools.count(1):
        name = f"{stem}{suffix}" if number == 1 else f"{stem}-{number}{suffix}"
        if name.lower() not in taken and not is_foreign(folder / name):
            taken.add(name.lower())
            return folder / name
    raise AssertionError("the numbers do not end")


def _fitted(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The image, made smaller or larger to fit into (width, height), black around it."""
    height, width = image.shape[:2]
    if (width, height) == size:
        return image
    scale = min(size[0] / width, size[1] / height)
    inner = max(round(width * scale), 1), max(round(height * scale), 1)
    image = cv2.resize(image, inner, interpolation=cv2.INTER_AREA)
    x, y = size[0] - inner[0], size[1] - inner[1]
    return cv2.copyMakeBorder(image, y // 2, y - y // 2, x // 2, x - x // 2, cv2.BORDER_CONSTANT)


def _available(encoders: tuple[Encoder, ...], path: pathlib.Path) -> Encoder:
    """The first encoder that this FFmpeg has."""
    from av.codec import Codec
    from av.codec.codec import UnknownCodecError

    for encoder in encoders:
        with contextlib.suppress(UnknownCodecError):
            Codec(encoder.name, "w")
            if not encoder.everywhere and encoders[0] is not encoder:
                logging.warning(
                    "this FFmpeg has no H.264 encoder, and browsers do not play %s with %s: .webm they do",
                    path.suffix, encoder.name,
                )  # fmt: skip
            return encoder
    raise ValueError(f"this FFmpeg has none of the encoders {', '.join(encoder.name for encoder in encoders)}")
