"""Expressions in pictures and videos: fer-jax analyze photo.jpg

fer-jax analyze photo.jpg holiday/ 'scans/*.png' talk.mp4
fer-jax analyze photo.jpg --json            # or --csv; both to standard output
fer-jax analyze holiday/ --out=annotated/   # the pictures with boxes and names, under their own names
"""

from __future__ import annotations

import contextlib
import csv
import json
import pathlib
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, cast

from absl import flags, logging

from fer_jax.cli import options
from fer_jax.errors import UserError

if TYPE_CHECKING:
    from fer_jax.serve.analyzer import Analyzer, Faces, Tta

_BUNDLE = options.define_bundle()
_JSON = flags.DEFINE_bool("json", False, "Print a line of JSON for each face.")
_CSV = flags.DEFINE_bool("csv", False, "Print a csv with a row for each face.")
_OUT = flags.DEFINE_string("out", None, "Folder for annotated copies of the pictures and videos.")
_DETECTOR, _DETECTOR_MODEL = options.define_detector()
_TTA = options.define_tta()
_PRIOR = options.define_prior()
_ALIGN = flags.DEFINE_bool(
    "align", None, "Level tilted heads by YuNet's landmarks. Default: in pictures, not in videos."
)
_SEARCH_SIDE = flags.DEFINE_integer(
    "search-side",
    None,
    "Pixels of the longer side of what is searched for faces. Default: 960, and 320 for videos.",
    lower_bound=32,
)

POSITIONAL = True


def main(argv: list[str]) -> int:
    """Analyse every source; 1 where some of several could not be read."""
    if len(argv) < 2:
        raise UserError("what shall be analysed? Give pictures, videos, folders or globs: fer-jax analyze photo.jpg")
    if _JSON.value and _CSV.value:
        raise UserError("--json and --csv are two forms of one output: give one")
    paths = _expanded(argv[1:])

    from fer_jax.serve import outputs, sources
    from fer_jax.serve.analyzer import Analyzer

    analyzer = Analyzer(
        _BUNDLE.value,
        _DETECTOR.value,
        detector_model=_DETECTOR_MODEL.value,
        tta=cast("Tta", _TTA.value),
        align=_ALIGN.value,
        search_side=_SEARCH_SIDE.value,
        prior=_PRIOR.value,
    )
    outputs.refuse_conflicts([file for path in paths for file in sources.inputs_of(path)], {"--out": _OUT.value})
    show = _Json() if _JSON.value else _Csv(analyzer.labels) if _CSV.value else _Table()
    unread, taken = 0, set()
    with contextlib.suppress(BrokenPipeError):
        for path in _with_bar(paths):
            try:
                for faces in _analysed(analyzer, path, taken):
                    show.add(faces)
            except UserError as error:
                if len(paths) == 1:
                    raise
                logging.warning("%s; skipped", error)
                unread += 1
        show.end()
    return 1 if unread else 0


def _expanded(arguments: list[str]) -> list[str]:
    """The files that the arguments name: those of folders and globs, each once, in order."""
    from fer_jax.serve import sources

    return list(dict.fromkeys(path for argument in arguments for path in sources.expanded(argument)))


def _with_bar(paths: list[str]) -> Iterator[str]:
    if len(paths) == 1:
        return iter(paths)
    from tqdm import tqdm

    return iter(tqdm(paths, unit="file", disable=None))


def _analysed(analyzer: Analyzer, path: str, taken: set[str]) -> Iterator[Faces]:
    """The faces of a file, frame by frame; with --out their annotated copy is written as they pass.

    `taken` are the names of copies so far: files of several folders may have one name.
    """
    from fer_jax.serve import recording, sources
    from fer_jax.serve.frames import Frame

    if not _OUT.value:
        yield from analyzer.stream(path)
        return
    source = sources.open_source(path)
    source.close()
    name = pathlib.Path(path)
    suffix = name.suffix
    if suffix.lower() not in (recording.PICTURE_SUFFIXES if source.still else recording.FORMATS):
        suffix = ".png" if source.still else ".mp4"
    out = recording.free_path(pathlib.Path(_OUT.value), name.stem, suffix, taken)
    annotated = recording.Recording(str(out), source.rate, False, flag="--out")
    try:
        for faces in analyzer.stream(path):
            image = faces.draw()
            annotated.write(image, Frame(image, 0, faces.time, 0.0, faces.source, False))
            yield faces
    finally:
        annotated.close()


class _Table:
    """A line for each face of a picture; of a video the share of each expression in every face's time."""

    def __init__(self):
        self._heading = f"{'expression':11} {'sure':>5}  {'left':>5} {'top':>5} {'width':>6} {'height':>6}  source"

    def add(self, faces: Faces) -> None:
        """Print the faces of a picture or frame."""
        for face in faces:
            if self._heading:
                _say(self._heading)
                self._heading = ""
            left, top, width, height = map(round, face.box)
            where = face.source if not face.time else f"{face.source} at {face.time:.2f} s, face {face.track}"
            name = f"{face.label}{'?' if face.uncertain else ''}"
            _say(f"{name:11} {face.probability:5.0%}  {left:5} {top:5} {width:6} {height:6}  {where}")
        if not faces and not faces.time:
            _say(f"{'no face':54} {faces.source}")

    def end(self) -> None:
        """All is printed."""


class _Json:
    """A line of JSON for each face."""

    def add(self, faces: Faces) -> None:
        for face in faces.to_dicts():
            _say(json.dumps(face, ensure_ascii=False))

    def end(self) -> None:
        """All is printed."""


class _Csv:
    """A row for each face."""

    def __init__(self, labels: tuple[str, ...]):
        from fer_jax.serve.answers import columns

        self._rows = csv.DictWriter(sys.stdout, columns(labels), lineterminator="\n")
        self._rows.writeheader()

    def add(self, faces: Faces) -> None:
        self._rows.writerows(faces.rows())

    def end(self) -> None:
        sys.stdout.flush()


def _say(line: str) -> None:
    """Print a line, above a bar if one is shown."""
    tqdm = sys.modules.get("tqdm")
    if tqdm is not None and sys.stdout.isatty():
        tqdm.tqdm.write(line)
    else:
        print(line)
