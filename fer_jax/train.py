"""The training loop, and nothing else: it knows no data set and no network."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import pathlib
import sys
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
from absl import logging
from ml_collections import ConfigDict
from tqdm import tqdm

from fer_jax import learner as learners
from fer_jax import losses, metrics, optim, profiling, runtime, step, writers
from fer_jax.checkpoint import Checkpoints, Policy
from fer_jax.data import pipeline as pipelines
from fer_jax.data import sampler
from fer_jax.data.examples import Examples
from fer_jax.errors import AskedToStop, UserError
from fer_jax.evaluate import Evaluator
from fer_jax.models.network import Network
from fer_jax.parallel import Parallel
from fer_jax.state import TrainState
from fer_jax.stopwatch import Stopwatch

FIRST_STEPS = "the first steps of this session are done"


class NonFiniteLossError(UserError):
    """The loss became infinite or not a number: the message names the steps and what may help."""


@dataclasses.dataclass
class Progress:
    """The host's part of a checkpoint: what the loop must remember besides arrays.

    Attributes:
      step: steps done.
      epoch: whole epochs done.
      epoch_loss, epoch_correct: sums over the steps of the epoch begun (float64 of the steps' mean losses; examples).
      examples: training examples seen.
      best_score: of `config.eval.select_by`, signed so that more is better.
      best_epoch, best_step: where it was reached; -1 before the first evaluation.
      finished: no epoch is left, or early stopping ended the run.
      seconds: wall clock by phase, over all sessions of the run.
      label_names: in the order of the logits.
      plateau, early_stop: what they have seen.
    """

    step: int = 0
    epoch: int = 0
    epoch_loss: float = 0.0
    epoch_correct: float = 0.0
    examples: int = 0
    best_score: float = -math.inf
    best_epoch: int = -1
    best_step: int = -1
    finished: bool = False
    seconds: dict[str, float] = dataclasses.field(default_factory=dict)
    label_names: tuple[str, ...] = ()
    plateau: dict[str, float] = dataclasses.field(default_factory=dict)
    early_stop: dict[str, float] = dataclasses.field(default_factory=dict)


def train(config: ConfigDict, workdir: pathlib.Path, examples: Examples, stopwatch: Stopwatch) -> Progress:
    """Train on `config.data.train_split`, choosing the epoch on `config.data.select_split`; resumes `workdir`.

    Leaves checkpoints, the newest and the best, and one row of metrics an evaluation. Wherever it was stopped, a
    resumed run has the rows and ends with the weights of one that was not.

    Raises:
      AskedToStop: a signal came; everything is saved.
      NonFiniteLossError: the last good checkpoint is kept.
      UserError: for a batch that does not divide, an absent split, a checkpoint of something else, a full disk.
    """
    train_set = examples.of_split(config.data.train_split)
    select_set = examples.of_split(config.data.select_split)
    parallel = Parallel(config.parallel.api, config.batch_size)
    chunks, steps = sampler.cut_epoch(len(train_set), config.batch_size, config.parallel.steps_per_dispatch)
    steps_per_epoch = chunks * steps
    total_steps = config.epochs * steps_per_epoch
    logging.info("%d training examples in batches of %d, %d for each of %d device(s) of %d process(es); %d steps an "
                 "epoch in %d dispatches", len(train_set), config.batch_size, config.batch_size // parallel.devices,
                 parallel.devices, jax.process_count(), steps_per_epoch, chunks)

    learner = learners.create(config, len(examples.label_names), total_steps, steps_per_epoch)
    checkpoints = Checkpoints(workdir, config.checkpoint.keep)
    current, host = checkpoints.restore(learner.state_shapes()) or (learner.fresh_state(), None)
    progress = Progress(**host) if host else Progress(label_names=examples.label_names)
    if progress.finished:
        return progress
    if progress.step:
        logging.info("resuming after step %d of %d", progress.step, total_steps)
    judge = _Judge(config, progress, select_set, Evaluator(learner.inference_model, config, len(select_set)))
    # All at once and before the loop, where the rate of one step would be a dispatch and a wait for its result.
    ends = np.arange(1, config.epochs + 1) * steps_per_epoch - 1
    rates = jax.device_get(jax.jit(jax.vmap(learner.learning_rate))(ends))
    policy = Policy(config.checkpoint, steps_per_epoch, progress.step)
    before = dict(progress.seconds)

    current = parallel.replicate(current)
    pipeline = pipelines.create(config.data.pipeline, train_set, config.seed, config.batch_size, parallel.shard)
    resident = parallel.replicate(pipeline.resident)
    feeds = _placed(pipeline.feeds(progress.step, steps, (total_steps - progress.step) // steps), parallel)
    adjustment = losses.logit_adjustment(train_set.class_counts(), config.loss.logit_adjustment)
    run_chunk = parallel.compile(step.make_train_chunk(learner, pipeline.fetch, adjustment), 2, donate=(0,))
    if config.profile and runtime.is_first():
        run_chunk = profiling.traced(run_chunk, workdir / "profile")
    writer = writers.MetricWriter(workdir, progress.step) if runtime.is_first() else writers.Silent()
    bar = tqdm(total=total_steps * config.batch_size, initial=progress.examples, unit="img", unit_scale=True,
               dynamic_ncols=True, disable=None if runtime.is_first() else True, file=sys.stderr)
    seen = _ChunkMetrics(progress, config.batch_size, bar)

    def add_up_time() -> None:
        progress.seconds = {phase: before.get(phase, 0.0) + spent for phase, spent in stopwatch.read().items()}

    def save() -> None:
        stopwatch.enter("checkpoint")
        seen.read_all()
        add_up_time()
        checkpoints.save(current, dataclasses.asdict(progress))
        policy.saved(progress.step)

    # What travels between host and device in the loop does so because the code says so, or it is a mistake.
    with (contextlib.closing(checkpoints), contextlib.closing(writer), contextlib.closing(bar),
          jax.transfer_guard("disallow")):
        while not progress.finished:
            if runtime.asked_to_stop():
                if progress.step != policy.last_step:
                    save()
                raise AskedToStop(f"stopped after step {progress.step} of {total_steps}, as asked; the same command "
                                  "goes on from there")
            stopwatch.enter("train")
            if progress.step == progress.epoch * steps_per_epoch:
                progress.epoch_loss = progress.epoch_correct = 0.0
            current, chunk_metrics = run_chunk(current, resident, next(feeds))
            seen.dispatched(chunk_metrics)
            improved = False
            if progress.step == (progress.epoch + 1) * steps_per_epoch:
                seen.read_all()
                progress.epoch += 1
                if progress.epoch % config.eval.every_epochs == 0 or progress.epoch == config.epochs:
                    stopwatch.enter("eval")
                    row, improved = judge.evaluate(current, float(rates[progress.epoch - 1]), steps_per_epoch)
                    if judge.plateau.scale != row["lr_scale"]:
                        current = current.replace(lr_scale=parallel.replicate(np.float32(judge.plateau.scale)))
                    add_up_time()
                    writer.write(row | {f"seconds_{phase}": round(s, 3) for phase, s in progress.seconds.items()} | {
                        "train_share": round(progress.seconds["train"] / sum(progress.seconds.values()), 4)})
            if improved or progress.finished or policy.due(progress.step):
                save()
    return progress


def restore_best(config: ConfigDict, workdir: pathlib.Path, which: str) -> tuple[Network, TrainState, Progress]:
    """(model, state, progress) of a run's "best" or "last" checkpoint; UserError when there is none."""
    checkpoints = Checkpoints(workdir, config.checkpoint.keep)
    host = checkpoints.newest()
    if host is None:
        raise UserError(f"{workdir} has no whole checkpoint: train first with fer_jax.main --workdir={workdir}")
    progress = Progress(**host)
    if which == "best" and progress.best_step < 0:
        raise UserError(f"{workdir} has not been evaluated yet, so no checkpoint is the best: train on, or choose last")
    learner = learners.create(config, len(progress.label_names))
    restored, host = checkpoints.restore(learner.state_shapes(),
                                         progress.best_step if which == "best" else progress.step)
    return learner.inference_model, restored, Progress(**host)


def _placed(feeds: Iterator[dict[str, np.ndarray]], parallel: Parallel) -> Iterator[Any]:
    for feed in feeds:
        yield parallel.split(feed, axis=1)


class _Judge:
    """Evaluates the state, and decides on the best epoch, the learning rate's plateau and early stopping."""

    def __init__(self, config: ConfigDict, progress: Progress, select_set: Examples, evaluator: Evaluator):
        self._config, self._progress, self._set, self._evaluator = config, progress, select_set, evaluator
        self._placed = evaluator.place(select_set.images)
        optim_ = config.optim
        self.plateau = optim.Plateau(optim_.plateau_factor, optim_.plateau_patience, optim_.final_fraction,
                                     **progress.plateau)
        self._early_stop = optim.EarlyStop(config.eval.early_stop, **progress.early_stop)

    def evaluate(self, state: TrainState, learning_rate: float, steps_per_epoch: int) -> tuple[dict[str, Any], bool]:
        """The row of metrics of the epoch that ended, and whether it is the best so far; both noted in `progress`.

        `learning_rate` is the schedule's at its last step.
        """
        config, progress, split = self._config, self._progress, self._config.data.select_split
        logits = self._evaluator.logits(state.variables(), self._placed, len(self._set))
        scores = metrics.scores(logits, self._set.labels, self._set.label_names)
        lr_scale = self.plateau.scale
        row = {"epoch": progress.epoch, "step": progress.step, "examples": progress.examples,
               "learning_rate": learning_rate * lr_scale, "lr_scale": lr_scale,
               "train_loss": progress.epoch_loss / steps_per_epoch,
               "train_accuracy": progress.epoch_correct / (steps_per_epoch * config.batch_size),
               **{f"{split}_{name}": scores[name] for name in ("loss", "accuracy", "macro_f1")}}
        score = -scores["loss"] if config.eval.select_by == "loss" else scores[config.eval.select_by]
        improved = score > progress.best_score
        if improved:
            progress.best_score, progress.best_epoch, progress.best_step = score, progress.epoch, progress.step
        logging.info("epoch %d: train %.4f, %s %.4f%s", progress.epoch, row["train_accuracy"], split,
                     scores["accuracy"], " (best)" if improved else "")

        watched = config.eval.early_stop_metric
        watched_value = scores["loss"] if watched == "loss" else -scores[watched]
        if config.optim.schedule == "plateau" and self.plateau.observe(watched_value) != lr_scale:
            logging.info("epoch %d: learning rate times %g", progress.epoch, self.plateau.scale)
        stop_early, last = self._early_stop.observe(watched_value), progress.epoch == config.epochs
        if stop_early and not last:
            logging.info("stopped early after epoch %d: %s has not improved for %d evaluations", progress.epoch,
                         watched, config.eval.early_stop)
        progress.finished = stop_early or last
        progress.plateau = {name: getattr(self.plateau, name) for name in ("best", "waited", "scale")}
        progress.early_stop = {name: getattr(self._early_stop, name) for name in ("best", "waited")}
        return row, improved


class _ChunkMetrics:
    """Reads the metrics of a chunk after the next one has been dispatched, so that the device never waits."""

    def __init__(self, progress: Progress, batch_size: int, bar: tqdm):
        self._progress, self._batch_size, self._bar = progress, batch_size, bar
        self._pending: list[tuple[int, dict[str, jax.Array]]] = []
        self._read_any = False

    def dispatched(self, chunk_metrics: dict[str, jax.Array]) -> None:
        """Count the chunk as done, and read the one before it."""
        steps = len(chunk_metrics["loss"])
        self._pending.append((self._progress.step, chunk_metrics))
        self._progress.step += steps
        self._progress.examples += steps * self._batch_size
        while len(self._pending) > 1:
            self._read(*self._pending.pop(0))

    def read_all(self) -> None:
        """Wait for what was dispatched: the sums in `progress` are those of its step."""
        while self._pending:
            self._read(*self._pending.pop(0))

    def _read(self, first_step: int, chunk_metrics: dict[str, jax.Array]) -> None:
        values = jax.device_get(chunk_metrics)
        if not self._read_any:
            self._read_any = True
            logging.info(FIRST_STEPS)
        bad = np.flatnonzero(~np.isfinite(values["loss"]))
        if len(bad):
            steps = f"{first_step + bad[0]} to {first_step + bad[-1]}"
            before = values["gradient_norm"][:bad[0]]
            raise NonFiniteLossError(
                f"the loss was not finite in steps {steps} (gradient norm before: "
                f"{before[-1] if len(before) else float('nan'):.3g}); lower config.optim.learning_rate, set "
                "config.optim.clip_norm, or use config.dtype=float32")
        self._progress.epoch_loss += float(values["loss"].astype(np.float64).sum())
        self._progress.epoch_correct += float(values["correct"].sum())
        self._bar.update(len(values["loss"]) * self._batch_size)
