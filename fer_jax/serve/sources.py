"""What --source names: a camera, a video, a picture, a folder or glob of both, a pipe or an address."""

from __future__ import annotations

import dataclasses
import glob
import os
import pathlib
import re
import stat
import time
from collections.abc import Iterator, Sequence
from typing import Any

import cv2
from absl import logging

from fer_jax.errors import UserError
from fer_jax.preprocess import images
from fer_jax.serve import formats
from fer_jax.serve.frames import Frame, Mirrored, Source, as_bgr, is_address, shown

__all__ = ["Frame", "Pictures", "Source", "as_bgr", "inputs_of", "open_source", "playable"]

PICTURES_PER_SECOND = 1.0  # in a window or a recording
MAX_NAMES = 5  # of files that are left out
VIDEO4LINUX = 81  # major number of its devices
# What comes over HTTP in these formats, with neither a length nor a duration, has no end.
ENDLESS_FORMATS = frozenset(
    ("mpjpeg", "mjpeg", "mpegts", "flv", "live_flv", "hls", "dash", "h264", "hevc", "m4v", "mpegvideo")
)


class Pictures:
    """Pictures and videos in order, each a scene of its own. Attributes as of `frames.Source`.

    A picture takes a second, a video its own time. What cannot be read is skipped with a warning, unless nothing can.
    """

    live = False

    def __init__(self, paths: Sequence[pathlib.Path], name: str):
        self._items = [(path, formats.kind_of(path)) for path in paths]
        self.name = shown(name)
        self.still = all(kind in ("picture", "") for _, kind in self._items)
        self.rate = PICTURES_PER_SECOND if self.still else 0.0
        self.length = len(self._items) if self.still else 0
        if not self.still:  # the rate of the first video
            first = next(path for path, kind in self._items if kind not in ("picture", ""))
            try:
                opened = _video(first)
                self.rate = opened.rate
                opened.close()
            except UserError:
                self.rate = PICTURES_PER_SECOND

    def __iter__(self) -> Iterator[Frame]:
        """All frames, with times and indices that go on from one file to the next."""
        index, begins, unreadable = 0, 0.0, 0
        for path, kind in self._items:
            ends = begins
            try:
                for frame in self._picture(path) if kind in ("picture", "") else self._frames(path):
                    yield dataclasses.replace(frame, index=index, time=begins + frame.time)
                    index += 1
                    ends = begins + frame.time + (frame.duration or 1 / self.rate)
            except UserError as error:
                unreadable += 1
                if unreadable == len(self._items):
                    raise
                index += ends == begins  # nothing of it was seen
                logging.warning("%s; skipped", error)
            begins = max(ends, begins + (1 / PICTURES_PER_SECOND if ends == begins else 0.0))

    @staticmethod
    def _picture(path: pathlib.Path) -> Iterator[Frame]:
        image = cv2.cvtColor(images.read(path), cv2.COLOR_RGB2BGR)
        yield Frame(image, 0, 0.0, time.perf_counter(), shown(str(path)), True, 1 / PICTURES_PER_SECOND, True)

    @staticmethod
    def _frames(path: pathlib.Path) -> Iterator[Frame]:
        opened = _video(path)
        try:
            yield from opened
        finally:
            opened.close()

    def close(self) -> None:
        """Nothing is held between two files."""


def open_source(
    spec: str, *, mirror: bool = False, camera_size: tuple[int, int] | None = None, patience: float = 0.0
) -> Source:
    """What `spec` names: a camera's number or device, a file, a folder, a glob, "-" for standard input, an address.

    Args:
      spec: what to open.
      mirror: swap left and right.
      camera_size: (width, height) in pixels to ask a camera for.
      patience: seconds for which to try to reach a camera or stream again once it breaks off.

    Raises:
      UserError: nothing there, or nothing that can be read; for a camera, which ones can be opened.
    """
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        source = _open(spec, camera_size, patience)
    except OSError as error:
        name = shown(str(error.filename or spec))
        raise UserError(
            f"{name}: cannot be read ({error.strerror}): give another name, or this account the permission"
        ) from error
    if camera_size and not source.name.startswith("camera "):
        source.close()
        raise UserError(f"--camera-size is for cameras, and {source.name} is none: leave the flag out")
    return Mirrored(source) if mirror else source


def _open(spec: str, camera_size: tuple[int, int] | None, patience: float) -> Source:
    if not spec:
        raise UserError("the source is empty: expected a camera's number, a file, a folder or an address")
    if spec.isdecimal():
        from fer_jax.serve import live

        return live.camera(int(spec), f"camera {int(spec)}", camera_size, patience)
    if spec == "-":
        return _pipe("pipe:0", "standard input")
    if is_address(spec) and not spec.lower().startswith("file://"):
        return _address(spec, patience)
    path = _local(spec)
    if path.is_dir() or (not path.exists() and glob.has_magic(spec)):
        return Pictures(playable(path, spec), spec)
    if not path.exists():
        raise UserError(
            f"{shown(spec)}: no such file or folder: expected a camera's number or device, a video, a picture, a "
            "folder or glob of them, - for standard input, or an address"
        )
    if not path.is_file():
        return _special(path, spec, camera_size, patience)
    kind = formats.kind_of(path)
    return Pictures([path], spec) if kind == "picture" else _video(path)


def _video(path: pathlib.Path) -> Any:
    from fer_jax.serve import video  # importing PyAV takes a tenth of a second, which a camera need not wait for

    return video.Animation(path) if formats.kind_of(path) == "animation" else video.VideoFile.of_path(path)


def _pipe(address: str, name: str) -> Source:
    from fer_jax.serve import video

    return video.VideoFile(address, name)


def _special(path: pathlib.Path, spec: str, camera_size: tuple[int, int] | None, patience: float) -> Source:
    """A device or a pipe."""
    status = path.stat()
    if stat.S_ISFIFO(status.st_mode):
        return _pipe(f"file:{path}", shown(spec))
    if stat.S_ISCHR(status.st_mode) and os.major(status.st_rdev) == VIDEO4LINUX:
        from fer_jax.serve import live

        return live.camera(str(path.resolve()), f"camera {shown(spec)}", camera_size, patience)
    raise UserError(f"{shown(spec)}: neither a file nor a camera nor a pipe: expected one of them")


def _address(spec: str, patience: float) -> Source:
    from fer_jax.serve import live, video

    name = shown(spec)
    container = video.open_container(spec, name, live=True)
    if not _is_endless(container, spec):
        return video.VideoFile(spec, name, container)
    opened = [container]

    def connect() -> live.StreamConnection:
        return live.StreamConnection(opened.pop() if opened else video.open_container(spec, name, live=True), name)

    return live.Live(name, connect, patience)


def _is_endless(container: Any, spec: str) -> bool:
    """Whether an address gives frames in real time rather than the content of a file."""
    if container.duration and container.duration > 0:
        return False
    if spec.lower().startswith(("http://", "https://", "ftp://")):
        return container.size <= 0 and not set(container.format.name.split(",")).isdisjoint(ENDLESS_FORMATS)
    return True


def _local(spec: str) -> pathlib.Path:
    if spec.lower().startswith("file://"):
        import urllib.request  # with ssl and http.client, which other names need not wait for

        return pathlib.Path(urllib.request.url2pathname(spec[len("file://") :]))
    return pathlib.Path(spec).expanduser()


def playable(path: pathlib.Path, spec: str) -> list[pathlib.Path]:
    """The pictures and videos of a folder or glob, frame2 before frame10; the rest is named.

    A folder that has none itself, such as one of `tools.extract_faces`, is looked through with the folders below it.

    Raises:
      UserError: there is none.
    """
    if path.is_dir():
        entries = images.visible(path)
    else:
        entries = [pathlib.Path(found) for found in glob.glob(str(path), recursive=True)]  # noqa: PTH207 takes absolute ones
    files = [entry for entry in entries if entry.is_file() and formats.kind_of(entry)]
    if path.is_dir() and not files:
        entries = list(images.below(path))
        files = [entry for entry in entries if formats.kind_of(entry)]
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
    """The files that a source reads and the folders it finds them in; [] for a camera, a pipe or an address."""
    if spec.isdecimal() or spec == "-" or (is_address(spec) and not spec.lower().startswith("file://")):
        return []
    path = _local(spec)
    if path.is_dir():
        return [path, *images.visible(path)]
    if path.exists() or not glob.has_magic(spec):
        return [path]
    found = [pathlib.Path(entry) for entry in glob.glob(str(path), recursive=True)]  # noqa: PTH207 takes absolute ones
    return sorted({*found, *(entry.parent for entry in found)})
