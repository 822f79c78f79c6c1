"""The training loop, and nothing else: it knows no data set and no network."""

from __future__ import annotations

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
from fer_jax import metrics, optim, step, writers
from fer_jax.checkpoint import Checkpoints
from fer_jax.data import pipeline as pipelines
from fer_jax.data import sampler
from fer_jax.data.examples import Examples
from fer_jax.errors import UserError
from fer_jax.evaluate import Evaluator
from fer_jax.models.network import Network
from fer_jax.parallel import Parallel
from fer_jax.state import TrainState
from fer_jax.stopwatch import Stopwatch


class NonFiniteLossError(Exception):
    """The loss became infinite or not a number; the message names the steps."""


@dataclasses.dataclass
class Progress:
    """The host's part of a checkpoint: what the loop must remember besides arrays.

    Attributes:
      epoch: epochs done.
      best_score: of `config.eval.select_by`, signed so that more is better.
      best_epoch, best_step: where it was reached; -1 before the first evaluation.
      finished: no epoch is left, or early stopping ended the run.
      seconds: wall clock by phase, over all sessions of the run.
      examples: training examples seen.
    """

    epoch: int = 0
    best_score: float = -math.inf
    best_epoch: int = -1
    best_step: int = -1
    finished: bool = False
    seconds: dict[str, float] = dataclasses.field(default_factory=dict)
    examples: int = 0
    label_names: tuple[str, ...] = ()
    plateau: dict[str, float] = dataclasses.field(default_factory=dict)
    early_stop: dict[str, float] = dataclasses.field(default_factory=dict)


def train(config: ConfigDict, workdir: pathlib.Path, examples: Examples, stopwatch: Stopwatch) -> Progress:
    """Train on `config.data.train_split`, choosing the epoch on `config.data.select_split`; resumes `workdir`.

    Leaves checkpoints, the newest and the best, and one row of metrics an evaluation.

    Raises:
      NonFiniteLossError: the last good checkpoint is kept.
      UserError: for a batch that does not divide, an absent split, a checkpoint of something else.
    """
    train_set = examples.of_split(config.data.train_split)
    select_set = examples.of_split(config.data.select_split)
    parallel = Parallel(config.parallel.api, config.batch_size)
    chunks, steps = sampler.cut_epoch(len(train_set), config.batch_size, config.parallel.steps_per_dispatch)
    steps_per_epoch = chunks * steps
    logging.info("%d training examples in batches of %d over %d device(s), %d steps an epoch in %d dispatches",
                 len(train_set), config.batch_size, parallel.devices, steps_per_epoch, chunks)

    learner = learners.create(config, len(examples.label_names), config.epochs * steps_per_epoch, steps_per_epoch)
    checkpoints = Checkpoints(workdir, config.checkpoint.keep)
    current, host = checkpoints.restore(learner.state_shapes()) or (learner.fresh_state(), None)
    progress = Progress(**host) if host else Progress(label_names=examples.label_names)
    if progress.finished:
        return progress
    if progress.epoch:
        logging.info("resuming after epoch %d of %d", progress.epoch, config.epochs)
    plateau = optim.Plateau(config.optim.plateau_factor, config.optim.plateau_patience, config.optim.final_fraction,
                            **progress.plateau)
    early_stop = optim.EarlyStop(config.eval.early_stop, **progress.early_stop)
    before = dict(progress.seconds)

    current = parallel.replicate(current)
    first_step = progress.epoch * steps_per_epoch
    pipeline = pipelines.create(config.data.pipeline, train_set, config.seed, config.batch_size, parallel.shard)
    resident = parallel.replicate(pipeline.resident)
    feeds = _placed(pipeline.feeds(first_step, steps, chunks * (config.epochs - progress.epoch)), parallel)
    run_chunk = parallel.compile(step.make_train_chunk(learner, pipeline.fetch), 2, donate=(0,))
    evaluator = Evaluator(learner.inference_model, config, len(select_set))
    placed_select = evaluator.place(select_set.images)

    writing = jax.process_index() == 0
    writer = writers.MetricWriter(workdir, first_step) if writing else writers.Silent()
    bar = tqdm(total=config.epochs * steps_per_epoch * config.batch_size, initial=first_step * config.batch_size,
               unit="img", unit_scale=True, dynamic_ncols=True, disable=None if writing else True, file=sys.stderr)
    seen = _ChunkMetrics(config.batch_size, bar)
    try:
        while not progress.finished:
            stopwatch.enter("train")
            seen.start_epoch()
            for _ in range(chunks):
                number = int(first_step)
                current, chunk_metrics = run_chunk(current, resident, next(feeds))
                seen.dispatched(number, chunk_metrics)
                first_step += steps
            seen.read_all()
            progress.epoch += 1
            progress.examples += steps_per_epoch * config.batch_size
            last = progress.epoch == config.epochs
            if progress.epoch % config.eval.every_epochs and not last:
                continue

            stopwatch.enter("eval")
            logits = evaluator.logits(current.variables(), placed_select, len(select_set))
            scores = metrics.scores(logits, select_set.labels, examples.label_names)
            row = _row(config, progress, first_step, seen, scores, learner.learning_rate, plateau.scale)
            score = -scores["loss"] if config.eval.select_by == "loss" else scores[config.eval.select_by]
            improved = score > progress.best_score
            if improved:
                progress.best_score, progress.best_epoch, progress.best_step = score, progress.epoch, first_step
            watched = config.eval.early_stop_metric
            watched_value = scores["loss"] if watched == "loss" else -scores[watched]
            progress.finished = early_stop.observe(watched_value) or last
            if config.optim.schedule == "plateau" and plateau.observe(watched_value) != row["lr_scale"]:
                logging.info("epoch %d: learning rate times %g", progress.epoch, plateau.scale)
                current = current.replace(lr_scale=parallel.replicate(np.float32(plateau.scale)))

            spent = stopwatch.read()
            progress.seconds = {phase: before.get(phase, 0.0) + spent[phase] for phase in spent}
            progress.plateau = {"best": plateau.best, "waited": plateau.waited, "scale": plateau.scale}
            progress.early_stop = {"best": early_stop.best, "waited": early_stop.waited}
            if writing:
                logging.info("epoch %d: train %.4f, %s %.4f%s", progress.epoch, row["train_accuracy"],
                             config.data.select_split, scores["accuracy"], " (best)" if improved else "")
            writer.write(row | {f"seconds_{phase}": round(s, 3) for phase, s in progress.seconds.items()})
            stopwatch.enter("checkpoint")
            if improved or progress.finished or progress.epoch % config.checkpoint.every_epochs == 0:
                checkpoints.save(current, dataclasses.asdict(progress))
        if progress.epoch < config.epochs:
            logging.info("stopped early after epoch %d: %s has not improved for %d evaluations", progress.epoch,
                         config.eval.early_stop_metric, config.eval.early_stop)
    finally:
        bar.close()
        writer.close()
        checkpoints.close()
    return progress


def restore_best(config: ConfigDict, workdir: pathlib.Path, which: str) -> tuple[Network, TrainState, Progress]:
    """(model, state, progress) of a run's "best" or "last" checkpoint; UserError when there is none."""
    checkpoints = Checkpoints(workdir, config.checkpoint.keep)
    if not checkpoints.steps():
        raise UserError(f"{workdir} has no checkpoint: train first with fer_jax.main --workdir={workdir}")
    progress = Progress(**checkpoints.host(checkpoints.steps()[-1]))
    learner = learners.create(config, len(progress.label_names))
    step_ = progress.best_step if which == "best" else None
    restored, host = checkpoints.restore(learner.state_shapes(), step_)
    return learner.inference_model, restored, Progress(**host)


def _placed(feeds: Iterator[dict[str, np.ndarray]], parallel: Parallel) -> Iterator[Any]:
    for feed in feeds:
        yield parallel.split(feed, axis=1)


class _ChunkMetrics:
    """Reads the metrics of a chunk after the next one has been dispatched, so that the device never waits."""

    def __init__(self, batch_size: int, bar: tqdm):
        self._batch_size, self._bar = batch_size, bar
        self._pending: list[tuple[int, dict[str, jax.Array]]] = []

    def start_epoch(self) -> None:
        self._losses: list[np.ndarray] = []
        self._correct = 0.0

    def dispatched(self, first_step: int, chunk_metrics: dict[str, jax.Array]) -> None:
        self._pending.append((first_step, chunk_metrics))
        while len(self._pending) > 1:
            self._read(*self._pending.pop(0))

    def read_all(self) -> None:
        while self._pending:
            self._read(*self._pending.pop(0))

    def _read(self, first_step: int, chunk_metrics: dict[str, jax.Array]) -> None:
        values = {name: np.asarray(x) for name, x in chunk_metrics.items()}
        bad = np.flatnonzero(~np.isfinite(values["loss"]))
        if len(bad):
            steps = f"{first_step + bad[0]} to {first_step + bad[-1]}"
            before = values["gradient_norm"][:bad[0]]
            raise NonFiniteLossError(
                f"the loss was not finite in steps {steps} (gradient norm before: "
                f"{before[-1] if len(before) else float('nan'):.3g}); lower config.optim.learning_rate, set "
                "config.optim.clip_norm, or use config.dtype=float32")
        self._losses.append(values["loss"])
        self._correct += float(values["correct"].sum())
        self._bar.update(len(values["loss"]) * self._batch_size)

    def mean_loss(self) -> float:
        return float(np.concatenate(self._losses).astype(np.float64).mean())

    def accuracy(self) -> float:
        return self._correct / (sum(map(len, self._losses)) * self._batch_size)


def _row(config: ConfigDict, progress: Progress, step_: int, seen: _ChunkMetrics, scores: dict[str, Any],
         learning_rate: Any, lr_scale: float) -> dict[str, Any]:
    split = config.data.select_split
    return {"epoch": progress.epoch, "step": step_, "examples": progress.examples,
            "learning_rate": float(learning_rate(step_ - 1)) * lr_scale, "lr_scale": lr_scale,
            "train_loss": seen.mean_loss(), "train_accuracy": seen.accuracy(),
            f"{split}_loss": scores["loss"], f"{split}_accuracy": scores["accuracy"],
            f"{split}_macro_f1": scores["macro_f1"]}
