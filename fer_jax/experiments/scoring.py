"""Scores of what was trained before, on its own data or on other data with the same labels."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Sequence

import numpy as np
from ml_collections import ConfigDict
from scipy.special import softmax

from fer_jax import config as configs
from fer_jax import environment, labels
from fer_jax.bundle import manifest as bundles
from fer_jax.bundle import runtime as graphs
from fer_jax.errors import UserError
from fer_jax.evaluation import tta
from fer_jax.experiments import rundata
from fer_jax.experiments.run import load_run, scores_of_views
from fer_jax.result import Evaluation


@dataclasses.dataclass(frozen=True)
class Predictor:
    """Something that gives logits.

    Attributes:
      name: for people.
      config: whose `data` and `input` say what its images look like.
      label_names: in the order of the logits.
      selected_on: the split its epoch was chosen on.
      best_epoch: the epoch, or None where nobody wrote it down.
      workdirs: the runs' folders; () of a bundle.
      members: functions from uint8 (N, H, W, C) to float32 (N, classes); several are an ensemble.
    """

    name: str
    config: ConfigDict
    label_names: tuple[str, ...]
    selected_on: str
    best_epoch: int | None
    workdirs: tuple[str | os.PathLike, ...]
    members: tuple[Callable[[np.ndarray], np.ndarray], ...]

    def logits(self, images: np.ndarray, view: str = "") -> np.ndarray:
        """float32 (N, classes): logits, averaged over the images of `view`; of an ensemble, log of mean probability."""
        each = [tta.mean_logits(member, images, view, self.config.input.crop) for member in self.members]
        return each[0] if len(each) == 1 else np.log(np.mean([softmax(x, axis=1) for x in each], axis=0))


def of_runs(workdirs: Sequence[str | os.PathLike], checkpoint: str = "best") -> Predictor:
    """The predictor of one run, or of several runs with the same labels and input; UserError when they differ."""
    runs = [load_run(workdir, checkpoint) for workdir in workdirs]
    first = runs[0]
    columns = {run.workdir: labels.columns(first.label_names, run.label_names) for run in runs}
    for run in runs[1:]:
        same = sorted(columns[run.workdir]) == list(range(len(run.label_names)))
        if not same or run.config.input != first.config.input:
            raise UserError(
                f"{run.workdir} has other labels or another input than {first.workdir}: an ensemble needs the same"
            )
    return Predictor(
        " + ".join(str(run.workdir) for run in runs),
        first.config,
        first.label_names,
        first.config.data.select_split,
        first.progress.best_epoch if len(runs) == 1 else None,
        tuple(workdirs),
        tuple(lambda images, run=run: run.logits(images)[:, columns[run.workdir]] for run in runs),
    )


def of_bundle(path: str | os.PathLike, role: str) -> Predictor:
    """The predictor of an exported file, run as its users run it; UserError for a format the bundle has not."""
    bundle = bundles.read(path)
    if role not in graphs.GRAPHS:
        raise UserError(f"--format is {role!r}: expected one of {', '.join(graphs.GRAPHS)}")
    graph = graphs.open_graph(bundle.file(role), role, os.cpu_count())
    config = configs.of_bundle(bundle.provenance)
    config.input.crop = 0  # the graph takes whole images and crops them itself
    result = bundle.provenance["result"] or {}
    return Predictor(
        f"{bundle.path.name}, {role}",
        config,
        bundle.labels,
        config.data.select_split,
        result.get("best_epoch"),
        (),
        (lambda images: graphs.logits(graph, images),),
    )


def score(predictor: Predictor, split: str, path: str = "", augmentations: Sequence[str] = ()) -> Evaluation:
    """Scores of one split, with those of each test-time augmentation in `augmentations` beside the plain ones.

    Args:
      split: name of the split.
      path: other data; "" is the predictor's own. See `rundata.to_score`.
      augmentations: names of `tta.VIEWS`.

    Raises:
      UserError: an unknown augmentation, or of `rundata.to_score`.
    """
    for view in augmentations:
        if view not in tta.VIEWS:
            raise UserError(f"--tta has {view!r}: expected {' or '.join(tta.VIEWS)}")
    examples = rundata.to_score(predictor.config, predictor.workdirs, split, path, predictor.label_names)

    logits = {view: predictor.logits(examples.images, view) for view in ("", *augmentations)}
    scores = scores_of_views(logits, examples.labels, predictor.label_names)
    return Evaluation(
        predictor=predictor.name,
        data=examples.description,
        label_names=tuple(predictor.label_names),
        selected_on=predictor.selected_on,
        best_epoch=predictor.best_epoch,
        splits={split: scores},
        versions=environment.versions(),
    )
