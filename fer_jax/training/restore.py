"""A trained model read back from its run's folder."""

from __future__ import annotations

import pathlib

from ml_collections import ConfigDict

from fer_jax.errors import UserError
from fer_jax.models.network import Network
from fer_jax.training import setup
from fer_jax.training.checkpoint import Checkpoints
from fer_jax.training.progress import Progress
from fer_jax.training.state import TrainState


def restore_best(config: ConfigDict, workdir: pathlib.Path, which: str) -> tuple[Network, TrainState, Progress]:
    """(model, state, progress) of a run's "best" or "last" checkpoint; UserError when there is none."""
    checkpoints = Checkpoints(workdir, config.checkpoint.keep)
    host = checkpoints.newest()
    if host is None:
        raise UserError(f"{workdir} has no whole checkpoint: train first with fer_jax.main --workdir={workdir}")
    progress = Progress(**host)
    if which == "best" and progress.best_step < 0:
        raise UserError(f"{workdir} has not been evaluated yet, so no checkpoint is the best: train on, or choose last")
    made = setup.create(config, len(progress.label_names))
    step = progress.best_step if which == "best" else progress.step
    restored = checkpoints.restore(made.state_shapes(), step)
    if restored is None:
        raise UserError(f"{workdir} has no checkpoint of step {step}: train on, or choose last")
    state, host = restored
    return made.inference_model, state, Progress(**host)
