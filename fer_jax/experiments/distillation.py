"""Soft targets from teacher networks: Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network" (2015).

The teachers' probabilities are computed once, before training, on the training images under `config.teacher.tta`, so
that a training step costs no more with them. (Computing them on every augmented image is the stronger form, Beyer et
al. 2022, and adds the teachers' forward pass to each step: on a CPU as much as the student's whole step.)

A large teacher memorizes its training images, so its probabilities of them say little more than the labels. So a
teacher may be a cross-validation of the training split (`--mode=crossval` with `config.data.fold_split`): then each
image has its targets from the fold that has not seen it, the idea of Wolpert, "Stacked generalization" (1992).
"""

import dataclasses
import json
import pathlib

import numpy as np
from absl import logging
from ml_collections import ConfigDict
from scipy.special import softmax

from fer_jax import config as configs
from fer_jax import files, labels
from fer_jax import result as results
from fer_jax.data import identity
from fer_jax.data.examples import Examples
from fer_jax.distributed import cluster
from fer_jax.errors import UserError
from fer_jax.evaluation.evaluator import Evaluator, mean_logits
from fer_jax.experiments import rundata
from fer_jax.experiments.rundata import RunData
from fer_jax.training.checkpoint import Checkpoints, restore_best

KEPT = "teachers.npz"


def with_teacher_targets(config: ConfigDict, data: RunData, workdir: pathlib.Path) -> Examples:
    """The examples with targets mixed from labels (or votes) and the probabilities of `config.teacher.runs`.

    The targets of the training split become (1 - weight) * target + weight * mean over teachers of
    softmax(logits). Of a folder of several runs (folds, seeds) those teach an image that were not trained
    on it, or all where all were. Other splits keep theirs. Labels do not change. The probabilities are computed once
    and kept in `workdir`/teachers.npz, for the same teachers and data. All processes must call.

    Raises:
      UserError: a teacher has no checkpoint, other labels or another size of input, or was trained on held-out images.
    """
    examples, teacher = data.examples, config.teacher
    if not teacher.runs:
        return examples
    key = _key(config, data)
    probabilities = cluster.run_on_primary(lambda: read_kept(workdir, key))
    if probabilities is None:
        probabilities = _probabilities(config, data)
        cluster.run_on_primary(lambda: _keep(workdir, key, probabilities))
    return mixed(config, examples, probabilities)


def mixed(config: ConfigDict, examples: Examples, probabilities: np.ndarray) -> Examples:
    """The examples with soft targets from float (N, classes) probabilities of the training split, in its order."""
    training, weight = examples.split == config.data.train_split, config.teacher.weight
    targets = examples.targets()
    targets[training] = (1 - weight) * targets[training] + weight * probabilities
    return dataclasses.replace(examples, votes=targets)


def read_kept(workdir: pathlib.Path, key: str = "") -> np.ndarray | None:
    """The teachers' probabilities in a run's folder, those of `key` or whatever they are of; None where there are none.

    A file that cannot be read counts as none: it is written again.
    """
    try:
        kept = files.read_npz(pathlib.Path(workdir) / KEPT, "teachers' probabilities", "delete it")
        return kept["probabilities"] if key in ("", str(kept["key"])) else None
    except (OSError, KeyError, UserError):
        return None


def _keep(workdir: pathlib.Path, key: str, probabilities: np.ndarray) -> None:
    with files.atomic_path(workdir / KEPT) as tmp:
        np.savez(tmp, key=key, probabilities=probabilities)


def _key(config: ConfigDict, data: RunData) -> str:
    """The inputs of the probabilities, as JSON; all processes must call."""
    teacher = config.teacher
    newest = [Checkpoints(member).newest() for run in teacher.runs for member in _members(run)]
    hosts = [progress and dataclasses.asdict(progress) for progress in newest]
    return json.dumps([hosts, teacher.tta, data.identity.fingerprint], sort_keys=True)


def _members(run: str) -> list[pathlib.Path]:
    """The folders of the runs that one teacher is; all processes must call."""
    return cluster.run_on_primary(lambda: results.runs_of(files.expand(run)))


def _probabilities(config: ConfigDict, data: RunData) -> np.ndarray:
    """float64 (N, classes), the mean over teachers of their probabilities of the training split."""
    train_set = data.examples.of_split(config.data.train_split)
    hashes = identity.digests(train_set)
    of_each = [_of_teacher(run, config, data, train_set, hashes) for run in config.teacher.runs]
    probabilities = np.mean(of_each, axis=0)
    logging.info(
        "teachers: %s, accuracy on the training images %.4f",
        ", ".join(map(str, config.teacher.runs)),
        np.mean(probabilities.argmax(axis=1) == train_set.labels),
    )
    return probabilities


def _of_teacher(run: str, config: ConfigDict, data: RunData, train_set: Examples, hashes: np.ndarray) -> np.ndarray:
    """float64 (N, classes): softmax(logits), the mean over those members that teach an image.

    `hashes` are the digests (N,) of the training images.
    """
    members, held_out = _members(run), data.examples.take(data.examples.split != config.data.train_split)
    kept = [cluster.run_on_primary(lambda member=member: identity.load(member)) for member in members]
    for member, one in zip(members, kept, strict=True):
        rundata.refuse_leak(one, member, held_out, data.identity)
    seen = np.array([np.isin(hashes, one.trained) if one else np.ones(len(hashes), bool) for one in kept])
    teaches = ~seen | seen.all(axis=0)  # an image that is there twice may be in several folds, and all have seen it
    if len(members) > 1:
        logging.info(
            "%s: %d of %d images have targets by runs that were not trained on them",
            run,
            np.count_nonzero(~seen.all(axis=0)),
            len(hashes),
        )
    total = np.zeros((len(train_set), len(train_set.label_names)))
    for member, own in zip(members, teaches, strict=True):
        if own.any():
            logits = _logits(member, config, train_set.label_names, train_set.take(own).images)
            total[own] += softmax(logits, axis=1)
    return total / teaches.sum(axis=0)[:, None]


def _logits(workdir: pathlib.Path, config: ConfigDict, label_names: tuple[str, ...], images: np.ndarray) -> np.ndarray:
    theirs = configs.load(workdir)
    model, state, progress = restore_best(theirs, workdir, "best")
    columns = labels.columns(label_names, progress.label_names)
    if -1 in columns or len(columns) != len(progress.label_names):
        raise UserError(
            f"config.teacher.runs: {workdir} names {', '.join(progress.label_names)}, expected {', '.join(label_names)}"
        )
    if (theirs.input.size, theirs.input.channels) != (config.input.size, config.input.channels):
        raise UserError(
            f"config.teacher.runs: {workdir} takes {theirs.input.size} pixels and {theirs.input.channels} "
            f"channels, expected {config.input.size} and {config.input.channels}"
        )
    evaluator, variables = Evaluator(model, theirs, len(images)), state.variables()
    return mean_logits(
        lambda shown: evaluator.logits(variables, shown)[:, columns], images, config.teacher.tta, theirs.input.crop
    )
