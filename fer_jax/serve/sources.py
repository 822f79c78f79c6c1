"""Sources of frames: a camera, a video, a picture, a folder or glob of both, a pipe, an address, or pixels."""

from __future__ import annotations

import base64
import binascii
import contextlib
import dataclasses
import glob
import io
import os
import pathlib
import re
import sys
import time
from collections.abc import Iterator, Sequence
from typing import IO, Any, Literal

import cv2
import numpy as np
from absl import logging

from fer_jax.errors import UserError
from fer_jax.preprocess import images
from fer_jax.serve.frames import ALL, Frame, Mirrored, Sampling, Source, as_bgr, is_address, shown

MEMORY = "<memory>"  # the name of what has no path
PICTURES_PER_SECOND = 1.0  # in a window or a recording
MAX_NAMES = 5  # of files that are left out
VIDEO4LINUX = 81  # major number of its devices
HEAD_BYTES = 4096  # that tell what a file is
MAX_PICTURE_BYTES = 1 << 28  # of a picture from a pipe or the web
WEB_SECONDS = 10.0  # to wait for a web server

# Suffixes decide where the first bytes do not tell.
_PICTURE_SUFFIX = re.compile(r"\.(png|jpe?g|jpe|jfif|bmp|tiff?|webp|p[gpbn]m|avif|hei[cf]|jp2)")
_VIDEO_SUFFIX = re.compile(r"\.(mp4|m4v|mov|mkv|webm|avi|mpe?g|vob|ts|m2?ts|wmv|flv|3gp|ogv|gif|h264|mjpe?g)")
JPEG_SEQUENCES = frozenset((".mjpeg", ".mjpg"))  # videos that begin like a single JPEG file
_PICTURES = re.compile(
    rb"\x89PNG\r\n\x1a\n|\xff\xd8\xff|BM.{4}\0\0\0\0|II\*\0|MM\0\*|RIFF.{4}WEBP|P[1-6][ \t\r\n#]|\0\0\0\x0cjP  "
    rb"|.{4}ftyp(?:heic|heix|heim|heis|mif1|avif)",
    re.DOTALL,
)
_VIDEOS = re.compile(
    rb"GIF8|\x1a\x45\xdf\xa3|RIFF.{4}AVI |FLV\x01|\0\0\x01[\xba\xb3]|\x30\x26\xb2\x75|OggS|\x47.{187}\x47"
    rb"|.{4}\x47.{191}\x47|.{4}(?:ftyp|moov|mdat|wide|free|skip)",
    re.DOTALL,
)

Kind = Literal["picture", "animation", "video", ""]


def kind_of(path: pathlib.Path) -> Kind:
    """The kind of a file by its first bytes, or else by its suffix: suffixes are often missing or wrong.

    Animations are WebP, which FFmpeg does not decode; GIF is a video here, one picture or many. "" is a file that
    neither announces as either.
    """
    head = b""
    with contextlib.suppress(OSError):
        if path.exists() and not path.is_file():  # opening a pipe would wait for a writer
            return ""
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    suffix = path.suffix.lower()
    if kind := kind_by_content(head):
        return "video" if suffix in JPEG_SEQUENCES else kind
    if _PICTURE_SUFFIX.fullmatch(suffix):
        return "picture"
    return "video" if _VIDEO_SUFFIX.fullmatch(suffix) else ""


def kind_by_content(head: bytes) -> Kind:
    """`kind_of` for the first bytes of a file."""
    if head[:4] == b"\x89PNG" and b"acTL" in head.partition(b"IDAT")[0]:
        return "video"
    if head[:4] == b"RIFF" and head[8:16] == b"WEBPVP8X" and head[20:21] and head[20] & 2:
        return "animation"
    if _PICTURES.match(head):
        return "picture"
    return "video" if _VIDEOS.match(head) else ""


class Picture(Source):
    """A single picture."""

    still, rate, length = True, PICTURES_PER_SECOND, 1

    def __init__(self, image: np.ndarray, name: str):
        """Of uint8 BGR pixels (H, W, 3)."""
        self.name = name
        self._image = image

    def __iter__(self) -> Iterator[Frame]:
        yield Frame(self._image, 0, 0.0, time.perf_counter(), self.name, True, 1 / PICTURES_PER_SECOND, True)


class Pictures(Source):
    """Files of pictures and videos in order, each a scene of its own.

    A picture takes a second, a video its own time. What cannot be read is skipped with a warning, unless nothing can.
    """

    def __init__(self, paths: Sequence[pathlib.Path], name: str, sampling: Sampling = ALL):
        self._paths = paths
        self._sampling = sampling
        self.name = shown(name)
        videos = [path for path in paths if kind_of(path) not in ("picture", "")]
        self.still = not videos
        self.rate = PICTURES_PER_SECOND
        self.length = len(paths) if self.still else 0
        with contextlib.suppress(UserError):
            for path in videos[:1]:
                with contextlib.closing(_file(path)) as opened:
                    self.rate = opened.rate

    def __iter__(self) -> Iterator[Frame]:
        """All frames, with times and indices that go on from one file to the next."""
        index, begins, unreadable = 0, 0.0, 0
        for path in self._paths:
            ends = begins
            try:
                with contextlib.closing(_file(path, self._sampling)) as opened:
                    for frame in opened:
                        yield dataclasses.replace(frame, index=index, time=begins + frame.time)
                        index += 1
                        ends = begins + frame.time + (frame.duration or 1 / self.rate)
            except UserError as error:
                unreadable += 1
                if unreadable == len(self._paths):
                    raise
                index += ends == begins  # nothing of it was seen
                logging.warning("%s; skipped", error)
            begins = max(ends, begins + (1 / PICTURES_PER_SECOND if ends == begins else 0.0))


def open_source(
    source: Any,
    *,
    mirror: bool = False,
    camera_size: tuple[int, int] | None = None,
    patience: float = 0.0,
    sampling: Sampling = ALL,
    rgb: bool = False,
) -> Source:
    """Open what `source` is or names.

    Args:
      source: a camera's number or device, a file, a folder, a glob, "-" for standard input, an address or data: URL;
        the bytes of a file; pixels, uint8 (H, W), (H, W, 3) or (H, W, 4); a PIL image.
      mirror: swap left and right.
      camera_size: (width, height) in pixels to ask a camera for.
      patience: seconds for which to try to reach a camera or stream again once it breaks off.
      sampling: which frames of videos are taken.
      rgb: whether arrays are RGB or RGBA instead of BGR or BGRA.

    Raises:
      UserError: nothing there, or nothing that can be read; for a camera, which ones can be opened.
      TypeError, ValueError: an object of another kind, an array of another type or shape.
    """
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    if isinstance(source, bytes | bytearray | memoryview):
        return _of_bytes(bytes(source), MEMORY, sampling)
    if not isinstance(source, str | os.PathLike):
        return _of_pixels(source, rgb)
    spec = os.fspath(source)
    try:
        opened = _open(spec, camera_size, patience, sampling)
    except OSError as error:
        name = shown(str(error.filename or spec))
        raise UserError(
            f"{name}: cannot be read ({error.strerror}): give another name, or this account the permission"
        ) from error
    if camera_size and not opened.name.startswith("camera "):
        opened.close()
        raise UserError(f"--camera-size is for cameras, and {opened.name} is none: leave the flag out")
    return Mirrored(opened) if mirror else opened


def _open(spec: str, camera_size: tuple[int, int] | None, patience: float, sampling: Sampling) -> Source:
    if not spec:
        raise UserError("the source is empty: expected a camera's number, a file, a folder or an address")
    if spec.isdecimal():
        return _video().camera(int(spec), f"camera {int(spec)}", camera_size, patience)
    if spec == "-":
        return _stream(sys.stdin.buffer, "standard input", sampling)
    if spec.startswith("data:"):
        return _of_bytes(_decoded(spec), MEMORY, sampling)
    if _is_remote(spec):
        return _address(spec, patience, sampling)
    path = _local(spec)
    if path.is_dir() or _is_glob(path):
        return Pictures(playable(path, spec), spec, sampling)
    if not path.exists():
        raise UserError(
            f"{shown(spec)}: no such file or folder: expected a camera's number or device, a video, a picture, a "
            "folder or glob of them, - for standard input, or an address"
        )
    if path.is_fifo():
        return _stream(path.open("rb"), shown(spec), sampling)
    return _file(path, sampling) if path.is_file() else _device(path, spec, camera_size, patience)


def _device(path: pathlib.Path, spec: str, camera_size: tuple[int, int] | None, patience: float) -> Source:
    if sys.platform == "linux" and path.is_char_device() and os.major(path.stat().st_rdev) == VIDEO4LINUX:
        return _video().camera(str(path.resolve()), f"camera {shown(spec)}", camera_size, patience)
    raise UserError(f"{shown(spec)}: neither a file nor a camera nor a pipe: expected one of them")


def _video():
    """The module of videos: importing PyAV takes a tenth of a second, which a picture need not wait for."""
    from fer_jax.serve import video

    return video


def _file(path: pathlib.Path, sampling: Sampling = ALL) -> Source:
    kind, name = kind_of(path), shown(str(path))
    if kind == "picture":
        pixels = images.read(path)
        _warn_of_pages(path, name)
        return Picture(cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), name)
    if kind == "animation":
        return _video().Animation(path.read_bytes(), name, sampling)
    return _video().VideoFile.from_path(path, sampling)


def _warn_of_pages(file: pathlib.Path | IO[bytes], name: str) -> None:
    """Say that a picture has more pages than the one that is analyzed."""
    with contextlib.suppress(Exception):  # Pillow's own, of formats that it does not know
        if isinstance(file, pathlib.Path) and file.suffix.lower() not in (".tif", ".tiff"):
            return
        from PIL import Image

        pages = getattr(Image.open(file), "n_frames", 1)
        if pages > 1:
            logging.warning("%s: the first of %d pages is analyzed; save the others as files of their own", name, pages)


class _Rest:
    """A stream of which the first bytes were read already, as PyAV reads one."""

    def __init__(self, head: bytes, file: IO[bytes]):
        self._head, self._file = head, file

    def read(self, count: int) -> bytes:
        """Some bytes, `count` at most; none at the end."""
        if self._head:
            part, self._head = self._head[:count], self._head[count:]
            return part
        return getattr(self._file, "read1", self._file.read)(count)  # what is there, rather than wait for all of it


def _stream(file: IO[bytes], name: str, sampling: Sampling) -> Source:
    head = file.read(HEAD_BYTES)
    kind = kind_by_content(head)
    if kind in ("picture", "animation") or head[:4] == b"GIF8":  # what is small, and needs all of its bytes
        return _of_bytes(head + file.read(MAX_PICTURE_BYTES), name, sampling)
    if not head:
        raise UserError(f"{name}: the pipe is empty: nothing was written to it")
    return _video().VideoFile(_Rest(head, file), name, sampling)


def _decoded(spec: str) -> bytes:
    kind, comma, data = spec.partition(",")
    with contextlib.suppress(binascii.Error, ValueError):
        if comma and kind.endswith(";base64"):
            return base64.b64decode(data)
    raise UserError(f"{shown(spec[:40])}...: expected a data: URL of an image in base64")


def _address(spec: str, patience: float, sampling: Sampling) -> Source:
    video = _video()
    name, web = shown(spec), spec.lower().startswith(("http://", "https://", "ftp://"))
    container = video.open_container(spec, name, live=True)
    if not video.is_endless(container, web):
        made = container.format.name
        if web and (made == "image2" or made.endswith("_pipe") or (container.duration or 0) <= 0):  # maybe a picture
            data = _fetched(spec, name)
            if data and kind_by_content(data) in ("picture", "animation"):
                container.close()
                return _of_bytes(data, name, sampling)
        return video.VideoFile(spec, name, sampling, container)
    opened = [container]
    return video.Live(
        name,
        lambda: video.StreamConnection(opened.pop() if opened else video.open_container(spec, name, live=True), name),
        patience,
    )


def _fetched(spec: str, name: str) -> bytes:
    """The bytes at an address whose first ones are those of a picture; else the first ones alone."""
    import urllib.request  # with ssl and http.client, which other names need not wait for

    try:
        with urllib.request.urlopen(spec, timeout=WEB_SECONDS) as answer:
            head = answer.read(HEAD_BYTES)
            return head + answer.read(MAX_PICTURE_BYTES) if kind_by_content(head) else head
    except (OSError, ValueError) as error:
        raise UserError(f"{name}: cannot be fetched ({error}): check that it can be reached") from None


def _is_remote(spec: str) -> bool:
    return is_address(spec) and not spec.lower().startswith("file://")


def _local(spec: str) -> pathlib.Path:
    """The path of a name; ~ is the home folder, unless there is a file of that name."""
    if spec.lower().startswith("file://"):
        import urllib.request

        return pathlib.Path(urllib.request.url2pathname(spec[len("file://") :]))
    path = pathlib.Path(spec)
    with contextlib.suppress(RuntimeError):  # no such account
        return path if path.exists() else path.expanduser()
    return path


def _of_bytes(data: bytes, name: str, sampling: Sampling) -> Source:
    kind = kind_by_content(data[:HEAD_BYTES])
    if kind == "animation":
        return _video().Animation(data, name, sampling)
    if kind == "video":
        return _video().VideoFile(io.BytesIO(data), name, sampling)
    image = images.decode(data, name)
    _warn_of_pages(io.BytesIO(data), name)
    return Picture(cv2.cvtColor(image, cv2.COLOR_RGB2BGR), name)


def _of_pixels(source: Any, rgb: bool) -> Source:
    if "PIL.Image" in sys.modules and isinstance(source, sys.modules["PIL.Image"].Image):
        source, rgb = _of_pillow(source), True
    if not isinstance(source, np.ndarray):
        raise TypeError(f"cannot analyze a {type(source).__name__}: expected a path, bytes, a PIL image or an array")
    if source.dtype != np.uint8 or source.ndim not in (2, 3) or source.shape[2:] not in ((), (1,), (3,), (4,)):
        raise ValueError(
            f"expected uint8 pixels (H, W), (H, W, 3) or (H, W, 4), got {source.dtype} of shape {source.shape}"
        )
    if not source.size:
        raise ValueError(f"an array of shape {source.shape} has no pixels")
    image = as_bgr(source)
    # a copy: the array may change before the result is drawn
    return Picture(np.array(image[..., ::-1] if rgb and source.ndim == 3 else image), MEMORY)


def _of_pillow(image: Any) -> np.ndarray:
    """uint8 (H, W, 3) RGB or (H, W) of a PIL image, upright."""
    from PIL import ImageOps

    if image.mode in ("I", "F"):  # PIL would cut at 255
        raise ValueError(f"a PIL image of mode {image.mode}: expected 8 bits, or I;16; scale and convert it")
    if (pages := getattr(image, "n_frames", 1)) > 1:
        logging.warning("a PIL image of %d frames: the first is analyzed; give the path for all", pages)
    try:
        upright = ImageOps.exif_transpose(image)
        if upright.mode.startswith("I;16"):
            return (np.asarray(upright) >> 8).astype(np.uint8)
        if upright.mode in ("RGBa", "La"):
            upright = upright.convert(upright.mode.upper())
        return np.asarray(upright.convert("RGB"))
    except (AssertionError, OSError, ValueError) as error:  # it decodes a file when it is asked for pixels
        raise UserError(
            f"{MEMORY}: a PIL image that cannot be decoded ({error or 'closed'}): open a whole file, and keep it open"
        ) from None


def _is_glob(path: pathlib.Path) -> bool:
    return not path.exists() and glob.has_magic(str(path.relative_to(_existing(path))))


def _existing(path: pathlib.Path) -> pathlib.Path:
    """The deepest folder above a path that is there, whatever characters of globs its name has."""
    return next(parent for parent in (*path.parents, pathlib.Path()) if parent.exists())


def _matches(path: pathlib.Path) -> list[pathlib.Path]:
    above = _existing(path)
    pattern = pathlib.Path(glob.escape(str(above)), path.relative_to(above))
    return [pathlib.Path(found) for found in glob.glob(str(pattern), recursive=True)]  # noqa: PTH207 takes absolute ones


def expanded(spec: str) -> list[str]:
    """The names of the files of a folder or glob, as `playable` finds them; any other name alone."""
    if not spec or spec.isdecimal() or spec == "-" or is_address(spec) or spec.startswith("data:"):
        return [spec]
    path = _local(spec)
    return [str(found) for found in playable(path, spec)] if path.is_dir() or _is_glob(path) else [spec]


def playable(path: pathlib.Path, spec: str) -> list[pathlib.Path]:
    """The pictures and videos of a folder or glob, frame2 before frame10; the rest is named.

    A folder that has none itself, such as one of `fer-jax extract-faces`, is looked through with the folders below it.

    Raises:
      UserError: there is none.
    """
    entries = images.visible(path) if path.is_dir() else _matches(path)
    files = [entry for entry in entries if entry.is_file() and kind_of(entry)]
    if path.is_dir() and not files:
        entries = list(images.below(path))
        files = [entry for entry in entries if kind_of(entry)]
    left_out = [shown(entry.name) for entry in entries if entry not in set(files)]
    if not files:
        raise UserError(
            f"{shown(spec)}: no pictures or videos there, {len(left_out)} other entries: give another folder or glob"
        )
    if left_out:
        names = ", ".join(sorted(left_out)[:MAX_NAMES]) + (", ..." if len(left_out) > MAX_NAMES else "")
        logging.info("%s: left out %d, neither pictures nor videos: %s", shown(spec), len(left_out), names)
    return sorted(files, key=_natural)


def _natural(path: pathlib.Path) -> list[list[tuple[bool, int, str]]]:
    """Sorts names by the numbers in them, folder by folder."""
    return [
        [(bool(text), int(digits or 0), text.casefold()) for digits, text in re.findall(r"(\d+)|(\D+)", part)]
        for part in path.parts
    ]


def inputs_of(spec: str) -> list[pathlib.Path]:
    """The files that a source reads; [] for a camera, a pipe or an address."""
    if spec.isdecimal() or spec == "-" or spec.startswith("data:") or _is_remote(spec):
        return []
    path = _local(spec)
    if path.is_dir():
        return [entry for entry in images.below(path) if entry.is_file()]
    return [found for found in _matches(path) if found.is_file()] if _is_glob(path) else [path]
