"""One run from its config to its result: data, training, the final scores, the report; and a finished run read back."""

import contextlib
import dataclasses
import functools
import math
import os
import pathlib
import socket
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import filelock
import jax
import numpy as np
from absl import logging
from ml_collections import ConfigDict

from fer_jax import config as configs
from fer_jax import environment, files
from fer_jax import result as results
from fer_jax.data import loading
from fer_jax.data import splits as data_splits
from fer_jax.data.examples import Examples
from fer_jax.distributed import cluster
from fer_jax.distributed.parallel import Parallel
from fer_jax.errors import UserError
from fer_jax.evaluation import calibration, metrics
from fer_jax.evaluation.evaluator import Evaluator, mean_logits
from fer_jax.experiments import distillation, rundata
from fer_jax.experiments.rundata import RunData
from fer_jax.models.network import Network
from fer_jax.result import RunResult
from fer_jax.training import metric_log
from fer_jax.training.checkpoint import Progress, restore_best
from fer_jax.training.train import PLAIN, NonFiniteLossError, PhaseTimer, Session, train

MEMORIZED = 0.95  # training accuracy


@dataclasses.dataclass(frozen=True)
class Run:
    """A trained run.

    Attributes:
      workdir: its folder.
      config: what it was trained with.
      model: the network, for evaluation (`model.apply(variables, images, False)`).
      variables: {"params", "batch_stats"} numpy arrays of the chosen epoch, averaged ones where EMA was on.
      label_names: in the order of the logits.
      progress: what the loop knew at that checkpoint.
    """

    workdir: pathlib.Path
    config: ConfigDict
    model: Network
    variables: Any
    label_names: tuple[str, ...]
    progress: Progress

    @property
    def result(self) -> RunResult | None:
        """Its result, or None while the run is not finished."""
        return read_run_result(self.workdir)

    def logits(self, images: np.ndarray) -> np.ndarray:
        """float32 (N, classes) for uint8 images (N, H, W, C); compiled once for each N."""
        return self._evaluator(len(images)).logits(self.variables, images)

    @functools.cached_property
    def _evaluator(self) -> Callable[[int], Evaluator]:
        return functools.cache(lambda count: Evaluator(self.model, self.config, count))


def load_run(workdir: str | os.PathLike, which: str = "best") -> Run:
    """A run's "best" or "last" checkpoint; UserError when `workdir` holds none, or several runs."""
    workdir = pathlib.Path(workdir)
    _refuse_several(workdir)
    config = configs.load(workdir)
    model, state, progress = restore_best(config, workdir, which)
    return Run(workdir, config, model, state.variables(), tuple(progress.label_names), progress)


def _refuse_several(workdir: pathlib.Path) -> None:
    if inside := results.runs_inside(workdir):
        raise UserError(f"{workdir} holds {len(inside)} runs, not one: give one of them, such as {workdir / inside[0]}")


def read_run_result(workdir: str | os.PathLike) -> RunResult | None:
    """The result of one run, None while it is not finished; UserError when it is that of several runs."""
    found = results.read(workdir)
    if found is None or isinstance(found, RunResult):
        return found
    raise UserError(f"{workdir} holds {found.what}, not one run: give one of {', '.join(found.folders)} in it")


def train_and_score(
    config: ConfigDict,
    workdir: str | os.PathLike,
    given: RunData | None = None,
    session: Session = PLAIN,
) -> RunResult:
    """Train what `config` says in `workdir` (resuming what is there), score it, and return the result, also written.

    The epoch is chosen on the selection split; the test split, if present, is scored once, after the choice. A
    finished run is not trained again, but its data must still be the same.

    Args:
      config: of the run.
      workdir: its folder. One without a checkpoint is taken over.
      given: the data where the config alone does not say it: a fold's, or that of several seeds.
      session: what this call does beside training.

    Raises:
      UserError: for bad values, bad data, a workdir of another config, of other data or in use by another process.
    """
    timer, workdir = PhaseTimer(), pathlib.Path(workdir)
    configs.validate(config)
    cluster.run_on_primary(lambda: configs.refuse_other(config, workdir))
    cluster.run_on_primary(lambda: _refuse_several(workdir))
    data = rundata.for_training(config, workdir, given)
    result = cluster.run_on_primary(lambda: read_run_result(workdir))
    if result is not None:
        if report_is_due(workdir):
            examples = distillation.with_teacher_targets(config, data, workdir)
            cluster.run_on_primary(lambda: write_report(workdir, examples))
        logging.info("already finished: %s", summary(result))
        return result
    configs.require_inputs(config, workdir)
    check_batch_size(config)  # before anything is written
    with locked(workdir), keeping_its_epochs(workdir):
        cluster.run_on_primary(lambda: begin(config, workdir, data))
        examples = distillation.with_teacher_targets(config, data, workdir)
        progress = train(config, workdir, examples, timer, session)
        return score(config, workdir, examples, progress, timer)


@contextlib.contextmanager
def keeping_its_epochs(workdir: pathlib.Path) -> Iterator[None]:
    """Add to a `NonFiniteLossError` where its advice can be followed: not in `workdir` once that has a checkpoint."""
    try:
        yield
    except NonFiniteLossError as error:
        if "--workdir" in str(error) or not configs.has_checkpoint(workdir):
            raise
        raise NonFiniteLossError(f"{error}; give it another --workdir, {workdir} keeps the epochs before") from None


def score(
    config: ConfigDict, workdir: pathlib.Path, examples: Examples, progress: Progress, timer: PhaseTimer
) -> RunResult:
    """Score the chosen epoch of a run whose training is done, write result and report, and return the result.

    Args:
      config: of the run.
      workdir: its folder.
      examples: as they were trained on.
      progress: what `train` returned.
      timer: of this session.
    """
    timer.enter("eval")
    model, state, best = restore_best(config, workdir, "best")
    run = Run(workdir, config, model, state.variables(), tuple(best.label_names), best)
    logits = {
        name: {
            view: mean_logits(run.logits, examples.of_split(name).images, view, config.input.crop)
            for view in ("", *config.eval.tta)
        }
        for name in (config.data.select_split, config.data.test_split)
        if name in examples.split_names
    }
    result = cluster.run_on_primary(lambda: _conclude(run, examples, progress, logits, timer))
    logging.info("done: %s", summary(result))
    return result


def begin(config: ConfigDict, workdir: pathlib.Path, data: RunData) -> None:
    """Write what a run's folder says of it: its config, and which data it has."""
    configs.save(config, workdir)
    data.identity.save(workdir)


def check_batch_size(config: ConfigDict) -> None:
    """UserError for a batch that the devices cannot share, or not in pairs where neighbors are mixed."""
    parallel = Parallel(config.parallel.api, config.batch_size)
    if config.augment.mixup:
        parallel.require_pairs("mixup")


def _conclude(
    run: Run,
    examples: Examples,
    progress: Progress,
    logits: dict[str, dict[str, np.ndarray]],
    timer: PhaseTimer,
) -> RunResult:
    """Write predictions, result.json and the report; `logits` by split and view, `examples` as they were trained on."""
    config, splits, ceilings = run.config, {}, loading.noise_ceilings(run.config)
    for name, by_view in logits.items():
        labels = examples.labels_of(name)
        with files.atomic_path(run.workdir / "predictions" / f"{name}.npz") as tmp:
            np.savez(tmp, logits=by_view[""].astype(np.float32), labels=labels.astype(np.int32))
        splits[name] = scores_of_views(by_view, labels, examples.label_names)
        if name in ceilings:
            splits[name]["noise_ceiling"] = ceilings[name]
    timer.enter("report")
    selected = config.data.select_split
    of_selected = logits[selected][""], examples.labels_of(selected), selected
    result = _result(run, examples, progress, splits, calibration.fit(*of_selected), timer)
    reasons = calibration.why_not_fitted(*of_selected), memorized(run.workdir, splits[selected], selected)
    for reason in filter(None, reasons):
        logging.warning("%s", reason)
        result = dataclasses.replace(result, warnings=(*result.warnings, reason))
    result.write(run.workdir)
    write_report(run.workdir, examples)
    return result


def report_is_due(workdir: pathlib.Path) -> bool:
    """Return whether the report is older than the result, or absent: a kill or a full disk came between the two."""
    report = workdir / "report" / "index.html"
    return not report.is_file() or report.stat().st_mtime_ns < (workdir / results.RESULT).stat().st_mtime_ns


def write_report(workdir: pathlib.Path, examples: Examples | None = None) -> None:
    """Write the page beside a run, or beside several, whose `examples` are None."""
    from fer_jax.report import page  # matplotlib: slow to import, and of no use before this point

    page.write(workdir, examples)


def memorized(workdir: pathlib.Path, scores: dict[str, Any], split: str) -> str:
    """Advice for a run that memorized its training images while the selection split is near chance; else "".

    Near is within two standard errors of what always naming the commonest class would give.
    """
    known = max((row["train_accuracy"] for row in metric_log.read_metrics(workdir)), default=0.0)
    chance = max(row["examples"] for row in scores["per_class"].values()) / scores["examples"]
    error = math.sqrt(chance * (1 - chance) / scores["examples"])
    if known < MEMORIZED or scores["accuracy"] >= chance + 2 * error:
        return ""
    return (
        f"{100 * known:.0f} % of the training images are right and {100 * scores['accuracy']:.0f} % of {split}, where "
        f"always naming the commonest class gives {100 * chance:.0f} %: the network has memorized its images; start "
        "from a trained network (--config=finetune), give more images, or look at the labels (fer-jax audit)"
    )


def scores_of_views(logits: dict[str, np.ndarray], labels: np.ndarray, label_names: Sequence[str]) -> dict[str, Any]:
    """The scores of the plain images, whose view is "", and under "tta" those of each other view beside them."""
    scores = {view: metrics.scores(found, labels, label_names) for view, found in logits.items()}
    plain = scores.pop("")
    return plain | {"tta": scores} if scores else plain


def summary(result: RunResult) -> str:
    """One line for people."""
    scores = ", ".join(
        f"{name} {100 * s['accuracy']:.2f} % +- {100 * s['standard_error']:.2f} of {s['examples']}"
        + (f" (noise ceiling {100 * s['noise_ceiling']:.1f} %)" if "noise_ceiling" in s else "")
        for name, s in result.splits.items()
    )
    return (
        f"{scores} (epoch {result.best_epoch}, chosen on {result.selected_on}), "
        f"{result.wall_seconds:.0f} s, {result.train_examples_per_second:.0f} images/s"
    )


def _result(
    run: Run,
    examples: Examples,
    progress: Progress,
    splits: dict[str, Any],
    fitted: dict[str, Any],
    timer: PhaseTimer,
) -> RunResult:
    config, seconds = run.config, timer.read()
    return RunResult(
        config=config.name,
        seed=config.seed,
        model=config.model.name,
        parameters=sum(np.size(array) for array in jax.tree.leaves(run.variables)),
        data=examples.description,
        split_note=data_splits.note(config.data, examples),
        warnings=tuple(data_splits.warnings(examples, config.data)),
        label_names=examples.label_names,
        selected_on=config.data.select_split,
        selected_by=config.eval.select_by,
        best_epoch=progress.best_epoch,
        epochs=progress.epoch,
        splits=splits,
        calibration=fitted,
        class_counts=rundata.class_counts(examples, config.data.train_split),
        train_examples=progress.examples,
        train_examples_per_second=progress.examples / max(seconds["train"], 1e-9),
        train_seconds=seconds["train"],
        wall_seconds=sum(seconds.values()),
        seconds=seconds,
        versions=environment.versions(),
        command=environment.command(),
    )


@contextlib.contextmanager
def locked(workdir: pathlib.Path) -> Iterator[None]:
    """The workdir held by this run and cleared of half-written files; UserError in all processes when it is in use.

    The first process holds the lock for all. It goes when that process does, however it ends.
    """
    held, holder = filelock.FileLock(workdir / "lock"), workdir / "holder.txt"

    def lock() -> None:
        workdir.mkdir(parents=True, exist_ok=True)
        try:
            held.acquire(timeout=0)
        except filelock.Timeout:
            name = holder.read_text(encoding="utf-8") if holder.exists() else "another process"
            raise UserError(f"{workdir} is in use by {name}: wait for it to end, or use another --workdir") from None
        except (OSError, NotImplementedError) as error:
            if held.lock_file and pathlib.Path(held.lock_file).is_symlink():
                raise
            logging.warning("%s cannot be locked (%s): no other run may use it now", workdir, error)
        with files.atomic_path(holder) as tmp:
            tmp.write_text(f"process {os.getpid()} of {socket.gethostname()}", encoding="utf-8")
        for folder in (workdir, workdir / "checkpoints", workdir / "predictions"):
            files.remove_leftovers(folder, alone=True)

    try:
        cluster.run_on_primary(lock)
        yield
    finally:
        held.release()
