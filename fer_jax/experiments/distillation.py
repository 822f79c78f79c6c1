"""Soft targets from teacher networks: Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network" (2015).

The teachers' probabilities are computed once, before training, on the training images under `config.teacher.tta`, so
that a training step costs no more with them. (Computing them on every augmented image is the stronger form, Beyer et
al. 2022, and adds the teachers' forward pass to each step: on a CPU as much as the student's whole step.)
"""

from __future__ import annotations

import dataclasses
import pathlib

import numpy as np
from absl import logging
from ml_collections import ConfigDict
from scipy.special import softmax

from fer_jax import config as configs
from fer_jax import labels
from fer_jax.data.examples import Examples
from fer_jax.errors import UserError
from fer_jax.evaluation import tta
from fer_jax.evaluation.evaluator import Evaluator
from fer_jax.training.restore import restore_best


def with_teacher_targets(config: ConfigDict, examples: Examples) -> Examples:
    """The examples with targets mixed from labels (or votes) and the probabilities of `config.teacher.runs`.

    The targets of the training split become (1 - weight) * target + weight * mean over teachers of
    softmax(logits / temperature). Other splits keep theirs. Labels do not change.

    Raises:
      UserError: a teacher is no finished run, or has other labels or another size of input.
    """
    teacher = config.teacher
    if not teacher.runs:
        return examples
    training = examples.split == config.data.train_split
    images = examples.take(training).images
    probabilities = np.mean(
        [
            softmax(_logits(workdir, config, examples.label_names, images) / teacher.temperature, axis=1)
            for workdir in teacher.runs
        ],
        axis=0,
    )
    named = examples.labels[training]
    logging.info(
        "teachers: %s, accuracy on the training images %.4f",
        ", ".join(map(str, teacher.runs)),
        np.mean(probabilities.argmax(axis=1) == named),
    )
    targets = examples.targets()
    targets[training] = (1 - teacher.weight) * targets[training] + teacher.weight * probabilities
    return dataclasses.replace(examples, votes=targets)


def _logits(workdir: str, config: ConfigDict, label_names: tuple[str, ...], images: np.ndarray) -> np.ndarray:
    workdir = str(pathlib.Path(workdir).expanduser())
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
    return tta.mean_logits(
        lambda shown: evaluator.logits(variables, shown)[:, columns], images, config.teacher.tta, theirs.input.crop
    )
