"""Expressions in pictures and videos: fer-jax analyze photo.jpg

fer-jax analyze photo.jpg holiday/ 'scans/*.png'    # a line for each face
fer-jax analyze talk.mp4 --fps=5 --plot=talk.svg    # a line for each person, and a band over time for each
fer-jax analyze talk.mp4 --frames                   # a line for each face of each frame; --json and --csv likewise
fer-jax analyze holiday/ --out=annotated/           # copies with boxes and names, under their own names
"""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import json
import os
import pathlib
import shutil
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, cast

from absl import flags, logging

from fer_jax import files
from fer_jax.cli import options
from fer_jax.errors import UserError

if TYPE_CHECKING:
    from fer_jax.serve.analyzer import Analyzer, Faces, Tta
    from fer_jax.serve.frames import Sampling, Source
    from fer_jax.serve.outputs import Recording
    from fer_jax.serve.summary import Person, Summary

_BUNDLE = options.define_bundle()
_JSON = flags.DEFINE_bool("json", False, "print a line of JSON for each face, of each frame of a video")
_CSV = flags.DEFINE_bool("csv", False, "print a csv with a row for each face, of each frame of a video")
_FRAMES = flags.DEFINE_bool("frames", False, "print a line for each face of each frame of a video")
_OUT = options.define_output("out", None, "folder for annotated copies of the pictures and videos", folder=True)
_SUMMARY = options.define_path("summary", None, "write what happened in a video as JSON; for several files, a folder")
_PLOT = options.define_path(
    "plot", None, "draw a band over time for each person: .svg, .png or .html; for several files, a folder"
)
_THUMBNAILS = flags.DEFINE_bool("thumbnails", False, "put a picture of each face beside its band in --plot")
_EVERY = flags.DEFINE_integer("every", 1, "of a video, analyze one frame of N")
_FPS = flags.DEFINE_float("fps", None, "of a video, analyze N frames a second at most")
_START = flags.DEFINE_float("start", 0.0, "of a video, seconds at which to begin")
_END = flags.DEFINE_float("end", None, "of a video, seconds at which to end")
_DETECTOR, _DETECTOR_MODEL = options.define_detector()
_TTA = options.define_tta()
_PRIOR = options.define_prior()
_DEVICE = options.define_device()
_ALIGN = flags.DEFINE_bool(
    "align", None, "level tilted heads by YuNet's landmarks. Default: in pictures, not in videos"
)
_SEARCH_SIDE = flags.DEFINE_integer(
    "search-side",
    None,
    "pixels of the longer side of what is searched for faces. Default: 960, and 320 for videos",
    lower_bound=32,
)

POSITIONAL = True


def main(argv: list[str]) -> int:
    """Analyze every source; 1 where some of several could not be read, 128 + the signal that ended it."""
    from fer_jax.serve.frames import Sampling

    if len(argv) < 2:
        raise UserError("nothing to analyze: give pictures, videos, folders or globs: fer-jax analyze photo.jpg")
    if _JSON.value + _CSV.value + _FRAMES.value > 1:
        raise UserError("--json, --csv and --frames are forms of one output: give one")
    if _THUMBNAILS.value and not _PLOT.value:
        raise UserError("--thumbnails belongs to --plot: give --plot=FILE.svg as well")
    sampling = Sampling(_EVERY.value, _FPS.value, _START.value, _END.value)

    from fer_jax.serve import outputs, sources
    from fer_jax.serve.analyzer import Analyzer
    from fer_jax.serve.player import stopping_signals

    paths = list(dict.fromkeys(path for argument in argv[1:] for path in sources.expanded(argument)))
    targets = {"--out": _OUT.value, "--summary": _SUMMARY.value, "--plot": _PLOT.value}
    outputs.refuse_conflicts([file for path in paths for file in sources.inputs_of(path)], targets)
    writers = [_writer(flag.name, flag.value, len(paths)) for flag in (_SUMMARY, _PLOT) if flag.value is not None]
    analyzer = Analyzer(
        _BUNDLE.value,
        _DETECTOR.value,
        detector_model=_DETECTOR_MODEL.value,
        tta=cast("Tta", _TTA.value),
        align=_ALIGN.value,
        search_side=_SEARCH_SIDE.value,
        prior=_PRIOR.value,
        device=_DEVICE.value,
    )
    show: _Show = (
        _Show() if _JSON.value else _Csv(analyzer.labels) if _CSV.value else _Table(_FRAMES.value, len(paths) == 1)
    )
    if _JSON.value or _CSV.value:
        outputs.standard_output()
    with stopping_signals() as stop:
        reader = _Reader(analyzer, sampling, paths, stop)
        for path in reader.paths():
            reader.analyze(path, show, writers)
        show.end()
    if reader.error:
        raise reader.error
    return 128 + stop[0] if stop else 1 if reader.unread else 0


class _Show:
    """Print the files in turn: a line of JSON for each face."""

    def add(self, faces: Faces) -> None:
        """Print the faces of a picture or frame."""
        for face in faces.to_dicts():
            _say(json.dumps(face, ensure_ascii=False))

    def sum_up(self, summary: Summary) -> None:
        """Print what happened in a video, after its last frame."""

    def end(self) -> None:
        """Print what waits for the last file."""


class _Reader:
    """Analyzes the files one after the other.

    Attributes:
      unread: how many of several could not be read to their end.
      error: of the only one, once the rest of the work is done.
    """

    def __init__(self, analyzer: Analyzer, sampling: Sampling, paths: list[str], stop: list[int]):
        self._analyzer = analyzer
        self._sampling = sampling
        self._paths = paths
        self._stop = stop
        self._taken: set[str] = set()  # names of copies: files of several folders may have the same
        self.unread = 0
        self.error: UserError | None = None

    def paths(self) -> Iterator[str]:
        """The files until a signal ends it, with a bar if there are several."""
        for path in self._paths if len(self._paths) == 1 else _bar(self._paths, unit="file"):
            if self._stop:
                return
            yield path

    def analyze(self, path: str, show: _Show, writers: list[Callable[[Summary], None]]) -> None:
        """Analyze a file and show, copy and sum up what is seen; what breaks off early is shown up to there."""
        summarizer, video, frames = self._analyzer.summarizer(), False, 0
        with contextlib.ExitStack() as stack:
            copy: Recording | None = None
            for source, faces in self._read(path):
                result = faces.result
                assert result is not None, "of a single frame"
                if not frames and _OUT.value:
                    copy = self._copy(path, source)
                    stack.callback(copy.close)
                    begins = result.frame.time
                if copy:
                    copy.write(faces.draw(), dataclasses.replace(result.frame, time=result.frame.time - begins))
                summarizer.add(result)
                show.add(faces)
                frames, video = frames + 1, not result.frame.still
        if video:
            summary = summarizer.summary(faces.source)
            for write in writers:
                write(summary)
            show.sum_up(summary)
        elif frames and writers and len(self._paths) == 1:
            raise UserError(f"{faces.source} is a picture: --summary and --plot are for videos, --json for its faces")

    def _read(self, path: str) -> Iterator[tuple[Source, Faces]]:
        """The faces of a file, frame by frame; an error of it, rather than of what is written, does not end the run."""
        from fer_jax.serve import sources

        try:
            source = sources.open_source(path, sampling=self._sampling)
            with contextlib.closing(source):
                shown = len(self._paths) == 1 and not source.still
                bar = _bar(total=source.length or None, unit="frame", leave=False) if shown else None
                for faces in self._analyzer.frames(source):
                    if bar is not None and faces.result:
                        bar.update(faces.result.frame.index + 1 - bar.n)
                    yield source, faces
                    if self._stop:
                        break
                if bar is not None:
                    bar.close()
        except UserError as error:
            if len(self._paths) == 1:
                self.error = error
            else:
                logging.warning("%s; skipped", error)
                self.unread += 1

    def _copy(self, path: str, source: Source) -> Recording:
        from fer_jax.serve import outputs

        name = pathlib.PurePath(path)
        suffix = name.suffix
        if suffix.lower() not in (outputs.PICTURE_SUFFIXES if source.still else outputs.FORMATS):
            suffix = ".png" if source.still else ".mp4"
        out = outputs.free_path(pathlib.Path(_OUT.value), name.stem, suffix, self._taken)
        return outputs.Recording(str(out), source.rate, False, flag="--out")


def _writer(name: str, value: str, count: int) -> Callable[[Summary], None]:
    """Write each file's summary where --summary or --plot says: a file, or in a folder one for each."""
    from fer_jax.serve import outputs, plot

    suffixes = plot.SUFFIXES if name == "plot" else (".json",)
    place = pathlib.Path(value)
    folder = count > 1 or place.is_dir()
    if not value or (not folder and place.suffix.lower() not in suffixes):
        raise UserError(f"--{name}={value}: expected a name ending in {', '.join(suffixes)}")
    if folder and place.suffix.lower() in suffixes and not place.is_dir():
        raise UserError(f"--{name}={value}: one file for {count}: name a folder, which gets one for each")
    files.check_output(value, folder=folder)
    if not folder:
        outputs.check_target(f"--{name}", place)
    taken: set[str] = set()

    def write(summary: Summary) -> None:
        stem = pathlib.PurePath(summary.source).stem
        target = outputs.free_path(place, stem, suffixes[0], taken) if folder else place
        if name == "plot":
            plot.Plot(summary, _THUMBNAILS.value).save(target)
        else:
            files.write_json(target, summary.to_dict())

    return write


class _Table(_Show):
    """A line for each face of a picture and for each person of a video; of several videos, a line for each."""

    def __init__(self, frames: bool, alone: bool):
        """Print a line for each face of each frame with `frames`; a video's people where it is `alone`."""
        self._frames = frames
        self._alone = alone
        self._heading = f"{'expression':11} {'sure':>5}  {'left':>5} {'top':>5} {'width':>6} {'height':>6}  source"
        self._videos: list[tuple[str, int, Person]] = []
        self._labels: tuple[str, ...] = ()

    def add(self, faces: Faces) -> None:
        """Print the faces."""
        from fer_jax.serve.overlay import percent

        still = faces.result is not None and faces.result.frame.still
        for face in faces if still or self._frames else ():
            if self._heading:
                _say(self._heading)
                self._heading = ""
            left, top, width, height = map(round, face.box)
            where = face.source if still else f"{face.source} at {face.time:.2f} s, face {face.track}"
            name = f"{face.label}{'?' if face.uncertain else ''}"
            _say(f"{name:11} {percent(face.probability):>5}  {left:5} {top:5} {width:6} {height:6}  {where}")
        if still and not faces:
            _say(f"{'no face':54} {faces.source}")

    def sum_up(self, summary: Summary) -> None:
        """Print the people, or keep a line for the end."""
        from fer_jax.serve.summary import together

        if self._frames:
            return
        if self._alone:
            _say(summary.text(*_terminal()))
        else:
            self._videos.append((summary.source, len(summary.people), together(summary.people, summary.labels)))
            self._labels = summary.labels

    def end(self) -> None:
        """Print the lines of several videos."""
        from fer_jax.serve.summary import overview

        if self._videos:
            _say(overview(self._videos, self._labels, *_terminal()))


class _Csv(_Show):
    """A row for each face."""

    def __init__(self, labels: tuple[str, ...]):
        from fer_jax.serve.analyzer import columns

        self._rows = csv.DictWriter(sys.stdout, columns(labels), lineterminator="\n")
        self._rows.writeheader()

    def add(self, faces: Faces) -> None:
        self._rows.writerows(faces.rows())

    def end(self) -> None:
        sys.stdout.flush()


def _terminal() -> tuple[int, bool]:
    """Columns of the terminal, 0 where standard output is none, and whether it shows blocks in colors."""
    if not sys.stdout.isatty():
        return 0, False
    utf8 = (sys.stdout.encoding or "").lower().startswith("utf")
    colors = "NO_COLOR" not in os.environ and (sys.platform != "win32" or "WT_SESSION" in os.environ)
    return shutil.get_terminal_size().columns, utf8 and colors


def _bar(*arguments, **options):
    """A progress bar where standard error is a terminal."""
    from tqdm import tqdm

    return tqdm(*arguments, disable=None, **options)


def _say(line: str) -> None:
    """Print a line, above a bar if one is shown."""
    tqdm = sys.modules.get("tqdm")
    if tqdm is not None and sys.stdout.isatty():
        tqdm.tqdm.write(line)
    else:
        print(line)
