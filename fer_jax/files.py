"""Paths that a user gives, files that appear whole (written to a temporary path, then renamed), and what a file is."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import pathlib
import re
import shutil
import socket
import tempfile
import zipfile
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from fer_jax.errors import UserError

if TYPE_CHECKING:
    import numpy as np

MAX_NAME_BYTES = 255  # of one part of a path, in every file system in use


def expand(path: str | os.PathLike) -> pathlib.Path:
    """A path as a user gives it, with ~ and ~user replaced: the shell does not do that after the = of a flag.

    Raises:
      UserError: ~ where no home folder is known, and a name that is not UTF-8, which results could not mention.
    """
    text = os.fspath(path)
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UserError(f"{text!r}: the name is not UTF-8: rename it, or give it by a link with another name") from None
    try:
        return pathlib.Path(text).expanduser()
    except RuntimeError:
        if text == "~" or text.startswith("~/"):
            raise UserError(f"{text}: no home folder is known here: set HOME, or give the path without ~") from None
        return pathlib.Path(text)  # no such account: a name that begins with ~


def check_output(path: str | os.PathLike, *, folder: bool) -> pathlib.Path:
    """`path`, expanded, after a try that a file (or a folder) can be written there; for the time before long work.

    What is there already is kept, and nothing is left behind.

    Raises:
      UserError: `path` or a part of it is of the other kind, a broken link, too long, or in a place that this process
        may not write to.
    """
    path = expand(path)
    if long := next((part for part in path.parts if len(os.fsencode(part)) > MAX_NAME_BYTES), None):
        raise UserError(
            f"{long[:40]}...: a name of {len(os.fsencode(long))} bytes, at most {MAX_NAME_BYTES} are allowed"
        )
    try:
        if path.is_symlink() and not path.exists():
            raise UserError(
                f"{path}: a link to {path.readlink()}, which does not exist: remove it or give another path"
            )
        if path.name == ".." and not folder:
            raise UserError(f"{path} is a folder, expected a file to write to: give another path")
        if path.exists() and path.is_dir() != folder:
            found, wanted = ("a folder", "a file") if path.is_dir() else ("a file", "a folder")
            raise UserError(f"{path} is {found}, expected {wanted} to write to: give another path")
        if path.exists() and not path.is_file() and not path.is_dir():
            return path  # a pipe or a device
        place = path if folder else path.parent
        while not place.exists() and not place.is_symlink():
            place = place.parent
        # Permission bits do not tell all: read-only file systems, /proc, quotas.
        with tempfile.NamedTemporaryFile(dir=place, prefix=".fer_jax-"):
            pass
    except (OSError, RuntimeError) as error:  # RuntimeError: pathlib's for a loop of links
        reason = getattr(error, "strerror", None) or str(error)
        raise UserError(f"{path}: cannot be written ({reason}): give another path") from None
    return path


def user_error(error: OSError) -> UserError | None:
    """The one line for an error that the file system gives for a path or for a full disk; None for any other."""
    if error.filename is None and error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
        return None
    where = "" if error.filename is None else f"{os.fsdecode(error.filename)}: "
    return UserError(f"{where}{error.strerror}: {_ADVICE.get(error.errno or 0, 'give another path')}")


_ADVICE = {
    errno.ENOENT: "check the path",
    errno.ENOSPC: "free space on the disk, or give a path on another one",
    errno.EDQUOT: "free some of your quota, or give a path on another disk",
    errno.EACCES: "give this account the permission, or another path",
    errno.EPERM: "give this account the permission, or another path",
    errno.EROFS: "give a path that can be written to",
    errno.ELOOP: "remove the loop of links",
    errno.ENAMETOOLONG: "give a shorter path",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
}


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike) -> Iterator[pathlib.Path]:
    """A temporary path beside `path`, for a file or a folder, that replaces it when the block ends without error.

    The temporary keeps the suffix, since many writers choose their format by it. An existing file is replaced; an
    existing folder is replaced too. After an error nothing is left behind and what was at `path` is untouched.
    """
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # With the host's name: in containers that share a folder every process may have the same number.
    mark = f".{socket.gethostname().partition('.')[0]}-{os.getpid()}.tmp{path.suffix}"
    stem = os.fsencode(path.stem)[: MAX_NAME_BYTES - len(os.fsencode(mark)) - 1]
    tmp = path.with_name(f".{os.fsdecode(stem)}{mark}")
    try:
        yield tmp
        if path.is_dir() and tmp.is_dir():
            # A folder cannot be renamed over another; moved away first, the old one is never lost.
            old = tmp.with_name(f"{tmp.name}.old")
            path.replace(old)
            tmp.replace(path)
            shutil.rmtree(old)
        else:
            tmp.replace(path)
    except OSError as error:
        if error.filename is None or os.fsdecode(error.filename) == str(tmp):
            raise type(error)(error.errno, error.strerror, str(path)) from error
        raise
    finally:
        if tmp.is_dir():
            shutil.rmtree(tmp)
        else:
            tmp.unlink(missing_ok=True)


def remove_leftovers(folder: pathlib.Path) -> None:
    """Delete what `atomic_path` was writing in `folder` when its process was killed; nobody else may be writing."""
    for tmp in [path for path in folder.glob(".*") if re.fullmatch(r"\..*-\d+\.tmp(\.\w+)?", path.name)]:
        if tmp.is_dir():
            shutil.rmtree(tmp)
        else:
            tmp.unlink()


def remove_stale(folder: pathlib.Path, stem: str | None = None) -> None:
    """Delete what `atomic_path` was writing in `folder` when its process, on this host, was killed.

    What belongs to processes that still run stays, so that others may be writing there. With a `stem` only the
    temporaries of paths with that stem are looked at.
    """
    host = re.escape(socket.gethostname().partition(".")[0])
    pattern = re.compile(rf"\.{'.*' if stem is None else re.escape(stem)}\.{host}-(\d+)\.tmp(\.\w+)?(\.old)?")
    found = [(entry, pattern.fullmatch(entry.name)) for entry in folder.glob(".*")]
    for tmp, match in found:
        if match is None or int(match[1]) == os.getpid() or _runs(int(match[1])):
            continue
        if tmp.is_dir():
            shutil.rmtree(tmp)
        else:
            tmp.unlink(missing_ok=True)


def _runs(process: int) -> bool:
    if os.name == "nt":
        return True  # there os.kill would end it
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def write_json(path: str | os.PathLike, value: Any) -> None:
    """Write `value` as indented JSON with a final newline, whole or not at all."""
    with atomic_path(path) as tmp:
        tmp.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def read_json(path: str | os.PathLike, expected: str, advice: str) -> dict[str, Any]:
    """The object in a JSON file of UTF-8, with or without a byte order mark.

    Raises:
      UserError: another kind of file, JSON that is cut off or wrong (with the line), or no object; `expected` and
        `advice` complete the message. An `OSError` keeps its path.
    """
    path = pathlib.Path(path)
    refuse_other_kind(path, expected, but=("JSON", "an empty file"))
    try:
        value = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: {expected} that is damaged ({error}): {advice}") from None
    if not isinstance(value, dict):
        raise UserError(f"{path}: JSON of a {type(value).__name__}, expected {expected}: {advice}")
    return value


def read_npz(path: str | os.PathLike, expected: str, advice: str) -> dict[str, np.ndarray]:
    """The arrays of an .npz file, none of which may be a pickle.

    Raises:
      UserError: another kind of file, or one that is cut off or damaged; `expected` and `advice` complete the message.
        An `OSError` keeps its path.
    """
    import numpy as np  # a tenth of a second, and every command imports this module

    refuse_other_kind(path, expected, but=("NumPy arrays", "a zip archive", "an empty file"))
    try:
        with np.load(path) as arrays:
            return dict(arrays)
    except OSError:
        raise
    except Exception as error:  # damage gives anything from BadZipFile to NotImplementedError
        raise UserError(f"{path}: {expected} that is damaged ({' '.join(str(error).split())}): {advice}") from None


class Kind(NamedTuple):
    """What a file is: its name with an article, and what to do where another kind was expected."""

    name: str
    advice: str


_UNPACK = "unpack it and give the file inside"
_AGAIN = "download it again"
_SAVE = "save it as UTF-8"
_OTHER = "give another file"
_LFS = "fetch the file itself (git lfs pull)"

# (place, bytes there, what that is); the first that fits
_MAGIC = (
    (0, b"\x1f\x8b", Kind("a gzip archive", _UNPACK)),
    (0, b"BZh", Kind("a bzip2 archive", _UNPACK)),
    (0, b"\xfd7zXZ\0", Kind("an xz archive", _UNPACK)),
    (0, b"\x28\xb5\x2f\xfd", Kind("a Zstandard archive", _UNPACK)),
    (0, b"7z\xbc\xaf\x27\x1c", Kind("a 7z archive", _UNPACK)),
    (0, b"Rar!", Kind("a RAR archive", _UNPACK)),
    (257, b"ustar", Kind("a tar archive", _UNPACK)),
    (0, b"PAR1", Kind("a Parquet table", "save it as csv (pandas: read_parquet, to_csv)")),
    (0, b"ARROW1", Kind("an Arrow table", "save it as csv (pandas: read_feather, to_csv)")),
    (0, b"\x93NUMPY", Kind("a NumPy array (.npy)", _OTHER)),
    (0, b"\x89HDF\r\n\x1a\n", Kind("an HDF5 file", _OTHER)),
    (0, b"\xff\xfe\0\0", Kind("UTF-32 text", _SAVE)),
    (0, b"\0\0\xfe\xff", Kind("UTF-32 text", _SAVE)),
    (0, b"\xff\xfe", Kind("UTF-16 text", _SAVE)),
    (0, b"\xfe\xff", Kind("UTF-16 text", _SAVE)),
    (0, b"version https://git-lfs", Kind("a pointer of Git LFS, not the file itself", _LFS)),
    (0, b"\x89PNG", Kind("a PNG image", _OTHER)),
    (0, b"\xff\xd8\xff", Kind("a JPEG image", _OTHER)),
    (0, b"GIF8", Kind("a GIF image", _OTHER)),
    (0, b"RIFF", Kind("a WebP image or a video", _OTHER)),
    (4, b"ftyp", Kind("a video or a HEIF image", _OTHER)),
    (0, b"%PDF", Kind("a PDF document", _OTHER)),
    (0, b"SQLite format 3", Kind("an SQLite database", "export the table as csv")),
    (0, b"\xd0\xcf\x11\xe0", Kind("an old Office document", "save it as csv")),
)
# a member's name in a zip archive, what that makes of it
_ZIPPED = (
    ("model.weights.h5", Kind("a .keras model", "save it in Keras as HDF5, model.save('model.h5')")),
    ("data.pkl", Kind("a PyTorch file", _OTHER)),
    ("[Content_Types].xml", Kind("an Office document", "save it as csv")),
    (".npy", Kind("NumPy arrays (.npz)", _OTHER)),
)


def kind_of(path: str | os.PathLike) -> Kind | None:
    """What a file is by its first bytes, whatever its name; None for plain text and what is not known here."""
    with pathlib.Path(path).open("rb") as file:
        head = file.read(4096)
    if not head:
        return Kind("an empty file", "copy or download it again")
    if head.startswith(b"PK\x03\x04"):
        return _kind_of_zip(path)
    for place, magic, kind in _MAGIC:
        if head[place : place + len(magic)] == magic:
            return kind
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith((b"<!doctype html", b"<html", b"<head")):
        return Kind("an HTML page", f"it is a web page in the file's place, {_AGAIN}")
    if text.startswith(b"<?xml"):
        return Kind("an XML document", _OTHER)
    if text.startswith((b"{", b"[")) and b"\0" not in head:
        return Kind("JSON", _OTHER)
    if b"\0" in head:
        return Kind("a binary file", _OTHER)
    return None


def refuse_other_kind(path: str | os.PathLike, expected: str, but: Collection[str] = ()) -> None:
    """UserError that says what the file is, unless it is plain text or unknown, or of a kind named in `but`."""
    kind = kind_of(path)
    if kind is not None and not any(name in kind.name for name in but):
        raise UserError(f"{path}: {kind.name}, expected {expected}: {kind.advice}")


def _kind_of_zip(path: str | os.PathLike) -> Kind:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (OSError, ValueError, zipfile.BadZipFile):
        names = []
    return next(
        (kind for part, kind in _ZIPPED if any(name.endswith(part) for name in names)), Kind("a zip archive", _UNPACK)
    )


def sha256(path: str | os.PathLike) -> str:
    """Hexadecimal SHA-256 of a file's bytes."""
    with pathlib.Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def name_of(path: str | os.PathLike) -> str:
    """The last part of a path as it was written, without the folders above it; "" of ""."""
    return pathlib.Path(path).name


def user_cache() -> pathlib.Path:
    """The folder for what may be deleted at any time: $XDG_CACHE_HOME/fer_jax, or ~/.cache/fer_jax.

    An account without a home folder, as in many containers, gets one in the folder for temporary files.
    """
    if given := os.environ.get("XDG_CACHE_HOME"):
        return pathlib.Path(given) / "fer_jax"
    try:
        return pathlib.Path.home() / ".cache" / "fer_jax"
    except RuntimeError:
        return pathlib.Path(tempfile.gettempdir()) / f"fer_jax-{os.getuid()}"


def stamp(path: pathlib.Path) -> list:
    """[absolute path, bytes, modification time in ns] of a file: what tells one version of it from another."""
    stat = path.stat()
    return [str(path.absolute()), stat.st_size, stat.st_mtime_ns]
