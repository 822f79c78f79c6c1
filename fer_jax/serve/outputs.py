"""Where results go besides recordings: lines of events and pictures of faces; and where outputs may go at all."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import pathlib
import re
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import IO, Any, NoReturn

from fer_jax import files
from fer_jax.errors import UserError
from fer_jax.preprocess import images
from fer_jax.serve import sources
from fer_jax.serve.analysis import FrameResult

PART = ".part"  # is added to the name of a file of events until it is whole
MARK = "annotated by fer_jax"  # a comment in every picture and video that is written here
FOLDERS = ("--out", "--record")  # flags whose folder gets the names of the inputs


def refuse_conflicts(inputs: Iterable[pathlib.Path], outputs: Mapping[str, str | None]) -> None:
    """Refuse outputs that are an input, the folder of one, or each other, compared as files, before anything is opened.

    Args:
      inputs: files that are read.
      outputs: from the flag to its path, None, "" or "-" for none.

    Raises:
      UserError: names the flag, its path and what it would overwrite.
    """
    read: dict[tuple[int, int] | str, pathlib.Path] = {}
    folders: dict[tuple[int, int] | str, pathlib.Path] = {}
    for path in inputs:
        read.setdefault(_identity(path), path)
        for folder in (path.parent, pathlib.Path(os.path.realpath(path)).parent):
            folders.setdefault(_identity(folder), path)
    earlier: dict[tuple[int, int] | str, str] = {}
    for flag, value in outputs.items():
        if not value or value == "-":
            continue
        path = pathlib.Path(value)
        place = _identity(path)
        as_folder = flag in FOLDERS and (path.is_dir() or not path.suffix or value.endswith(("/", os.sep)))
        if source := read.get(place) or (folders.get(place) if as_folder else None):
            raise UserError(f"{flag}={value} would overwrite the input {source}: name another place")
        if place in earlier:
            raise UserError(f"{flag}={value} and {earlier[place]} are the same place: name two")
        earlier[place] = f"{flag}={value}"


def _identity(path: pathlib.Path) -> tuple[int, int] | str:
    """What two names of one file or folder have in common."""
    try:
        status = path.stat()
    except OSError:  # it is not there yet
        return os.path.normcase(os.path.realpath(path))
    return status.st_dev, status.st_ino


def is_foreign(path: pathlib.Path) -> bool:
    """Whether there is a picture or a video that was not written here."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        head = file.read(sources.HEAD_BYTES)
    kind = sources.kind_by_content(head)
    if kind != "video":
        return bool(kind) and MARK.encode() not in head
    from fer_jax.serve import video

    try:
        with contextlib.closing(video.open_container(f"file:{path}", str(path))) as container:
            return MARK not in container.metadata.values()
    except UserError:  # it begins like a video, and is none
        return True


def check_writable(flag: str, folder: pathlib.Path) -> None:
    """Make a folder and see whether files can be made in it, which permissions alone do not tell."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise unwritable(flag, folder, error) from error


def check_target(flag: str, path: pathlib.Path) -> None:
    """Refuse a folder, a file that is write-protected (renaming would not ask), and another picture or video."""
    if path.is_dir():
        raise UserError(f"{flag}={path}: is a folder: name a file in it")
    if path.is_file() and not os.access(path, os.W_OK):
        raise UserError(f"{flag}={path}: is write-protected: name another place, or remove the protection")
    if is_foreign(path):
        raise UserError(f"{flag}={path}: is a picture or video that was not written here: name another, or remove it")


def unwritable(flag: str, path: str | os.PathLike, error: OSError) -> UserError:
    """The error of a place where files cannot be made."""
    return UserError(f"{flag}: {path} cannot be written ({error.strerror}): name a place where you may write")


class Events:
    """What was seen, line by line, each complete as soon as its frame is done: JSON lines, or csv by the suffix .csv.

    JSON lines have one line a frame; csv has one row a face, and none for a frame without faces. Lines are written to
    the path with `PART` added, where others can follow them, and get the path's name at the end.
    """

    def __init__(self, path: str, labels: Sequence[str]):
        """Write to `path`, "-" for JSON lines on standard output; UserError where it cannot be written."""
        self._labels = tuple(labels)
        self._name = "--events: standard output" if path == "-" else f"--events={path}"
        self._target = self._part = None
        self._whole = 0  # bytes of lines that are complete
        self._failed = self._seen = False
        self._file = self._opened(path)
        table = csv.writer(self._file)
        self._table = table if path.lower().endswith(".csv") else None
        if self._table:
            box = ("left", "top", "width", "height")
            columns = ("frame", "time", "source", "track", *box, "found", "label", "uncertain", *self._labels)
            self._put(lambda: table.writerow(columns))

    def _opened(self, path: str) -> IO[str]:
        if path == "-":
            with contextlib.suppress(AttributeError):  # JSON is UTF-8, whatever the terminal's encoding
                sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
            return sys.stdout
        target = pathlib.Path(os.path.realpath(path))
        check_writable("--events", target.parent)
        check_target("--events", pathlib.Path(path))
        if not target.exists() or target.is_file():  # what is no file, such as a pipe, cannot be renamed to
            self._target, self._part = target, target.with_name(target.name + PART)
        try:
            return (self._part or target).open("w", newline="", encoding="utf-8")
        except OSError as error:
            raise unwritable("--events", path, error) from error

    def write(self, result: FrameResult) -> None:
        """Write the frame's line, or its faces' rows.

        Raises:
          BrokenPipeError: nobody reads standard output any more.
          UserError: they cannot be written; those before them are in the file with `PART` in its name.
        """
        record = self._record(result)
        self._seen = True
        table = self._table
        if table is None:
            self._put(lambda: self._file.write(json.dumps(record, ensure_ascii=False) + "\n"))
        else:
            rows = [
                [
                    record["frame"],
                    record["time"],
                    record["source"],
                    face["track"],
                    *face["box"],
                    face["found"],
                    face["label"],
                    face["uncertain"],
                    *face["probabilities"].values(),
                ]
                for face in record["faces"]
            ]
            self._put(lambda: table.writerows(rows))

    def _put(self, write: Callable[[], object]) -> None:
        try:
            write()
            self._file.flush()
            if self._part:
                self._whole = self._file.tell()
        except BrokenPipeError:
            raise
        except OSError as error:
            self._fail(error)

    def _fail(self, error: OSError) -> NoReturn:
        self._failed = True
        kept = ""
        if self._part:
            # what is left in the buffer would be written half
            with contextlib.suppress(OSError):
                self._file.close()
            os.truncate(self._part, self._whole)
            kept = f"; the lines before that are in {self._part}, what was at the name itself is untouched"
        raise UserError(f"{self._name} cannot be written ({error.strerror}): is there space?{kept}") from error

    def _record(self, result: FrameResult) -> dict[str, Any]:
        return {
            "frame": result.frame.index,
            "time": round(result.frame.time, 4),
            "source": result.frame.name,
            "faces": [
                {
                    "track": face.track,
                    "box": [round(float(value), 1) for value in face.box],
                    "found": face.found,
                    "label": self._labels[face.label],
                    "uncertain": face.uncertain,
                    "probabilities": {
                        name: round(float(value), 6)
                        for name, value in zip(self._labels, face.probabilities, strict=True)
                    },
                }
                for face in result.faces
                if not face.doubtful  # it has no name on the picture either
            ],
        }

    def close(self) -> None:
        """Close the file and give it its name, unless no frame came; standard output stays open."""
        if self._failed or self._file is sys.stdout:
            return
        try:
            self._file.close()
            if self._target and self._part:
                self._part.replace(self._target) if self._seen else self._part.unlink()
        except OSError as error:
            self._fail(error)


class FaceFolder:
    """Every classified face as a picture: frame, track and shown name in the file's name."""

    def __init__(self, folder: str | os.PathLike, labels: Sequence[str]):
        """Write into `folder`, which is made if need be; UserError where that cannot be, or holds other pictures."""
        self._folder = pathlib.Path(folder)
        self._labels = [re.sub(r'[/\\:*?"<>|\0-\x1f]', "-", label) for label in labels]
        check_writable("--save-faces", self._folder)
        files.remove_leftovers(self._folder)
        names = (re.fullmatch(r"(\d{6,}_\d{3,}_).*\.png", entry.name) for entry in self._folder.iterdir())
        # of an earlier run, perhaps by another model, which calls the same faces by other names
        self._earlier = {name[1]: self._folder / name[0] for name in names if name}
        for path in self._earlier.values():
            if is_foreign(path):
                raise UserError(f"--save-faces={folder}: {path.name} was not written here: name another folder")

    def write(self, result: FrameResult) -> None:
        """Save the pixels that were classified in this frame, before they were resized."""
        for face in result.faces:
            if face.crop is None:
                continue
            place = f"{result.frame.index:06d}_{face.track:03d}_"
            path = self._folder / f"{place}{self._labels[face.label]}.png"
            images.write(path, face.crop, comment=MARK)
            if (earlier := self._earlier.get(place, path)) != path:
                earlier.unlink(missing_ok=True)

    def close(self) -> None:
        """Nothing is held."""
