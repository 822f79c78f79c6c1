"""The kind of a file by its first bytes, since suffixes are often missing or wrong."""

from __future__ import annotations

import contextlib
import pathlib
import re
from typing import Literal

from fer_jax.preprocess import images

PICTURE_SUFFIXES = frozenset(
    (
        ".png",
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".bmp",
        ".tif",
        ".tiff",
        ".webp",
        ".pgm",
        ".ppm",
        ".pbm",
        ".pnm",
        ".avif",
        ".heic",
        ".heif",
        ".jp2",
    )
)
VIDEO_SUFFIXES = frozenset(
    (
        ".mp4",
        ".m4v",
        ".mov",
        ".mkv",
        ".webm",
        ".avi",
        ".mpg",
        ".mpeg",
        ".vob",
        ".ts",
        ".m2ts",
        ".mts",
        ".wmv",
        ".flv",
        ".3gp",
        ".ogv",
        ".gif",
        ".h264",
        ".mjpeg",
        ".mjpg",
    )
)
JPEG_SEQUENCES = frozenset((".mjpeg", ".mjpg"))  # videos that begin like a single JPEG file
HEAD_BYTES = 4096

Kind = Literal["picture", "animation", "video", ""]

_PICTURES = re.compile(
    rb"\x89PNG\r\n\x1a\n|\xff\xd8\xff|BM.{4}\0\0\0\0|II\*\0|MM\0\*|RIFF.{4}WEBP|P[1-6][ \t\r\n#]|\0\0\0\x0cjP  ",
    re.DOTALL,
)
_VIDEOS = re.compile(
    rb"\x1a\x45\xdf\xa3|RIFF.{4}AVI |FLV\x01|\0\0\x01[\xba\xb3]|\x30\x26\xb2\x75|OggS|\x47.{187}\x47|.{4}\x47.{191}\x47"
    rb"|.{4}(?:moov|mdat|wide|free|skip)",
    re.DOTALL,
)
_PICTURE_BRANDS = images.HEIC_BRANDS | {b"avif"}


def kind_of(path: pathlib.Path) -> Kind:
    """The kind of a file: a picture, an animation that OpenCV decodes (WebP), anything else that may be a video.

    GIF is a video here, one picture or many. "" is a file that neither its bytes nor its suffix announce as either.
    """
    head = b""
    with contextlib.suppress(OSError):
        if path.exists() and not path.is_file():  # opening a pipe would wait for a writer
            return ""
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    suffix = path.suffix.lower()
    if kind := _by_content(head):
        return "video" if suffix in JPEG_SEQUENCES else kind
    if suffix in PICTURE_SUFFIXES:
        return "picture"
    return "video" if suffix in VIDEO_SUFFIXES else ""


def _by_content(head: bytes) -> Kind:
    if head[4:8] == b"ftyp":
        return "picture" if head[8:12] in _PICTURE_BRANDS else "video"
    if head[:4] == b"GIF8" or (head[:4] == b"\x89PNG" and b"acTL" in head[: _position(head, b"IDAT")]):
        return "video"
    if head[:4] == b"RIFF" and head[8:16] == b"WEBPVP8X" and head[20:21] and head[20] & 2:
        return "animation"
    if _PICTURES.match(head):
        return "picture"
    return "video" if _VIDEOS.match(head) else ""


def _position(head: bytes, chunk: bytes) -> int:
    found = head.find(chunk)
    return len(head) if found < 0 else found
