"""Expressions of the faces before a camera, or in videos and pictures, by an exported model.

    python -m tools.webcam --source=0
    python -m tools.webcam --model=BUNDLE --source=talk.mp4 --headless --record=out.mp4 --events=out.jsonl

Needs neither JAX nor TensorFlow. docs/webcam.md tells more.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys

from absl import flags

from fer_jax import cli
from fer_jax.errors import UserError

_MODEL = cli.define_model()
_SOURCE = flags.DEFINE_string(
    "source", "0", "camera number, video, picture, folder or glob of pictures, or address (rtsp://, http://)"
)
_HEADLESS = flags.DEFINE_bool("headless", False, "open no window")
_VIEW = flags.DEFINE_enum(
    "view",
    "multi",
    ["multi", "single"],
    "multi: every face's name; single: the largest face with a bar for every expression",
)
_EXPLAIN = flags.DEFINE_bool("explain", False, "tint what speaks for each face's name red, what speaks against it blue")
_RECORD = cli.define_output(
    "record",
    None,
    "write the annotated video (.mp4, .mkv, .avi, .webm, without sound) or, for a picture, .png or .jpg",
    folder=False,
)
_EVENTS = cli.define_output(
    "events",
    None,
    "write what is seen: JSON lines, one a frame, or .csv, one row a face; - is standard output",
    folder=False,
)
_SAVE_FACES = cli.define_output("save-faces", None, "write every classified face into this folder", folder=True)
_DETECTOR, _DETECTOR_MODEL = cli.define_detector()
_DETECT_EVERY = flags.DEFINE_integer(
    "detect-every", 1, "search every so many-th frame, follow the faces in between", lower_bound=1
)
_SEARCH_SIDE = flags.DEFINE_integer(
    "search-side",
    None,
    "pixels of the frame's longer side when it is searched; more "
    "finds smaller faces, slower. Default: 320, and 960 for pictures",
    lower_bound=32,
)
_ALIGN = flags.DEFINE_bool("align", False, "level the eyes before classifying")
_SMOOTHING = flags.DEFINE_enum(
    "smoothing",
    "average",
    ["average", "last10", "none"],
    "of each face's name: average of probabilities, commonest of its last ten, or none",
)
_RUNTIME = flags.DEFINE_enum("runtime", "onnx", ["onnx", "int8", "float16", "jax"], "which graph of the bundle to run")
_THREADS = flags.DEFINE_integer(
    "threads", 2, "over so many, at most, ONNX Runtime divides the faces of a frame", lower_bound=1
)
_MAX_FRAMES = flags.DEFINE_integer("max-frames", 0, "stop after so many; 0 is never", lower_bound=0)


def main(argv: list[str]) -> int:
    """Play the source; 0, or 128 + the signal that ended it."""
    del argv
    _occupy_standard_streams()
    try:
        return _play(_MODEL.value)
    except KeyboardInterrupt:  # before there was anything to close
        return 128 + signal.SIGINT


def _play(model: str) -> int:
    from fer_jax.faces import registry
    from fer_jax.serve import sources
    from fer_jax.serve.analysis import Analyser
    from fer_jax.serve.classifier import Classifier
    from fer_jax.serve.outputs import Events, FaceFolder, Recording
    from fer_jax.serve.player import Player
    from fer_jax.serve.window import Window

    source = sources.open_source(_SOURCE.value)
    classifier = Classifier(model, _RUNTIME.value, _THREADS.value)
    detector = registry.create(
        _DETECTOR.value, _DETECTOR_MODEL.value, align=_ALIGN.value, still=source.still, search_side=_SEARCH_SIDE.value
    )
    analyser = Analyser(classifier, detector, _SMOOTHING.value, _DETECT_EVERY.value)
    if _EXPLAIN.value and not analyser.has_maps:
        raise UserError(
            f"--explain: {model} has no activation map, since its network does not end in an "
            "average over maps: leave the flag out, or use python -m tools.explain, which knows other ways"
        )
    window = None if _HEADLESS.value else Window(f"fer_jax: {source.name}")
    recording = Recording(_RECORD.value, source.rate, source.live) if _RECORD.value else None
    face_folder = FaceFolder(_SAVE_FACES.value, classifier.labels) if _SAVE_FACES.value else None
    events = Events(_EVENTS.value, classifier.labels) if _EVENTS.value else None
    summary = Player(
        source,
        analyser,
        view=_VIEW.value,
        explain=_EXPLAIN.value,
        window=window,
        recording=recording,
        events=events,
        face_folder=face_folder,
        max_frames=_MAX_FRAMES.value,
    ).play()
    if summary.stopped_by == signal.SIGPIPE:
        # or Python, flushing at its end, would complain about the pipe once more
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    rate = "" if source.still or summary.frames < 2 else f", {(summary.frames - 1) / summary.seconds:.1f} frames/s"
    _say(f"{_count(summary.frames, 'frame')}, {_count(summary.faces, 'face')}{rate}")
    recorded = "annotated" if source.still else "annotated, without sound"
    for flag, what in ((_RECORD, recorded), (_EVENTS, "events"), (_SAVE_FACES, "faces")):
        if flag.value and flag.value != "-":
            _say(f"{what}: {flag.value}")
    registry.suggest(_DETECTOR.value, detector.name)
    return 128 + summary.stopped_by if summary.stopped_by else 0


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _say(text: str) -> None:
    with contextlib.suppress(OSError):  # nobody may be listening
        print(text, file=sys.stderr)


def _occupy_standard_streams() -> None:
    """Lead closed standard streams to nowhere, lest the next file opened takes their number and gets their text."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "r+"))  # noqa: SIM115 PTH123 open until the end


if __name__ == "__main__":
    cli.run(main)
