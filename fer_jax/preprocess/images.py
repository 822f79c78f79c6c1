"""Image files and arrays of any kind brought to the one shape a network takes."""

import functools
import io
import os
import pathlib
import re
import stat
import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

import cv2
import numpy as np
from absl import logging

from fer_jax import files
from fer_jax.errors import UserError

# "area" averages the pixels it merges when it shrinks an image, and is the choice that does not alias
INTERPOLATIONS = {"area": cv2.INTER_AREA, "linear": cv2.INTER_LINEAR}

MAX_PIXELS = 100_000_000  # of an image file: 300 MB in memory; `fer_jax` sets OpenCV's own limit to the same
MAX_SCANS = 100  # of a progressive JPEG, each a pass over all pixels; cameras and editors write about ten
_JPEG_FRAME = re.compile(rb"\xff[\xc0-\xc3\xc5-\xc7\xc9-\xcb\xcd-\xcf](?=\x00.[\x08\x0c](.{4}))", re.DOTALL)
_JPEG_SCAN = re.compile(rb"\xff\xda\x00(?:\x08\x01|\n\x02|\x0c\x03|\x0e\x04)")
HEIC_BRANDS = frozenset((b"heic", b"heix", b"heim", b"heis", b"mif1"))  # of ISO/IEC 23008-12, in the file's first bytes


# What systems leave in folders of images, in lower case, besides hidden files such as .DS_Store and AppleDouble's
LEFT_BY_SYSTEMS = frozenset(("thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "$recycle.bin"))


class Geometry(Protocol):
    """Input of a network, in a bundle's or in a config's words: (size, size, channels) pixels, fitted by `resize`."""

    @property
    def size(self) -> int:
        """Height and width in pixels."""
        ...

    @property
    def channels(self) -> int:
        """1 for gray, 3 for RGB."""
        ...

    @property
    def resize(self) -> str:
        """A key of `INTERPOLATIONS`."""
        ...


def visible(folder: pathlib.Path) -> list[pathlib.Path]:
    """The entries of a folder by name, without hidden ones and those of `LEFT_BY_SYSTEMS`, which are no images."""
    found = (
        entry
        for entry in folder.iterdir()
        if not entry.name.startswith(".") and entry.name.lower() not in LEFT_BY_SYSTEMS
    )
    return sorted(found, key=lambda entry: entry.name)


def below(folder: pathlib.Path, above: tuple[str, ...] = ()) -> Iterator[pathlib.Path]:
    """The visible files in `folder` and in the folders below it; a link to a folder `above` is not followed again."""
    here = os.path.realpath(folder)
    if here in above:
        logging.warning("%s is a link to a folder above it and not followed", folder)
        return
    for entry in visible(folder):
        if entry.is_dir():
            yield from below(entry, (*above, here))
        else:
            yield entry


def read(path: pathlib.Path) -> np.ndarray:
    """An image file as uint8 RGB (H, W, 3), whatever its format, depth or channels.

    16 bits become 8 by their high byte, an alpha channel is dropped, gray is repeated, EXIF orientation is applied.
    Raises UserError, naming the file, for one that is no image or cannot be decoded.
    """
    try:
        mode = path.stat().st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):  # reading a pipe would wait for a writer
            raise UserError(f"{path}: a pipe or device, expected an image: move or remove it")
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}, expected an image: move or remove it") from None
    return decode(data, str(path))


def decode(data: bytes, name: str, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """The bytes of an image file as `read` gives them; UserError, with the `name`, where they are none.

    A file of more than `max_pixels`, or a JPEG of more than `MAX_SCANS`, is refused before it is decoded.
    """
    _silence_opencv()
    if (pixels := declared_pixels(data)) > max_pixels:
        raise _too_large(name, f"{pixels:,} pixels", f"{max_pixels:,}")
    if data[:2] == b"\xff\xd8" and (scans := len(_JPEG_SCAN.findall(data))) > MAX_SCANS:
        raise _too_large(name, f"a JPEG of {scans:,} scans", f"{MAX_SCANS}")
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB) if data else None
    except cv2.error as error:
        if "MAX_IMAGE_PIXELS" in str(error):  # in a format whose header is not read here
            raise _too_large(name, "more pixels", f"{MAX_PIXELS:,}") from None
        raise UserError(f"{name}: OpenCV cannot read it ({error.err}): make it smaller or remove it") from None
    if image is None and data[4:8] == b"ftyp" and data[8:12] in HEIC_BRANDS:
        return _decode_heic(data, name, max_pixels)
    if image is None:
        raise UserError(f"{name}: not an image that OpenCV can read ({len(data)} bytes): repair or remove the file")
    return _upright(image, data) if data[4:8] == b"ftyp" else image


def _upright(image: np.ndarray, data: bytes) -> np.ndarray:
    """The pixels of an AVIF file, turned and mirrored as the file says, which OpenCV leaves out for this format."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data), formats=["AVIF"]) as file:
            orientation = file.getexif().get(0x0112, 1)  # of EXIF, as Pillow gives the file's own rotation too
    except (KeyError, OSError, SyntaxError, ValueError):  # a Pillow without AVIF
        return image
    image = image.transpose(1, 0, 2) if orientation >= 5 else image
    image = image[:, ::-1] if orientation in (2, 3, 6, 7) else image
    return np.ascontiguousarray(image[::-1] if orientation in (3, 4, 7, 8) else image)


def declared_pixels(data: bytes) -> int:
    """Width times height in the header of a PNG or JPEG file, 0 for what is neither.

    Of a JPEG it is the largest of its frame headers (ITU-T T.81, B.2.2): one may stand in a thumbnail.
    """
    if data[:8] == b"\x89PNG\r\n\x1a\n" and len(data) >= 24:
        return int.from_bytes(data[16:20], "big") * int.from_bytes(data[20:24], "big")
    if data[:2] != b"\xff\xd8":
        return 0
    sizes = (struct.unpack(">HH", match[1]) for match in _JPEG_FRAME.finditer(data))
    return max((height * width for height, width in sizes), default=0)


def check_pixels(width: int, height: int, name: str, limit: int = MAX_PIXELS) -> None:
    """UserError, with the `name`, of a picture or video of more pixels than the limit."""
    if width * height > limit:
        raise _too_large(name, f"{width * height:,} pixels", f"{limit:,}")


def _too_large(name: str, found: str, limit: str) -> UserError:
    return UserError(f"{name}: {found}, expected {limit} at most: make it smaller")


@functools.cache
def _silence_opencv() -> None:
    """Let errors alone say what is wrong. Once: each call of OpenCV gives up Python's lock and waits for it again."""
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


def _decode_heic(data: bytes, name: str, max_pixels: int) -> np.ndarray:
    """`decode` for the photos of phones, which OpenCV does not read.

    FFmpeg does, but PyAV gives the tiles of such a photo one by one, without their places and the photo's rotation.
    """
    import pi_heif

    try:
        photo = pi_heif.open_heif(data, convert_hdr_to_8bit=True)
        check_pixels(*photo.size, name, max_pixels)
        image = np.array(photo)  # a copy: the pixels are freed with the photo
    except (EOFError, LookupError, MemoryError, OSError, RuntimeError, SyntaxError, ValueError) as error:
        raise UserError(
            f"{name}: a HEIC photo that cannot be read ({str(error).strip()}): copy it again or remove it"
        ) from None
    return cv2.cvtColor(image, cv2.COLOR_GRAY2RGB) if image.ndim == 2 else np.ascontiguousarray(image[..., :3])


def write(path: pathlib.Path, image: np.ndarray, parameters: Sequence[int] = (), comment: str = "") -> None:
    """Write a uint8 image (H, W), or BGR (H, W, 3), in the format of the path's suffix, whole or not at all.

    The file's bytes are encoded in memory: `cv2.imwrite` on Windows opens no path outside the system's code page, and
    does not report a full disk. Folders are made. `parameters` are OpenCV's for `cv2.imencode`; `comment` is written
    near the beginning of a PNG or JPEG file.

    Raises:
      UserError: a suffix that OpenCV does not write, a size that the format has no room for, or a place that cannot
        be written.
    """
    try:
        encoded, data = cv2.imencode(path.suffix, image, parameters)
    except cv2.error:
        encoded, data = False, np.empty(0, np.uint8)
    if not encoded:
        raise UserError(
            f"{path}: OpenCV cannot write {image.shape[1]}x{image.shape[0]} pixels as {path.suffix or 'no format'}: "
            "name a file ending in .png or .jpg"
        )
    try:
        with files.atomic_path(path) as tmp:
            tmp.write_bytes(commented(data.tobytes(), comment))
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror}): name another place or make room") from error


def commented(data: bytes, comment: str) -> bytes:
    """The bytes of a PNG or JPEG file with a comment; those of another format as they are."""
    if comment and data.startswith(b"\x89PNG"):
        chunk = b"tEXtComment\0" + comment.encode()
        length, check = (struct.pack(">I", number) for number in (len(chunk) - 4, zlib.crc32(chunk)))
        return data[:33] + length + chunk + check + data[33:]  # after the header
    if comment and data.startswith(b"\xff\xd8"):
        return data[:2] + b"\xff\xfe" + struct.pack(">H", len(comment.encode()) + 2) + comment.encode() + data[2:]
    return data


def fit(image: np.ndarray, input: Geometry) -> np.ndarray:
    """Bring a uint8 image (H, W), (H, W, 1) or (H, W, 3) RGB to (input.size, input.size, input.channels) uint8.

    Color becomes gray by ITU-R BT.601 luma, gray becomes three equal channels; a size that differs is resampled by
    `input.resize`, both sides to the same length whatever the aspect ratio.
    """
    if input.resize not in INTERPOLATIONS:
        raise UserError(f"config.input.resize is {input.resize!r}: expected one of {', '.join(INTERPOLATIONS)}")
    if image.ndim == 3 and image.shape[-1] == 3 and input.channels == 1:
        image = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    if image.shape[:2] != (input.size, input.size):
        image = cv2.resize(image, (input.size, input.size), interpolation=INTERPOLATIONS[input.resize])
    image = image.reshape(input.size, input.size, -1)
    return np.repeat(image, input.channels, axis=-1) if image.shape[-1] == 1 else image


def fit_all(images: Iterable[np.ndarray], count: int, input: Geometry) -> np.ndarray:
    """Fit `count` images one after the other: uint8 (count, input.size, input.size, input.channels)."""
    fitted = np.empty((count, input.size, input.size, input.channels), np.uint8)
    for row, image in zip(fitted, images, strict=True):
        row[...] = fit(image, input)
    return fitted
