"""YuNet's model file from its official address: fetched once, when somebody asks, and checked."""

from __future__ import annotations

import http.client
import os
import pathlib
import urllib.error
import urllib.request

from tqdm import tqdm

from fer_jax import files
from fer_jax.errors import UserError
from fer_jax.faces.yunet import FILE as NAME

# OpenCV's model zoo at the commit whose Git LFS pointer names this checksum and size.
ADDRESS = (
    "https://github.com/opencv/opencv_zoo/raw/82b38c8f98e7b52aa171400f3e4c722352d0669f/"
    f"models/face_detection_yunet/{NAME}"
)
SHA256 = "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4"
BYTES = 232_589
LICENCE = "MIT, by the authors of libfacedetection and of OpenCV's model zoo"

TIMEOUT_SECONDS = 30.0
_PIECE = 1 << 16
_LFS_POINTER = b"version https://git-lfs.github.com/spec/"


def cached() -> pathlib.Path:
    """Where the file lies in the user's cache once it was fetched."""
    return files.user_cache() / NAME


def fetch(address: str = ADDRESS) -> pathlib.Path:
    """The path of the file in the user's cache, fetched if it is not there yet.

    A download that breaks off is kept beside it and goes on where it stopped the next time. What has another checksum
    than the package knows is never used.

    Args:
      address: of http or https, for a mirror.

    Raises:
      UserError: no connection, an answer that is not the file, or a cache that cannot be written.
    """
    path = cached()
    if path.is_file() and files.sha256(path) == SHA256:
        return path
    part = path.with_suffix(".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _download(address, part)
    except (OSError, http.client.HTTPException) as error:
        raise UserError(
            f"{address}: {_reason(error)}: try again, or fetch {NAME} elsewhere and put it at {path}"
        ) from error
    if problem := diagnose(part):
        got = part.stat().st_size
        if problem != _truncated(got):
            part.unlink()
            raise UserError(f"{address}: {problem}: it was removed; another address can be given with --address")
        raise UserError(f"{address}: the connection ended after {got:,} of {BYTES:,} bytes: run it again to go on")
    part.replace(path)
    return path


def diagnose(path: str | os.PathLike) -> str:
    """What is wrong with a file that should be YuNet's, in a few words; "" for the one that the package knows."""
    path = pathlib.Path(path)
    with path.open("rb") as file:
        start = file.read(len(_LFS_POINTER))
    size = path.stat().st_size
    if start == _LFS_POINTER:
        return "a Git LFS pointer, not the file itself (git lfs pull fetches it)"
    if start.lstrip()[:1] == b"<":
        return "a web page, not the file"
    if size < BYTES:
        return _truncated(size)
    if files.sha256(path) != SHA256:
        return f"not the file that this package knows: its sha256 is {files.sha256(path)}, expected {SHA256}"
    return ""


def _truncated(size: int) -> str:
    return f"truncated, {size:,} of {BYTES:,} bytes"


def _download(address: str, part: pathlib.Path) -> None:
    """Bring `part` to its whole length, or as far as the connection lasts."""
    have = part.stat().st_size if part.exists() else 0
    if have >= BYTES:
        part.unlink()
        have = 0
    request = urllib.request.Request(address, headers={"User-Agent": "fer_jax"})
    if have:
        request.add_header("Range", f"bytes={have}-")
    with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:
        if answer.status != http.HTTPStatus.PARTIAL_CONTENT:
            have = 0  # a server that knows no ranges sends all of it
        with (
            part.open("ab" if have else "wb") as file,
            tqdm(total=BYTES, initial=have, unit="B", unit_scale=True, desc=NAME, disable=None) as bar,
        ):
            # no more than is wanted, whatever the server sends
            while have <= BYTES and (piece := answer.read(_PIECE)):
                file.write(piece)
                bar.update(len(piece))
                have += len(piece)


def _reason(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"the server answers {error.code} {error.reason}"
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    return f"cannot be fetched ({' '.join(str(reason).split()) or type(reason).__name__})"
