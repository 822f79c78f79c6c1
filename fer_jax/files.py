"""Files that appear whole: written to a temporary path in the same folder, then renamed."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pathlib
import re
import shutil
import socket
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike) -> Iterator[pathlib.Path]:
    """A temporary path beside `path`, for a file or a folder, that replaces it when the block ends without error.

    The temporary keeps the suffix, since many writers choose their format by it. An existing file is replaced; an
    existing folder is replaced too. After an error nothing is left behind and what was at `path` is untouched.
    """
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # With the host's name: in containers that share a folder every process may have the same number.
    tmp = path.with_name(f".{path.stem}.{socket.gethostname().partition('.')[0]}-{os.getpid()}.tmp{path.suffix}")
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


def write_json(path: str | os.PathLike, value: Any) -> None:
    """Write `value` as indented JSON with a final newline, whole or not at all."""
    with atomic_path(path) as tmp:
        tmp.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def sha256(path: str | os.PathLike) -> str:
    """Hexadecimal SHA-256 of a file's bytes."""
    with pathlib.Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def user_cache() -> pathlib.Path:
    """The folder for what may be deleted at any time: $XDG_CACHE_HOME/fer_jax, or ~/.cache/fer_jax."""
    return pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "fer_jax"


def stamp(path: pathlib.Path) -> list:
    """[absolute path, bytes, modification time in ns] of a file: what tells one version of it from another."""
    stat = path.stat()
    return [str(path.absolute()), stat.st_size, stat.st_mtime_ns]
