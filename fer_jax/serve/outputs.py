"""Where results go besides recordings: lines of events, pictures of faces.

Each is a context that is closed properly however the stream ends.
"""

from __future__ import annotations

import contextlib
import csv
import json
import os
import pathlib
import sys
from collections.abc import Callable, Sequence
from typing import IO, Any, NoReturn

from fer_jax import files
from fer_jax.errors import UserError
from fer_jax.preprocess import images
from fer_jax.serve import places
from fer_jax.serve.analysis import FrameResult

PART = ".part"  # is added to the name of a file of events until it is whole


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
        places.check_writable("--events", target.parent)
        places.check_target("--events", pathlib.Path(path))
        if not target.exists() or target.is_file():  # what is no file, such as a pipe, cannot be renamed to
            self._target, self._part = target, target.with_name(target.name + PART)
        try:
            return (self._part or target).open("w", newline="", encoding="utf-8")
        except OSError as error:
            raise places.unwritable("--events", path, error) from error

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
        """Write into `folder`, which is made if need be; UserError where that cannot be."""
        self._folder = pathlib.Path(folder)
        self._labels = [_file_name(label) for label in labels]
        places.check_writable("--save-faces", self._folder)
        files.remove_leftovers(self._folder)

    def write(self, result: FrameResult) -> None:
        """Save the pixels that were classified in this frame, before they were resized."""
        for face in result.faces:
            if face.crop is None:
                continue
            name = f"{result.frame.index:06d}_{face.track:03d}_{self._labels[face.label]}.png"
            images.write(self._folder / name, face.crop)

    def close(self) -> None:
        """Nothing is held."""


def _file_name(label: str) -> str:
    """The label without what separates folders."""
    return label.replace("/", "-").replace(os.sep, "-")
