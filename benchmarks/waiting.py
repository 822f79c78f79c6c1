"""What a user waits for, from the start of a process: help, the first step of a run, an accuracy, a first frame."""

from __future__ import annotations

import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from benchmarks import records
from fer_jax.errors import UserError
from fer_jax.serve.classifier import Classifier
from fer_jax.training import metric_log

TRAIN = (sys.executable, "-m", "fer_jax.main")
WEBCAM = (sys.executable, "-m", "fer_jax", "webcam", "--headless", "--events=-")
GLANCE_SECONDS = 0.02  # between two looks at the metrics of a run
CALLS = 200  # of a classifier

# A run that says the time when its first dispatch is done, and ends there.
UNTIL_FIRST_STEP = """
import os, runpy, sys, time
from fer_jax import environment
environment.init()
from fer_jax.training import program

run = program.TrainProgram.run
def first(self, feed):
    import jax
    jax.block_until_ready(run(self, feed))
    print("first step at", time.time(), flush=True)
    os._exit(0)
program.TrainProgram.run = first
runpy.run_module("fer_jax.main", run_name="__main__", alter_sys=True)
"""


def startup(flags: Sequence[str], runs: int) -> dict[str, Any]:
    """Seconds to `--help`, and to the first step of a run with a new and with a warm compile cache.

    Args:
      flags: of `fer_jax.main`, with the config. The run is one of single steps.
      runs: repetitions of --help and of the warm start; the medians are reported.

    Returns:
      "help_seconds" and "help_runs", "first_step_seconds" (warm) and "runs", "cold_first_step_seconds".
    """
    helps = [_seconds_of([*TRAIN, "--help"]) for _ in range(runs)]
    with tempfile.TemporaryDirectory() as cache:
        cold, *warm = [_seconds_to_first_step(flags, cache) for _ in range(1 + runs)]
    return {
        "help_seconds": statistics.median(helps),
        "help_runs": records.rounded(helps),
        **records.spread("first_step_seconds", warm),
        "cold_first_step_seconds": cold,
    }


def _seconds_of(command: Sequence[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, capture_output=True, check=False)
    return time.perf_counter() - start


def _seconds_to_first_step(flags: Sequence[str], cache: str) -> float:
    with tempfile.TemporaryDirectory() as folder:
        start = time.time()
        done = subprocess.run(
            [
                *(sys.executable, "-c", UNTIL_FIRST_STEP, *flags),
                *("--config.parallel.steps_per_dispatch=1", f"--workdir={folder}/run"),
            ],
            env=os.environ | {"JAX_COMPILATION_CACHE_DIR": cache},
            capture_output=True,
            encoding="utf-8",
            check=False,
        )
    said = [line.split()[-1] for line in done.stdout.splitlines() if line.startswith("first step at")]
    if not said:
        raise UserError(f"the run ended before its first step: {(done.stderr.splitlines() or ['it said nothing'])[-1]}")
    return float(said[0]) - start


def time_to_accuracy(flags: Sequence[str], split: str, accuracy: float, runs: int) -> Iterator[dict[str, Any]]:
    """Wall clock from the start of the process to the first evaluation that reaches `accuracy` (0..1) on `split`.

    Args:
      flags: of `fer_jax.main`, with the config, which selects the epoch on `split`.
      runs: how often, with one compile cache for all: the first finds it empty ("cold"), the others warm.

    Yields:
      "cache", "split", "target", "reached", "seconds" (to the target, or to the end of the run where it was not
      reached), "accuracy", "epoch" and "train_share" (of the wall clock) there.

    Raises:
      UserError: the run fails before its first evaluation, with its last line.
    """
    with tempfile.TemporaryDirectory() as cache:
        for number in range(runs):
            seconds, row, reached = _until_accuracy(flags, cache, split, accuracy)
            yield {
                "cache": "warm" if number else "cold",
                "split": split,
                "target": accuracy,
                "reached": reached,
                "seconds": seconds,
                "accuracy": row[f"{split}_accuracy"],
                "epoch": row["epoch"],
                "train_share": row["train_share"],
            }


def _until_accuracy(flags: Sequence[str], cache: str, split: str, accuracy: float) -> tuple[float, Any, bool]:
    with tempfile.TemporaryDirectory() as folder, pathlib.Path(folder, "log").open("w+", encoding="utf-8") as log:
        start, workdir = time.perf_counter(), pathlib.Path(folder, "run")
        environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": cache}
        run = subprocess.Popen([*TRAIN, *flags, f"--workdir={workdir}"], env=environment, stdout=log, stderr=log)
        try:
            while True:
                ended = run.poll() is not None  # before looking: what it wrote last is seen
                rows = metric_log.read_metrics(workdir)
                row = next((row for row in rows if row[f"{split}_accuracy"] >= accuracy), None)
                if row or ended:
                    break
                time.sleep(GLANCE_SECONDS)
            seconds = time.perf_counter() - start
        finally:
            run.kill()
            run.wait()
        if not rows:
            log.seek(0)
            raise UserError(f"the run ended before its first evaluation: {(log.readlines() or ['?'])[-1].strip()}")
        return seconds, row or rows[-1], row is not None


def serve(bundle: str, video: str, detector_model: str = "") -> Iterator[dict[str, Any]]:
    """The webcam tool over a whole video, headless, with its default settings, with Haar and with YuNet's file.

    Yields:
      "detector", "startup_seconds" (to the first event), "frames_per_s" (from the first event to the last),
      "cpu_ms_a_frame" (of all threads, without the start), "faces_a_frame", "frames"; and of 8 faces of 100x100 pixels
      in one call of the classifier "classification_ms" and "fastest_classification_ms".

    Raises:
      UserError: the tool fails, with its last line.
    """
    classifier = Classifier(bundle)
    crops = list(np.random.default_rng(0).integers(0, 256, (8, 100, 100, 3), np.uint8))
    classifier.probabilities(crops)
    milliseconds = [1e3 * _timed(classifier.probabilities, crops) for _ in range(CALLS)]
    for name, options in (("haar", []), ("yunet", [f"--detector-model={detector_model}"])):
        if name == "haar" or detector_model:
            command = [*WEBCAM, f"--bundle={bundle}", f"--source={video}", f"--detector={name}", *options]
            start, start_cpu, _ = _events([*command, "--max-frames=1"])
            seconds, cpu, faces = _events(command)
            yield {
                "detector": name,
                "startup_seconds": start[0],
                "frames_per_s": (len(seconds) - 1) / (seconds[-1] - seconds[0]),
                "cpu_ms_a_frame": 1e3 * (cpu - start_cpu) / (len(seconds) - 1),
                "faces_a_frame": faces / len(seconds),
                "frames": len(seconds),
                "classification_ms": statistics.median(milliseconds),
                "fastest_classification_ms": min(milliseconds),
            }


def _timed(call: Any, *arguments: Any) -> float:
    start = time.perf_counter()
    call(*arguments)
    return time.perf_counter() - start


def _events(command: Sequence[str]) -> tuple[list[float], float, int]:
    """Seconds to each event of the tool, seconds of the processor, and the number of faces."""
    before, start = _cpu_of_children(), time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8") as tool:
        assert tool.stdout and tool.stderr
        lines = [(time.perf_counter() - start, line) for line in tool.stdout]
        errors = tool.stderr.read()
    if tool.returncode or not lines:
        raise UserError(f"the webcam tool failed: {(errors.splitlines() or ['it said nothing'])[-1]}")
    faces = sum(len(json.loads(line)["faces"]) for _, line in lines)
    return [seconds for seconds, _ in lines], _cpu_of_children() - before, faces


def _cpu_of_children() -> float:
    used = os.times()
    return used.children_user + used.children_system
