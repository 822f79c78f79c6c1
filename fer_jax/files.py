"""Paths that a user gives, and files that appear whole: written to a temporary path, then renamed."""

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
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

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
        raise UserError(f"{long[:40]}...: a name of {len(os.fsencode(long))} bytes, expected at most {MAX_NAME_BYTES}")
    try:
        if path.is_symlink() and not path.exists():
            raise UserError(
                f"{path}: a link to {path.readlink()}, which does not exist: remove it or give another path"
            )
        if (path.exists() and path.is_dir() != folder) or (path.name == ".." and not folder):
            found, wanted = ("a file", "a folder") if folder else ("a folder", "a file")
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
    errno.ELOOP: "remove the link",
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
    mark = f".{_host()}-{os.getpid()}.tmp{path.suffix}"
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
            # NumPy's "24 requested and 0 written" has no number.
            raise type(error)(error.errno or errno.ENOSPC, error.strerror or str(error), str(path)) from error
        raise
    finally:
        if tmp.is_dir():
            shutil.rmtree(tmp)
        else:
            tmp.unlink(missing_ok=True)


def remove_leftovers(folder: pathlib.Path, stem: str | None = None, *, alone: bool = False) -> None:
    """Delete what `atomic_path` was writing in `folder` when its process was killed.

    Args:
      folder: where.
      stem: look only at the temporaries of paths with this stem.
      alone: whether no other process writes there, so that all of them go. Else those of processes that still run, and
        of other hosts, stay.
    """
    host = r".*" if alone else re.escape(_host())
    pattern = re.compile(rf"\.{'.*' if stem is None else re.escape(stem)}\.{host}-(\d+)\.tmp(\.\w+)?(\.old)?")
    for tmp in list(folder.glob(".*")):
        match = pattern.fullmatch(tmp.name)
        if match is None or (not alone and (int(match[1]) == os.getpid() or _runs(int(match[1])))):
            continue
        if tmp.is_dir():
            shutil.rmtree(tmp)
        else:
            tmp.unlink(missing_ok=True)


def _host() -> str:
    return socket.gethostname().partition(".")[0]


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
      UserError: no JSON (with the line), or no object; `expected` and `advice` complete the message. An `OSError` keeps
        its path.
    """
    path = pathlib.Path(path)
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
      UserError: another kind of file, or a damaged one; `expected` and `advice` complete the message. An `OSError`
        keeps its path.
    """
    import numpy as np  # a tenth of a second, and every command imports this module

    try:
        with np.load(path) as arrays:
            return dict(arrays)
    except OSError:
        raise
    except Exception as error:  # damage gives anything from BadZipFile to NotImplementedError
        raise UserError(f"{path}: {expected} that is damaged ({' '.join(str(error).split())}): {advice}") from None


def sha256(path: str | os.PathLike) -> str:
    """Hexadecimal SHA-256 of a file's bytes."""
    with pathlib.Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def name_of(path: str | os.PathLike) -> str:
    """The last part of a path as it was written, without the folders above it; "" of ""."""
    return pathlib.Path(path).name


def user_cache() -> pathlib.Path:
    """The folder for what may be deleted at any time; on Linux $XDG_CACHE_HOME/fer_jax, or ~/.cache/fer_jax.

    An account without a home folder, as in many containers, gets one in the folder for temporary files.
    """
    import platformdirs  # ten milliseconds, and every command imports this module

    with contextlib.suppress(RuntimeError):
        if (path := platformdirs.user_cache_path("fer_jax", appauthor=False)).is_absolute():
            return path
    user = getattr(os, "getuid", int)()  # Windows has none, and always a home folder
    return pathlib.Path(tempfile.gettempdir()) / f"fer_jax-{user}"


def stamp(path: pathlib.Path) -> list:
    """[absolute path, bytes, modification time in ns] of a file: what tells one version of it from another."""
    stat = path.stat()
    return [str(path.absolute()), stat.st_size, stat.st_mtime_ns]
