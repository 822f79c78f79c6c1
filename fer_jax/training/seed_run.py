"""One of the models that are trained by one program: what it remembers, and what it writes in its folder."""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
from collections.abc import Collection, Mapping
from typing import Any

import jax

from fer_jax.data.examples import Examples
from fer_jax.distributed import cluster
from fer_jax.errors import UserError
from fer_jax.evaluation.evaluator import Evaluator
from fer_jax.training import metric_log
from fer_jax.training.checkpoint import Checkpoints
from fer_jax.training.progress import Progress
from fer_jax.training.selection import ModelSelection
from fer_jax.training.setup import Setup
from fer_jax.training.state import TrainState


class SeedRun:
    """The run of one seed.

    Attributes:
      state: the one to start from, numpy arrays where it was restored.
      progress: what the loop knows of it.
      selection: see `start`.
    """

    selection: ModelSelection

    def __init__(
        self,
        setup: Setup,
        seed: int,
        workdir: pathlib.Path,
        label_names: tuple[str, ...],
        at: int | None = None,
        fingerprint: str = "",
    ):
        """From its newest checkpoint, or that of step `at`, 0 being the start; fresh when it has none.

        Raises:
          UserError: the checkpoint is of examples with another `fingerprint`, "" being unknown.
        """
        config = setup.config.copy_and_resolve_references()
        config.seed = seed
        setup = dataclasses.replace(setup, config=config)
        self._config, self._workdir = config, workdir
        self._checkpoints = Checkpoints(workdir, config.checkpoint.keep)
        restored = self._checkpoints.restore(setup.state_shapes(), at) if at != 0 else None
        self.state, host = restored or (setup.fresh_state(label_names), None)
        self.progress = Progress(**host) if host else Progress(label_names=label_names, fingerprint=fingerprint)
        if "" not in (fingerprint, self.progress.fingerprint) and fingerprint != self.progress.fingerprint:
            raise UserError(f"{workdir} has checkpoints of a run on other data: use another --workdir, or that data")

    def start(self, select_set: Examples, evaluator: Evaluator, placed: Collection[jax.Array]) -> None:
        """Be ready to be evaluated, on images that `evaluator` has placed, and to write."""
        self.selection = ModelSelection(self._config, self.progress, select_set, evaluator, placed)
        primary = cluster.is_primary()
        self._log = metric_log.MetricWriter(self._workdir, self.progress.step) if primary else metric_log.NullWriter()

    def write(self, row: dict[str, Any]) -> None:
        """Append a row of metrics."""
        self._log.write(row)

    def save(self, state: TrainState) -> None:
        """Write a checkpoint in the background."""
        self._checkpoints.save(state, dataclasses.asdict(self.progress))

    def close(self) -> None:
        """Finish writing and close the files."""
        with contextlib.closing(self._checkpoints):
            self._log.close()


def restore_all(
    setup: Setup, workdirs: Mapping[int, pathlib.Path], label_names: tuple[str, ...], fingerprint: str = ""
) -> list[SeedRun]:
    """The runs of {seed: folder}, all at the same step: the last that each of them has reached."""
    runs = [SeedRun(setup, seed, workdir, label_names, fingerprint=fingerprint) for seed, workdir in workdirs.items()]
    steps = {run.progress.step for run in runs}
    if len(steps) > 1:  # they were killed between two checkpoints
        runs = [
            SeedRun(setup, seed, workdir, label_names, min(steps), fingerprint) for seed, workdir in workdirs.items()
        ]
    return runs
