"""The training loop, and nothing else: it knows no data set and no network."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import pathlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from absl import logging
from ml_collections import ConfigDict
from tqdm import tqdm

from fer_jax.data import pipeline as pipelines
from fer_jax.data import sampler
from fer_jax.data.examples import Examples
from fer_jax.distributed import cluster
from fer_jax.distributed.parallel import Parallel
from fer_jax.errors import Preempted, UserError
from fer_jax.evaluation import metrics
from fer_jax.evaluation.evaluator import Evaluator
from fer_jax.models.network import Network
from fer_jax.training import losses, metric_log, optim, profiling, step
from fer_jax.training import setup as learners
from fer_jax.training import state as states
from fer_jax.training.checkpoint import Checkpoints, Policy
from fer_jax.training.setup import Learner
from fer_jax.training.state import TrainState
from fer_jax.training.timing import PhaseTimer

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


def train(config: ConfigDict, workdir: pathlib.Path, examples: Examples, timer: PhaseTimer) -> Progress:
    """Train on `config.data.train_split`, choosing the epoch on `config.data.select_split`; resumes `workdir`.

    Leaves checkpoints, the newest and the best, and one row of metrics an evaluation. Wherever it was stopped, a
    resumed run has the rows and ends with the weights of one that was not.

    Raises:
      Preempted: a signal came; everything is saved.
      NonFiniteLossError: the last good checkpoint is kept.
      UserError: for a batch that does not divide, an absent split, a checkpoint of something else, a full disk.
    """
    [progress] = train_seeds(config, {config.seed: workdir}, examples, timer)
    return progress


def train_seeds(
    config: ConfigDict, workdirs: Mapping[int, pathlib.Path], examples: Examples, timer: PhaseTimer
) -> list[Progress]:
    """`train` for several seeds, each in its own folder, as one program: they take their steps at the same time.

    Args:
      config: of all; its seed is not looked at.
      workdirs: {seed: folder}.
    """
    train_set = examples.of_split(config.data.train_split)
    select_set = examples.of_split(config.data.select_split)
    parallel = Parallel(config.parallel.api, config.batch_size)
    chunks, steps = sampler.cut_epoch(len(train_set), config.batch_size, config.parallel.steps_per_dispatch)
    steps_per_epoch = chunks * steps
    total_steps = config.epochs * steps_per_epoch
    logging.info(
        "%d training examples in batches of %d, %d for each of %d device(s) of %d process(es); %d steps an "
        "epoch in %d dispatches",
        len(train_set),
        config.batch_size,
        config.batch_size // parallel.devices,
        parallel.devices,
        jax.process_count(),
        steps_per_epoch,
        chunks,
    )

    learner = learners.create(config, len(examples.label_names), total_steps, steps_per_epoch)
    evaluator = Evaluator(learner.inference_model, config, len(select_set))
    members = [_Member(learner, seed, workdir, examples.label_names) for seed, workdir in workdirs.items()]
    first = members[0].progress  # all are at the same step, unless they were killed between two checkpoints
    if len({member.progress.step for member in members}) > 1:
        common = min(member.progress.step for member in members)
        members = [_Member(learner, seed, workdir, examples.label_names, common) for seed, workdir in workdirs.items()]
        first = members[0].progress
    if first.finished:
        return [member.progress for member in members]
    if first.step:
        logging.info("resuming after step %d of %d", first.step, total_steps)
    placed = evaluator.place(select_set.images)
    for member in members:
        member.start(select_set, evaluator, placed)
    # All at once and before the loop, where the rate of one step would be a dispatch and a wait for its result.
    ends = np.arange(1, config.epochs + 1) * steps_per_epoch - 1
    rates = jax.device_get(jax.jit(jax.vmap(learner.learning_rate))(ends))
    policy = Policy(config.checkpoint, steps_per_epoch, first.step)
    before = dict(first.seconds)

    stack, unstack = states.stacking(len(members))
    current = parallel.replicate(stack([member.state for member in members]))
    sources = [
        pipelines.create(config.data.pipeline, train_set, seed, config.batch_size, parallel.shard) for seed in workdirs
    ]
    resident = parallel.replicate(sources[0].resident)
    feeds = _placed(
        [source.feeds(first.step, steps, (total_steps - first.step) // steps) for source in sources], parallel
    )
    adjustment = losses.logit_adjustment(train_set.class_counts(), config.loss.logit_adjustment)
    chunk = step.make_train_chunk(learner, sources[0].fetch, adjustment, tuple(workdirs) if len(members) > 1 else ())
    run_chunk = parallel.compile(chunk, 2, donate=(0,))
    if config.profile and cluster.is_primary():
        run_chunk = profiling.traced(run_chunk, next(iter(workdirs.values())) / "profile")
    bar = tqdm(
        total=total_steps * config.batch_size,
        initial=first.examples,
        unit="img",
        unit_scale=True,
        dynamic_ncols=True,
        disable=None if cluster.is_primary() else True,
        file=sys.stderr,
    )
    seen = _ChunkMetrics([member.progress for member in members], config.batch_size, bar)

    def add_up_time() -> None:
        seconds = {phase: before.get(phase, 0.0) + spent for phase, spent in timer.read().items()}
        for member in members:
            member.progress.seconds = seconds

    def save() -> None:
        seen.read_all()  # before, since waiting for the steps is training
        timer.enter("checkpoint")
        add_up_time()
        for member, state in zip(members, unstack(current), strict=True):
            member.checkpoints.save(state, dataclasses.asdict(member.progress))
        policy.saved(first.step)

    # What travels between host and device in the loop does so because the code says so, or it is a mistake.
    with contextlib.ExitStack() as closing, jax.transfer_guard("disallow"):
        for member in members:
            closing.callback(member.close)
        closing.callback(bar.close)
        while not first.finished:
            if cluster.preemption_requested():
                if first.step != policy.last_step:
                    save()
                raise Preempted(
                    f"stopped after step {first.step} of {total_steps}, as asked; the same command goes on from there"
                )
            timer.enter("train")
            if first.step == first.epoch * steps_per_epoch:
                for member in members:
                    member.progress.epoch_loss = member.progress.epoch_correct = 0.0
            feed = next(feeds)
            cluster.heartbeat()
            current, chunk_metrics = run_chunk(current, resident, feed)
            seen.dispatched(chunk_metrics)
            improved = False
            if first.step == (first.epoch + 1) * steps_per_epoch:
                seen.read_all()
                for member in members:
                    member.progress.epoch += 1
                if first.epoch % config.eval.every_epochs == 0 or first.epoch == config.epochs:
                    timer.enter("eval")
                    scales = [member.judge.plateau.scale for member in members]
                    judged = [
                        member.judge.evaluate(state, float(rates[first.epoch - 1]), steps_per_epoch)
                        for member, state in zip(members, unstack(current), strict=True)
                    ]
                    improved = any(better for _, better in judged)
                    lowered = [member.judge.plateau.scale for member in members]
                    if lowered != scales:
                        current = current.replace(lr_scale=parallel.replicate(stack([np.float32(x) for x in lowered])))
                    add_up_time()
                    times = {f"seconds_{phase}": round(spent, 3) for phase, spent in first.seconds.items()}
                    share = first.seconds["train"] / sum(first.seconds.values())
                    for member, (row, _) in zip(members, judged, strict=True):
                        member.writer.write(row | times | {"train_share": round(share, 4)})
            if improved or first.finished or policy.due(first.step):
                save()
    return [member.progress for member in members]


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
    restored, host = checkpoints.restore(
        learner.state_shapes(), progress.best_step if which == "best" else progress.step
    )
    return learner.inference_model, restored, Progress(**host)


def _placed(streams: Sequence[Iterator[dict[str, np.ndarray]]], parallel: Parallel) -> Iterator[Any]:
    for feeds in zip(*streams, strict=True):
        yield parallel.split(*pipelines.stack_feeds(feeds))


class _Member:
    """One of the models that are trained together: what it remembers, and what it writes in its folder."""

    def __init__(
        self, learner: Learner, seed: int, workdir: pathlib.Path, label_names: tuple[str, ...], at: int | None = None
    ):
        """From its newest checkpoint, or that of step `at`, 0 being the start; fresh when it has none."""
        config = learner.config.copy_and_resolve_references()
        config.seed = seed
        learner = dataclasses.replace(learner, config=config)
        self._config, self._workdir = config, workdir
        self.checkpoints = Checkpoints(workdir, config.checkpoint.keep)
        restored = self.checkpoints.restore(learner.state_shapes(), at) if at != 0 else None
        self.state, host = restored or (learner.fresh_state(label_names), None)
        self.progress = Progress(**host) if host else Progress(label_names=label_names)

    def start(self, select_set: Examples, evaluator: Evaluator, placed: list[jax.Array]) -> None:
        """Be ready to be evaluated, on images that `evaluator` has placed, and to write."""
        self.judge = _Judge(self._config, self.progress, select_set, evaluator, placed)
        self.writer = (
            metric_log.MetricWriter(self._workdir, self.progress.step)
            if cluster.is_primary()
            else metric_log.NullWriter()
        )

    def close(self) -> None:
        """Close the files."""
        with contextlib.closing(self.checkpoints):
            self.writer.close()


class _Judge:
    """Evaluates the state, and decides on the best epoch, the learning rate's plateau and early stopping."""

    def __init__(
        self,
        config: ConfigDict,
        progress: Progress,
        select_set: Examples,
        evaluator: Evaluator,
        placed: list[jax.Array],
    ):
        self._config, self._progress, self._set, self._evaluator = config, progress, select_set, evaluator
        self._placed = placed
        self._of = f"seed {config.seed}, " if config.seeds > 1 else ""  # begins its lines in the log
        optim_ = config.optim
        self.plateau = optim.Plateau(
            optim_.plateau_factor, optim_.plateau_patience, optim_.final_fraction, **progress.plateau
        )
        self._early_stop = optim.EarlyStop(config.eval.early_stop, **progress.early_stop)

    def evaluate(self, state: TrainState, learning_rate: float, steps_per_epoch: int) -> tuple[dict[str, Any], bool]:
        """The row of metrics of the epoch that ended, and whether it is the best so far; both noted in `progress`.

        `learning_rate` is the schedule's at its last step.
        """
        config, progress, split = self._config, self._progress, self._config.data.select_split
        logits = self._evaluator.logits(state.variables(), self._placed, len(self._set))
        scores = metrics.scores(logits, self._set.labels, self._set.label_names)
        lr_scale = self.plateau.scale
        row = {
            "epoch": progress.epoch,
            "step": progress.step,
            "examples": progress.examples,
            "learning_rate": learning_rate * lr_scale,
            "lr_scale": lr_scale,
            "train_loss": progress.epoch_loss / steps_per_epoch,
            "train_accuracy": progress.epoch_correct / (steps_per_epoch * config.batch_size),
            **{f"{split}_{name}": scores[name] for name in ("loss", "accuracy", "macro_f1")},
        }
        score = -scores["loss"] if config.eval.select_by == "loss" else scores[config.eval.select_by]
        improved = score > progress.best_score
        if improved:
            progress.best_score, progress.best_epoch, progress.best_step = score, progress.epoch, progress.step
        logging.info(
            "%sepoch %d: train %.4f, %s %.4f%s",
            self._of,
            progress.epoch,
            row["train_accuracy"],
            split,
            scores["accuracy"],
            " (best)" if improved else "",
        )

        watched = config.eval.early_stop_metric
        watched_value = scores["loss"] if watched == "loss" else -scores[watched]
        if config.optim.schedule == "plateau" and self.plateau.observe(watched_value) != lr_scale:
            logging.info("%sepoch %d: learning rate times %g", self._of, progress.epoch, self.plateau.scale)
        stop_early, last = self._early_stop.observe(watched_value), progress.epoch == config.epochs
        if stop_early and not last:
            logging.info(
                "stopped early after epoch %d: %s has not improved for %d evaluations",
                progress.epoch,
                watched,
                config.eval.early_stop,
            )
        progress.finished = stop_early or last
        progress.plateau = {name: getattr(self.plateau, name) for name in ("best", "waited", "scale")}
        progress.early_stop = {name: getattr(self._early_stop, name) for name in ("best", "waited")}
        return row, improved


class _ChunkMetrics:
    """Reads the metrics of a chunk after the next one has been dispatched, so that the device never waits."""

    def __init__(self, progresses: Sequence[Progress], batch_size: int, bar: tqdm):
        """`progresses` of the models, in the order of the metrics' second axis, which one model alone has not."""
        self._progresses, self._batch_size, self._bar = progresses, batch_size, bar
        self._pending: list[tuple[int, dict[str, jax.Array]]] = []
        self._read_any = False

    def dispatched(self, chunk_metrics: dict[str, jax.Array]) -> None:
        """Count the chunk as done, and read the one before it."""
        steps = len(chunk_metrics["loss"])
        self._pending.append((self._progresses[0].step, chunk_metrics))
        for progress in self._progresses:
            progress.step += steps
            progress.examples += steps * self._batch_size
        while len(self._pending) > 1:
            self._read(*self._pending.pop(0))

    def read_all(self) -> None:
        """Wait for what was dispatched: the sums in `progress` are those of its step."""
        while self._pending:
            self._read(*self._pending.pop(0))

    def _read(self, first_step: int, chunk_metrics: dict[str, jax.Array]) -> None:
        # (steps, models)
        values = {name: x.reshape(len(x), -1) for name, x in jax.device_get(chunk_metrics).items()}
        if not self._read_any:
            self._read_any = True
            logging.info(FIRST_STEPS)
        bad = np.flatnonzero(~np.isfinite(values["loss"]).all(axis=1))
        if len(bad):
            steps = f"{first_step + bad[0]} to {first_step + bad[-1]}"
            before = values["gradient_norm"][: bad[0]].max(axis=1)
            raise NonFiniteLossError(
                f"the loss was not finite in steps {steps} (gradient norm before: "
                f"{before[-1] if len(before) else float('nan'):.3g}); lower config.optim.learning_rate, set "
                "config.optim.clip_norm, or use config.dtype=float32"
            )
        for i, progress in enumerate(self._progresses):
            progress.epoch_loss += float(values["loss"][:, i].astype(np.float64).sum())
            progress.epoch_correct += float(values["correct"][:, i].sum())
        self._bar.update(len(values["loss"]) * self._batch_size)
