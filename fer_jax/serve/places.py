"""Where outputs may go: to places that can be written, and onto nothing that is read or written otherwise."""

from __future__ import annotations

import os
import pathlib
import tempfile
from collections.abc import Iterable, Mapping

from fer_jax.errors import UserError


def refuse_conflicts(inputs: Iterable[pathlib.Path], outputs: Mapping[str, str | None]) -> None:
    """Refuse outputs that are an input or each other, through links too, before anything is opened.

    Args:
      inputs: files that are read, and folders whose files are.
      outputs: from the flag to its path, None, "" or "-" for none.

    Raises:
      UserError: names the flag, its path and what it would overwrite.
    """
    read = list(inputs)
    earlier: list[tuple[str, pathlib.Path]] = []
    for flag, value in outputs.items():
        if not value or value == "-":
            continue
        path = pathlib.Path(value)
        for source in read:
            # a recording of a folder's pictures has their names
            if _same(path, source) or (flag == "--record" and path.is_dir() and _same(path, source.parent)):
                raise UserError(f"{flag}={value} would overwrite the input {source}: name another place")
        for other, taken in earlier:
            if _same(path, taken):
                raise UserError(f"{flag}={value} and {other}={taken} are the same place: name two")
        earlier.append((flag, path))


def _same(first: pathlib.Path, second: pathlib.Path) -> bool:
    try:
        return first.samefile(second)
    except OSError:  # one is not there yet
        return os.path.normcase(os.path.realpath(first)) == os.path.normcase(os.path.realpath(second))


def check_writable(flag: str, folder: pathlib.Path) -> None:
    """Make a folder and see whether files can be made in it, which permissions alone do not tell."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise unwritable(flag, folder, error) from error


def check_target(flag: str, path: pathlib.Path) -> None:
    """Refuse a folder, and a file that is write-protected: renaming another over it would not ask."""
    if path.is_dir():
        raise UserError(f"{flag}={path}: is a folder: name a file in it")
    if path.is_file() and not os.access(path, os.W_OK):
        raise UserError(f"{flag}={path}: is write-protected: name another place, or remove the protection")


def unwritable(flag: str, path: str | os.PathLike, error: OSError) -> UserError:
    """The error of a place where files cannot be made."""
    return UserError(f"{flag}: {path} cannot be written ({error.strerror}): name a place where you may write")
