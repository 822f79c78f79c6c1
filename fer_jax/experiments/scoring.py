"""Scores of what was trained before, on its own data or on other data with the same labels."""

import contextlib
import dataclasses
import functools
import os
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from ml_collections import ConfigDict
from scipy.special import softmax

from fer_jax import config as configs
from fer_jax import environment, labels
from fer_jax.bundle import manifest as bundles
from fer_jax.bundle import prior as priors
from fer_jax.bundle import runtime as graphs
from fer_jax.bundle.formats import GRAPHS
from fer_jax.bundle.prior import Prior
from fer_jax.data import identity
from fer_jax.errors import UserError
from fer_jax.evaluation import calibration, evaluator, metrics
from fer_jax.experiments import rundata
from fer_jax.experiments.run import Run, load_run, scores_of_views
from fer_jax.result import Evaluation

Member = Callable[[np.ndarray], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Calibrate:
    """Choices to make on the faces that are scored.

    Attributes:
      coverage: above 0 and at most 1, the share of the faces to be answered without the flag "uncertain".
      refit: whether to fit the temperature too.
    """

    coverage: float
    refit: bool = False

    def on(self, logits: np.ndarray, labels: np.ndarray, temperature: float, split: str) -> dict[str, Any]:
        """{"temperature", "uncertain_below", "coverage", "accuracy_when_certain", "expected_calibration_error"}.

        With `refit` what follows the threshold was measured by cross-fitting, see `calibration.fit`.

        Raises:
          UserError: these faces say nothing about the temperature.
        """
        if self.refit:
            if reason := calibration.why_not_fitted(logits, labels, split):
                raise UserError(f"--refit-temperature: {reason}")
            found = calibration.fit(logits, labels, split, self.coverage)
            error = found["expected_calibration_error"]["after"]
            kept = ("temperature", "uncertain_below", "coverage", "accuracy_when_certain")
            return {key: found[key] for key in kept} | {"expected_calibration_error": error}
        probabilities = softmax(np.asarray(logits, np.float64) / temperature, axis=1)
        return {
            "temperature": temperature,
            **calibration.at_coverage(probabilities, labels, self.coverage),
            "expected_calibration_error": metrics.expected_calibration_error(probabilities, labels),
        }


@dataclasses.dataclass(frozen=True)
class Predictor:
    """Something that gives logits.

    Attributes:
      name: for people.
      config: whose `data` and `input` say what its images look like.
      label_names: in the order of the logits.
      selected_on: the split its epoch was chosen on.
      best_epoch: the epoch, or None if not recorded.
      workdirs: the runs' folders; () of a bundle.
      members: functions from uint8 (N, H, W, C) to float32 (N, classes); several are an ensemble.
      temperature: probabilities are softmax(logits / temperature).
      priors: to which each member's logits were corrected, after they were divided by its temperature; () is none.
    """

    name: str
    config: ConfigDict
    label_names: tuple[str, ...]
    selected_on: str
    best_epoch: int | None
    workdirs: tuple[str | os.PathLike, ...]
    members: tuple[Member, ...]
    temperature: float = 1.0
    priors: tuple[Prior, ...] = ()

    def logits(self, images: np.ndarray, view: str = "") -> np.ndarray:
        """float32 (N, classes): logits, averaged over the images of `view`; of an ensemble, log of mean probability."""
        each = [evaluator.mean_logits(member, images, view, self.config.input.crop) for member in self.members]
        return each[0] if len(each) == 1 else np.log(np.mean([softmax(x, axis=1) for x in each], axis=0))


def of_runs(workdirs: Sequence[str | os.PathLike], checkpoint: str = "best", prior: str = "") -> Predictor:
    """The predictor of one run, or of several runs with the same labels and input.

    Args:
      workdirs: of the runs.
      checkpoint: "best" or "last".
      prior: shares of the classes to correct every member to, see `fer_jax.bundle.prior.parse`; "" is none.

    Raises:
      UserError: incompatible or duplicate runs, a malformed `prior`, or a run without class counts.
    """
    folders = [pathlib.Path(workdir).resolve() for workdir in workdirs]
    if again := [workdir for workdir, folder in zip(workdirs, folders, strict=True) if folders.count(folder) > 1]:
        raise UserError(f"--workdir={again[0]} is given {len(again)} times: an ensemble is of different runs")
    runs = [load_run(workdir, checkpoint) for workdir in workdirs]
    first = runs[0]
    columns = {run.workdir: labels.columns(first.label_names, run.label_names) for run in runs}
    for run in runs[1:]:
        same = sorted(columns[run.workdir]) == list(range(len(run.label_names)))
        if not same or run.config.input != first.config.input:
            raise UserError(
                f"{run.workdir} has other labels or another input than {first.workdir}: an ensemble needs the same"
            )
    members = [lambda images, run=run: run.logits(images)[:, columns[run.workdir]] for run in runs]
    temperatures = [
        run.result.calibration["temperature"] if run.result and run.result.calibration else 1.0 for run in runs
    ]
    corrections = []
    if prior:
        trained = [_trained_shares(run)[columns[run.workdir]] for run in runs]
        corrections = [priors.parse(prior, first.label_names, shares) for shares in trained]
        members = list(map(_corrected, members, temperatures, corrections))
    return Predictor(
        " + ".join(str(run.workdir) for run in runs),
        first.config,
        first.label_names,
        first.config.data.select_split,
        first.progress.best_epoch if len(runs) == 1 else None,
        tuple(workdirs),
        tuple(members),
        temperatures[0] if len(runs) == 1 and not prior else 1.0,
        tuple(corrections),
    )


def of_bundle(path: str | os.PathLike, role: str, prior: str = "") -> Predictor:
    """The predictor of an exported file, run as its users run it; UserError for a format the bundle has not.

    `prior` is that of `of_runs`; "" takes the bundle's own, if it has one.
    """
    bundle = bundles.read(path)
    prior = prior or bundle.provenance.get("prior", "")
    if role not in GRAPHS:
        raise UserError(f"--format is {role!r}: expected one of {', '.join(GRAPHS)}")
    graph = graphs.open_bundle(bundle, role, os.cpu_count() or 1)
    config = configs.with_defaults(bundle.provenance["config"])
    config.input.crop = 0  # the graph takes whole images and crops them itself
    result = bundle.provenance["result"] or {}

    member: Member = functools.partial(graphs.logits, graph)
    corrections: tuple[Prior, ...] = ()
    if prior:
        trained = priors.trained_shares(bundle.labels, bundle.provenance, bundle.path)
        corrections = (priors.parse(prior, bundle.labels, trained),)
        member = _corrected(member, bundle.temperature, corrections[0])
    return Predictor(
        f"{bundle.path.name}, {role}",
        config,
        bundle.labels,
        config.data.select_split,
        result.get("best_epoch"),
        (),
        (member,),
        1.0 if prior else bundle.temperature,
        corrections,
    )


def _corrected(member: Member, temperature: float, prior: Prior) -> Member:
    return lambda images: member(images) / np.float32(temperature) + prior.shift


def _trained_shares(run: Run) -> np.ndarray:
    """float64 (classes,) in the order of the run's labels; where the result lacks the counts the data is read."""
    counts = run.result.class_counts if run.result else None
    if not counts:
        with contextlib.suppress(UserError):
            data = rundata.of_run(run.config, run.workdir, identity.load(run.workdir))
            counts = rundata.class_counts(data.examples, run.config.data.train_split)
    return priors.trained_shares(run.label_names, {"class_counts": counts, "config": run.config.to_dict()}, run.workdir)


def score(
    predictor: Predictor,
    split: str,
    path: str = "",
    augmentations: Sequence[str] = (),
    calibrate: Calibrate | None = None,
) -> Evaluation:
    """Scores of one split, with those of each test-time augmentation in `augmentations` beside the plain ones.

    Args:
      split: name of the split.
      path: other data; "" is the predictor's own. See `rundata.to_score`.
      augmentations: names of `evaluator.VIEWS`.
      calibrate: what to choose on these faces, put into the scores as "calibration" "chosen", see `Calibrate.on`.

    Raises:
      UserError: an unknown augmentation, or of `rundata.to_score`.
    """
    for view in augmentations:
        if view not in evaluator.VIEWS:
            raise UserError(f"--tta has {view!r}: expected {' or '.join(evaluator.VIEWS)}")
    examples = rundata.to_score(predictor.config, predictor.workdirs, split, path, predictor.label_names)

    logits = {view: predictor.logits(examples.images, view) for view in ("", *augmentations)}
    scores = scores_of_views(logits, examples.labels, predictor.label_names)
    errors: dict[str, Any] = calibration.errors(logits[""], examples.labels, predictor.temperature)
    scores["calibration"] = errors
    if calibrate:
        errors["chosen"] = calibrate.on(logits[""], examples.labels, predictor.temperature, split)
    return Evaluation(
        predictor=predictor.name,
        data=examples.description,
        label_names=tuple(predictor.label_names),
        selected_on=predictor.selected_on,
        best_epoch=predictor.best_epoch,
        splits={split: scores},
        prior=tuple(one.to_json() for one in predictor.priors) or None,
        command=environment.command(),
        versions=environment.versions(),
    )
