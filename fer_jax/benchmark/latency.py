"""What a user waits for: the command's help, a run's first step, and a given accuracy; from the start of a process."""

from __future__ import annotations

import contextlib
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from fer_jax.errors import UserError
from fer_jax.training import metric_log
from fer_jax.training.chunk_metrics import FIRST_STEPS

MAIN = (sys.executable, "-m", "fer_jax.main")
GLANCE_SECONDS = 0.02  # between two looks at what a run has written


def startup(flags: Sequence[str], runs: int) -> dict[str, Any]:
    """Seconds until `--help` is read, and until a run's first step is done with a new and with a warm compile cache.

    Args:
      flags: of `fer_jax.main`, with the config. The run is one of single steps: what is measured is the first.
      runs: repetitions of --help and of the warm start; the medians are reported.

    Returns:
      "help_seconds", "first_step_seconds" (warm), "cold_first_step_seconds", and "help_runs" and "runs" of the first
      two.
    """
    helps = [_seconds_of_help() for _ in range(runs)]
    with tempfile.TemporaryDirectory() as cache:
        cold, *warm = [_seconds_to_first_step(flags, cache) for _ in range(1 + runs)]
    return {
        "help_seconds": statistics.median(helps),
        "first_step_seconds": statistics.median(warm),
        "cold_first_step_seconds": cold,
        "help_runs": _rounded(helps),
        "runs": _rounded(warm),
    }


def time_to_accuracy(flags: Sequence[str], split: str, accuracy: float, runs: int) -> Iterator[dict[str, Any]]:
    """Wall clock from the start of the process to the first evaluation that reaches `accuracy` on `split`.

    Args:
      flags: of `fer_jax.main`, with the config.
      split: the one that the config selects the epoch on.
      accuracy: in 0..1.
      runs: how often, with one compile cache for all: the first finds it empty ("cold"), the others warm.

    Yields:
      "cache", "split", "target", "reached", "seconds" (to the target, or to the end of the run when it was not
      reached), "accuracy", "epoch" and "train_share" (of the run's wall clock) there.

    Raises:
      UserError: the run fails before, with its last line.
    """
    with tempfile.TemporaryDirectory() as cache:
        for number in range(runs):
            with _started(flags, cache) as run:
                row = run.until(lambda run: run.evaluated(split, accuracy))
                seconds = time.perf_counter() - run.start
                reached = row is not None
                row = row or (run.rows() or [None])[-1]
                if row is None:
                    raise UserError(f"the run ended before its first evaluation: {run.last_line()}")
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


class _Run:
    """A started run, what it has written, and when it was started."""

    def __init__(self, flags: Sequence[str], cache: str, folder: str):
        self._workdir, self._log = pathlib.Path(folder, "run"), pathlib.Path(folder, "log")
        environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": cache}
        self.start = time.perf_counter()
        with self._log.open("w", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                [*MAIN, *flags, f"--workdir={self._workdir}"], env=environment, stdout=log, stderr=log
            )

    def until(self, look: Callable[[_Run], Any]) -> Any:
        """What `look(run)` gives as soon as it is something, or None when the run has ended without."""
        while True:
            ended = self.process.poll() is not None  # before looking: what it wrote last is seen
            if (found := look(self)) or ended:
                return found or None
            time.sleep(GLANCE_SECONDS)

    def rows(self) -> list[dict[str, Any]]:
        return metric_log.read_metrics(self._workdir)

    def evaluated(self, split: str, accuracy: float) -> dict[str, Any] | None:
        """The first row of metrics that reaches an accuracy."""
        return next((row for row in self.rows() if row[f"{split}_accuracy"] >= accuracy), None)

    def says(self, text: str) -> bool:
        return text in self._log.read_text(encoding="utf-8")

    def last_line(self) -> str:
        return (self._log.read_text(encoding="utf-8").splitlines() or ["it said nothing"])[-1]


@contextlib.contextmanager
def _started(flags: Sequence[str], cache: str) -> Iterator[_Run]:
    """A run in a folder of its own; it is killed and its folder removed at the end of the block."""
    with tempfile.TemporaryDirectory() as folder:
        run = _Run(flags, cache, folder)
        try:
            yield run
        finally:
            run.process.kill()
            run.process.wait()


def _seconds_of_help() -> float:
    start = time.perf_counter()
    subprocess.run([*MAIN, "--help"], capture_output=True, check=False)  # absl's help exits with 1
    return time.perf_counter() - start


def _seconds_to_first_step(flags: Sequence[str], cache: str) -> float:
    with _started([*flags, "--config.parallel.steps_per_dispatch=1"], cache) as run:
        if run.until(lambda run: run.says(FIRST_STEPS)) is None:
            raise UserError(f"the run ended before its first step: {run.last_line()}")
        return time.perf_counter() - run.start


def _rounded(values: Sequence[float]) -> list[float]:
    return [float(f"{value:.3g}") for value in values]
