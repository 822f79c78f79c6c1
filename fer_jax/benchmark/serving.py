"""How fast serving is on this machine: what `python -m tools.benchmark serve` prints."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from fer_jax.bundle import runtime as runtimes
from fer_jax.faces import registry
from fer_jax.serve import sources
from fer_jax.serve.analysis import Analyser, FrameResult
from fer_jax.serve.classifier import Classifier
from fer_jax.serve.player import Player

FACES = 8
FACE_SIDE = 100  # pixels of the crops that are classified
REPETITIONS = 200
STARTS = 3


def measure(
    model: str | os.PathLike,
    video: str | os.PathLike,
    detector_model: str = "",
    runtime: str = "onnx",
    threads: int = runtimes.THREADS,
) -> dict[str, Any]:
    """All that is measured of one bundle and one video.

    Returns:
      {"classification": see `classification`, "startup": see `startup`, "haar": see `throughput`, "yunet": the same
      if there is a `detector_model`}.
    """
    names = ("haar", "yunet") if detector_model else ("haar",)
    return {"classification": classification(model, runtime, threads), "startup": startup(model, video)} | {
        name: throughput(model, video, name, detector_model, runtime, threads) for name in names
    }


def throughput(
    model: str | os.PathLike,
    video: str | os.PathLike,
    detector: str = "haar",
    detector_model: str = "",
    runtime: str = "onnx",
    threads: int = runtimes.THREADS,
) -> dict[str, float]:
    """The tool over a whole video, headless and with its default settings, in this process.

    Returns:
      {"frames_per_second": from the first frame to the last, "cpu_ms_per_frame": of all threads, which other people's
      work on the machine does not change, "faces_per_frame", "frames"}.
    """
    source = sources.open_source(str(video))
    analyser = Analyser(Classifier(model, runtime, threads), registry.create(detector, detector_model))
    counter = _Counter()
    before = time.process_time()
    summary = Player(source, analyser, events=counter).play()
    cpu = time.process_time() - before
    return {
        "frames_per_second": (summary.frames - 1) / summary.seconds,
        "cpu_ms_per_frame": 1e3 * cpu / summary.frames,
        "faces_per_frame": counter.faces / summary.frames,
        "frames": summary.frames,
    }


class _Counter:
    """Takes the place of events, and counts faces."""

    faces = 0

    def write(self, scene: FrameResult) -> None:
        self.faces += len(scene.readings)

    def close(self) -> None:
        """Nothing is held."""


def classification(
    model: str | os.PathLike, runtime: str = "onnx", threads: int = runtimes.THREADS
) -> dict[str, float]:
    """Milliseconds to classify 8 faces of 100x100 pixels in one call, preprocessing included.

    Returns:
      {"faces", "median_ms", "fastest_ms"} of `REPETITIONS` calls.
    """
    classifier = Classifier(model, runtime, threads)
    crops = list(np.random.default_rng(0).integers(0, 256, (FACES, FACE_SIDE, FACE_SIDE, 3), np.uint8))
    classifier.probabilities(crops)
    spent = []
    for _ in range(REPETITIONS):
        begun = time.perf_counter()
        classifier.probabilities(crops)
        spent.append(time.perf_counter() - begun)
    return {"faces": FACES, "median_ms": 1e3 * float(np.median(spent)), "fastest_ms": 1e3 * min(spent)}


def startup(model: str | os.PathLike, video: str | os.PathLike, flags: Sequence[str] = ()) -> dict[str, float]:
    """Seconds from the command to the first annotated frame, which is drawn and encoded before its event is written.

    Returns:
      {"seconds": of the fastest of `STARTS` runs}.

    Raises:
      RuntimeError: the tool failed; its errors are in the message.
    """
    spent = []
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(STARTS):
            begun = time.perf_counter()
            tool = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "fer_jax.commands",
                    "webcam",
                    f"--bundle={pathlib.Path(model).absolute()}",
                    f"--source={pathlib.Path(video).absolute()}",
                    "--headless",
                    "--max-frames=1",
                    f"--record={folder}/out.mp4",
                    "--events=-",
                    *flags,
                ],
                text=True,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                encoding="utf-8",
            )
            line = tool.stdout.readline()
            spent.append(time.perf_counter() - begun)
            _, errors = tool.communicate()
            if not line:
                raise RuntimeError(f"the webcam tool failed: {errors}")
    return {"seconds": min(spent)}
