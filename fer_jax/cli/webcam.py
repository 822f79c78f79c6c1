"""Expressions of the faces before a camera, or in videos and pictures, live.

fer-jax webcam --source=0 --mirror
fer-jax webcam --source=talk.mp4 --headless --record=out.mp4 --events=out.jsonl

docs/start/camera.md and docs/reference/events.md say more.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import re
import signal
import sys
from typing import TYPE_CHECKING

from absl import flags

from fer_jax.bundle import formats
from fer_jax.cli import options
from fer_jax.errors import UserError

if TYPE_CHECKING:
    from fer_jax.serve.analysis import FrameAnalyzer
    from fer_jax.serve.frames import Source
    from fer_jax.serve.outputs import Recording, RecordingFolder

_BUNDLE = options.define_bundle()
_SOURCE = flags.DEFINE_string(
    "source",
    "0",
    "camera number or device, video, picture, folder or glob of them, address (rtsp://, http://), - for standard input",
)
_CAMERA_SIZE = flags.DEFINE_string("camera-size", None, "pixels to ask the camera for, such as 1280x720")
_MIRROR = flags.DEFINE_bool("mirror", False, "swap left and right, as a mirror does; in the outputs too")
_RECONNECT = flags.DEFINE_float(
    "reconnect", 0.0, "seconds to try to reach a camera or stream again once it breaks off; 0 ends", lower_bound=0.0
)
_HEADLESS = flags.DEFINE_bool("headless", False, "open no window")
_VIEW = flags.DEFINE_enum(
    "view",
    "multi",
    ["multi", "single"],
    "multi: every face's name; single: the largest face with a bar for every expression",
)
_EXPLAIN = flags.DEFINE_bool("explain", False, "tint the evidence for each face's name red and against it blue")
_RECORD = flags.DEFINE_string(
    "record",
    None,
    "write the annotated video (.mp4, .mkv, .mov, .webm, .avi, without sound); for a picture .png or .jpg; for several "
    "pictures or videos also a folder, which gets one file each",
)
_EVENTS = flags.DEFINE_string(
    "events", None, "write what is seen: JSON lines, one a frame, or .csv, one row a face; - is standard output"
)
_SAVE_FACES = flags.DEFINE_string("save-faces", None, "write every classified face into this folder")
_DETECTOR, _DETECTOR_MODEL = options.define_detector()
_DETECT_EVERY = flags.DEFINE_integer(
    "detect-every", 1, "run detection every N frames, follow the faces in between", lower_bound=1
)
_SEARCH_SIDE = flags.DEFINE_integer(
    "search-side",
    None,
    "pixels of the frame's longer side when it is searched; more "
    "finds smaller faces, slower. Default: 320, and 960 for pictures",
    lower_bound=32,
)
_TTA = options.define_tta()
_PRIOR = options.define_prior()
_ALIGN = flags.DEFINE_bool(
    "align", None, "level tilted heads by YuNet's landmarks. Default: in pictures, not in videos"
)
_SMOOTHING = flags.DEFINE_enum(
    "smoothing",
    "average",
    ["average", "last10", "none"],
    "of each face's name: average of probabilities, most frequent of its last ten, or none",
)
_RUNTIME = flags.DEFINE_enum("runtime", "onnx", [*formats.GRAPHS, "jax"], "which graph of the bundle to run")
_DEVICE = options.define_device()
_THREADS = flags.DEFINE_integer("threads", 2, "maximum number of ONNX Runtime threads per frame", lower_bound=1)
_MAX_FRAMES = flags.DEFINE_integer("max-frames", 0, "stop after N frames; 0 is never", lower_bound=0)


def main(argv: list[str]) -> int:
    """Play the source; 0, or 128 + the signal that ended it."""
    del argv
    try:
        return _play()
    except KeyboardInterrupt:  # before there was anything to close
        return 128 + signal.SIGINT


def _play() -> int:
    from fer_jax.serve import sources
    from fer_jax.serve.outputs import Events, FaceFolder, refuse_conflicts
    from fer_jax.serve.player import Player, Window

    record, event_file, face_folder = (_output(flag) for flag in (_RECORD, _EVENTS, _SAVE_FACES))
    outputs = {"--record": record, "--events": event_file, "--save-faces": face_folder}
    if any(outputs.values()):
        refuse_conflicts([*sources.inputs_of(_SOURCE.value), *_files_of_model()], outputs)
    source = sources.open_source(
        _SOURCE.value, mirror=_MIRROR.value, camera_size=_size(_CAMERA_SIZE.value), patience=_RECONNECT.value
    )
    analyzer = _analyzer(source)
    window = None if _HEADLESS.value else Window(f"fer_jax: {source.name}")
    recording = _recording(record, source) if record else None
    faces = FaceFolder(face_folder, analyzer.labels) if face_folder else None
    events = Events(event_file, analyzer.labels) if event_file else None
    summary = Player(
        source,
        analyzer,
        view=_VIEW.value,
        explain=_EXPLAIN.value,
        window=window,
        recording=recording,
        events=events,
        face_folder=faces,
        max_frames=_MAX_FRAMES.value,
    ).play()
    if summary.stopped_by == getattr(signal, "SIGPIPE", 13):
        # or Python, flushing at its end, would complain about the pipe once more
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    rate = "" if source.still or summary.frames < 2 else f", {(summary.frames - 1) / summary.seconds:.1f} frames/s"
    _say(f"{_count(summary.frames, 'frame')}, {_count(summary.faces, 'face')}{rate}")
    recorded = "annotated" if source.still else "annotated, without sound"
    for flag, what in ((_RECORD, recorded), (_EVENTS, "events"), (_SAVE_FACES, "faces")):
        if summary.frames and flag.value and flag.value != "-":  # stopped before the first one, nothing is written
            _say(f"{what}: {flag.value}")
    return 128 + summary.stopped_by if summary.stopped_by else 0


def _files_of_model() -> list[pathlib.Path]:
    """Other files that are read: the bundle's, the detector's."""
    bundle = pathlib.Path(_BUNDLE.value)
    detector = [pathlib.Path(_DETECTOR_MODEL.value)] if _DETECTOR_MODEL.value else []
    return [bundle, *(bundle.iterdir() if bundle.is_dir() else ()), *detector]


def _analyzer(source: Source) -> FrameAnalyzer:
    from fer_jax.faces import registry
    from fer_jax.serve.analysis import FrameAnalyzer
    from fer_jax.serve.classifier import Classifier

    classifier = Classifier(_BUNDLE.value, _RUNTIME.value, _THREADS.value, _PRIOR.value, _DEVICE.value)
    detectors = registry.Detectors(
        _DETECTOR.value, _DETECTOR_MODEL.value, align=_ALIGN.value, search_side=_SEARCH_SIDE.value
    )
    detectors.of(source.still)  # a missing one is reported at once
    analyzer = FrameAnalyzer(classifier, detectors, _SMOOTHING.value, _DETECT_EVERY.value, _TTA.value or "auto")
    if _EXPLAIN.value and not analyzer.has_maps:
        raise UserError(
            f"--explain: {_BUNDLE.value} has no activation map, since its network does not end in an "
            "average over maps: leave the flag out, or use fer-jax explain, which knows other ways"
        )
    return analyzer


def _output(flag: flags.FlagHolder[str | None]) -> str:
    """The path of an output with ~ replaced; "" where the flag is not given."""
    if flag.value is None:
        return ""
    if not flag.value:  # such as of a variable of the shell that is not set
        raise UserError(f"--{flag.name} is empty: name a file or folder, or leave the flag out")
    return os.path.expanduser(flag.value)  # noqa: PTH111 a final slash says that it is a folder


def _recording(path: str, source: Source) -> Recording | RecordingFolder:
    from fer_jax.serve.outputs import Recording, RecordingFolder

    is_folder = pathlib.Path(path).is_dir() or path.endswith(("/", os.sep))
    if not source.live and (is_folder or (source.still and not pathlib.Path(path).suffix)):
        return RecordingFolder(path, source.rate)
    return Recording(path, source.rate, source.live)


def _size(text: str | None) -> tuple[int, int] | None:
    """(width, height) of text such as 1280x720."""
    if text is None:
        return None
    match = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", text)
    if not match:
        raise UserError(f"--camera-size={text}: expected width and height in pixels, such as 1280x720")
    return int(match[1]), int(match[2])


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _say(text: str) -> None:
    with contextlib.suppress(OSError):  # standard error may be closed
        print(text, file=sys.stderr)
