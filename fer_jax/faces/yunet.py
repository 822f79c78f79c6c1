"""YuNet's file: where it lies, and how it is fetched from its official address, once, checked and with a word."""

import contextlib
import hashlib
import os
import pathlib
import sys
import threading
import time
from collections.abc import Callable

from fer_jax import files
from fer_jax.errors import UserError

FILE = "face_detection_yunet_2023mar.onnx"
# OpenCV's model zoo at the commit whose Git LFS pointer names this checksum and size.
ADDRESS = (
    "https://github.com/opencv/opencv_zoo/raw/82b38c8f98e7b52aa171400f3e4c722352d0669f/"
    f"models/face_detection_yunet/{FILE}"
)
SHA256 = "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4"
BYTES = 232_589
LICENSE = "MIT, by the authors of libfacedetection and of OpenCV's model zoo"

VARIABLE = "FER_JAX_YUNET"  # environment variable with the path of the file
OFFLINE = "FER_JAX_OFFLINE"  # environment variable: with any value but 0 nothing is fetched
CONNECT_SECONDS = 3.0  # from the look-up of the name to the first answer
TOTAL_SECONDS = 20.0
RETRY_SECONDS = 24 * 60 * 60.0  # after a failure nothing is fetched unasked for so long


def cached() -> pathlib.Path:
    """Path of the file in the user's cache once it was fetched."""
    return files.user_cache() / FILE


def find() -> str:
    """Path of the file: that in `FER_JAX_YUNET`, or the right one in the user's cache; "" where it is in neither.

    Raises:
      UserError: `FER_JAX_YUNET` names no file.
    """
    if named := os.environ.get(VARIABLE):
        if not pathlib.Path(named).is_file():
            raise UserError(f"{VARIABLE} is {named}, no file: give the path of {FILE}, or unset it")
        return named
    with contextlib.suppress(OSError):
        if files.sha256(cached()) == SHA256:
            return str(cached())
    return ""


def obtain() -> str:
    """Path of the file, fetched where it is missing; "" where it cannot be had.

    What is done, and what failed, is a line on standard error. After a failure the network is left alone for a day, and
    so it is with `FER_JAX_OFFLINE`.
    """
    if found := find():
        return found
    if offline() or failed():
        return ""
    try:
        path = _bring(ADDRESS)
    except (OSError, ValueError) as error:
        with contextlib.suppress(OSError):
            _failure().touch()
        print(
            f"YuNet cannot be fetched ({_reason(error)}): Haar's cascade finds the faces for a day, and misses more; "
            f"`fer-jax detector yunet` tries at once, {OFFLINE}=1 never",
            file=sys.stderr,
        )
        return ""
    _failure().unlink(missing_ok=True)
    return str(path)


def fetch(address: str = "") -> pathlib.Path:
    """Fetch the file into the user's cache, say so in a line on standard error, and return its path.

    Args:
      address: of http or https, for a mirror; "" is the official one.

    Raises:
      UserError: no connection within `CONNECT_SECONDS`, an answer that is not the file, a cache that cannot be written,
        or `FER_JAX_OFFLINE`.
    """
    advice = f"put {FILE} at {cached()}, or name it in --detector-model or {VARIABLE}"
    if offline():
        raise UserError(f"YuNet is not fetched, since {OFFLINE} is set: {advice}")
    try:
        return _bring(address or ADDRESS)
    except (OSError, ValueError) as error:
        if getattr(error, "filename", None):  # the cache cannot be written
            advice = f"name a copy of {FILE} in --detector-model or {VARIABLE}, or set XDG_CACHE_HOME to another folder"
        raise UserError(f"YuNet cannot be fetched ({_reason(error)}): {advice}") from error


def offline() -> bool:
    """Return whether `FER_JAX_OFFLINE` forbids to use the network."""
    return os.environ.get(OFFLINE, "") not in ("", "0")


def failed() -> bool:
    """Return whether the file could not be fetched within the last day."""
    try:
        return 0 <= time.time() - _failure().stat().st_mtime < RETRY_SECONDS
    except OSError:
        return False


def _failure() -> pathlib.Path:
    return cached().with_suffix(".failed")


def _bring(address: str) -> pathlib.Path:
    path = cached()
    with files.atomic_path(path) as tmp:
        tmp.touch()  # before the network is asked for what could not be kept
        print(f"fetching the face detector YuNet ({BYTES / 1e6:.1f} MB, MIT) from {address} to {path}", file=sys.stderr)
        tmp.write_bytes(_content(address))
    return path


def _reason(error: Exception) -> str:
    inner = getattr(error, "reason", None)  # of urllib's
    if isinstance(inner, OSError):
        error = inner
    if isinstance(error, OSError) and error.strerror and error.errno:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return " ".join(str(error).split()) or type(error).__name__


def _content(address: str) -> bytes:
    """The file's bytes; ValueError with the reason where they do not come in time or are others.

    In a thread of its own, since the look-up of a name has no limit of time.
    """
    answered, ended = threading.Event(), threading.Event()
    came: list[bytes | Exception] = []

    def download() -> None:
        try:
            came.append(_download(address, answered.set))
        except Exception as error:  # any, to be raised where it is waited for
            came.append(error)
        finally:
            answered.set()
            ended.set()

    threading.Thread(target=download, name="yunet", daemon=True).start()
    if not answered.wait(CONNECT_SECONDS):
        raise ValueError(f"no connection within {CONNECT_SECONDS:.0f} s")
    if not ended.wait(TOTAL_SECONDS):
        raise ValueError(f"not complete after {TOTAL_SECONDS:.0f} s")
    (content,) = came
    if isinstance(content, Exception):
        raise ValueError(_reason(content))
    if (found := hashlib.sha256(content).hexdigest()) != SHA256:
        raise ValueError(f"{len(content):,} bytes of SHA-256 {found[:12]}, expected {BYTES:,} of {SHA256[:12]}")
    return content


def _download(address: str, connected: Callable[[], None]) -> bytes:
    """Up to one byte more than are expected; `connected` is called when the first server has answered."""
    import urllib.request

    class Redirects(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *args, **kwargs):
            connected()
            return super().redirect_request(*args, **kwargs)

    request = urllib.request.Request(address, headers={"User-Agent": "fer_jax"})
    opener = urllib.request.build_opener(Redirects)
    # ends the thread of a server that went silent; `_content`, which says how long it waited, has ended before
    with opener.open(request, timeout=CONNECT_SECONDS + TOTAL_SECONDS) as answer:
        connected()
        return answer.read(BYTES + 1)
