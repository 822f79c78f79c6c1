"""The training loop, which depends on no data set and no network."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import pathlib
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np
from absl import logging
from ml_collections import ConfigDict
from tqdm import tqdm

from fer_jax.data import sampler
from fer_jax.data.examples import Examples
from fer_jax.distributed import cluster
from fer_jax.errors import Preempted, UserError
from fer_jax.evaluation.evaluator import Evaluator
from fer_jax.training import seed_run, setup
from fer_jax.training.checkpoint import Policy
from fer_jax.training.chunk_metrics import ChunkMetrics
from fer_jax.training.program import TrainProgram
from fer_jax.training.progress import Progress
from fer_jax.training.seed_run import SeedRun
from fer_jax.training.timing import PhaseTimer


@dataclasses.dataclass(frozen=True)
class Plan:
    """How a run is cut into chunks.

    Attributes:
      steps: of a chunk.
      steps_per_epoch: a multiple of `steps`.
      total_steps: of the run.
    """

    steps: int
    steps_per_epoch: int
    total_steps: int

    @classmethod
    def of(cls, config: ConfigDict, examples: int) -> Plan:
        """The plan for a number of training examples; UserError where no step of it would make an update."""
        chunks, steps = sampler.cut_epoch(examples, config.batch_size, config.parallel.steps_per_dispatch)
        plan = cls(steps, chunks * steps, config.epochs * chunks * steps)
        if config.optim.accumulate_steps > plan.total_steps:
            raise UserError(
                f"config.optim.accumulate_steps is {config.optim.accumulate_steps} and the run has {plan.total_steps} "
                "steps: no update would be made; lower it, or raise config.epochs"
            )
        return plan


def fitted_batch(config: ConfigDict, examples: int) -> ConfigDict:
    """The config with a batch that is at most the training set.

    A set smaller than a batch is one batch, rounded down to a multiple of 8, or of 16 where neighbors are mixed, so
    that 1, 2, 4 and 8 devices take the same steps.
    """
    if config.batch_size <= examples:
        return config
    pair = 2 if config.augment.mixup or config.augment.cutmix else 1
    multiple = math.lcm(8, jax.device_count()) * pair
    if examples < multiple:
        multiple = pair
    config = config.copy_and_resolve_references()
    given, config.batch_size = config.batch_size, max(examples // multiple * multiple, multiple)
    logging.info("batches of %d, not %d: there are %d training examples", config.batch_size, given, examples)
    return config


def train(config: ConfigDict, workdir: pathlib.Path, examples: Examples, timer: PhaseTimer) -> Progress:
    """Train on `config.data.train_split`, choosing the epoch on `config.data.select_split`; resumes `workdir`.

    Writes checkpoints, the newest ones and the best, and one row of metrics per evaluation. A resumed run has the same
    rows and the same final weights as an uninterrupted one, wherever it was stopped.

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
      examples: that all are trained on.
      timer: counts the phases.
    """
    train_set = examples.of_split(config.data.train_split)
    select_set = examples.of_split(config.data.select_split)
    config = fitted_batch(config, len(train_set))
    plan = Plan.of(config, len(train_set))
    made = setup.create(config, len(examples.label_names), plan.total_steps, plan.steps_per_epoch)
    runs = seed_run.restore_all(made, workdirs, examples.label_names, examples.fingerprint)
    if not runs[0].progress.finished:
        program = TrainProgram(made, train_set, tuple(workdirs), plan.steps, config.data.pipeline)
        logging.info(
            "%d training examples in batches of %d, %d for each of %d device(s) of %d process(es); %d steps an epoch "
            "in %d dispatches",
            len(train_set),
            config.batch_size,
            config.batch_size // program.parallel.devices,
            program.parallel.devices,
            jax.process_count(),
            plan.steps_per_epoch,
            plan.steps_per_epoch // plan.steps,
        )
        if jax.process_count() == 1:  # several compile at their first call, which waits for all of them
            program.compile()
        if config.profile and cluster.is_primary():
            program.profile(next(iter(workdirs.values())) / "profile")
        _Loop(plan, program, runs, select_set, timer).run()
    return [run.progress for run in runs]


class _Loop:
    """Dispatches chunk n, then reads the metrics of chunk n-1; evaluates, saves, and stops on preemption."""

    def __init__(self, plan: Plan, program: TrainProgram, runs: list[SeedRun], select_set: Examples, timer: PhaseTimer):
        config = program.setup.config
        self._config, self._plan, self._program, self._runs, self._timer = config, plan, program, runs, timer
        self._first = first = runs[0].progress  # all runs are at the same step
        if first.step:
            logging.info("resuming after step %d of %d", first.step, plan.total_steps)
        evaluator = Evaluator(program.setup.inference_model, config, len(select_set))
        placed = evaluator.place(select_set.images)
        for run in runs:
            run.start(select_set, evaluator, placed)
        # Computed before the loop, where each rate would cost a dispatch and a wait for its result.
        ends = np.arange(1, config.epochs + 1) * plan.steps_per_epoch - 1
        self._rates = jax.device_get(jax.jit(jax.vmap(program.setup.learning_rate))(ends))
        self._policy = Policy(config.checkpoint, plan.steps_per_epoch, first.step)
        self._seconds_before = dict(first.seconds)
        self._seconds_waited = 0.0  # by the devices for their input, in this process
        program.load([run.state for run in runs])
        self._bar = tqdm(
            total=plan.total_steps * config.batch_size,
            initial=first.examples,
            unit="img",
            unit_scale=True,
            dynamic_ncols=True,
            disable=None if cluster.is_primary() else True,
            file=sys.stderr,
        )
        self._metrics = ChunkMetrics([run.progress for run in runs], config.batch_size, self._bar)

    def run(self) -> None:
        """Train until the last epoch, early stopping or a preemption."""
        first, plan = self._first, self._plan
        feeds = self._program.feeds(first.step, (plan.total_steps - first.step) // plan.steps)
        # Any transfer between host and device that the code does not ask for is a mistake.
        with contextlib.ExitStack() as closing, jax.transfer_guard("disallow"):
            for run in self._runs:
                closing.callback(run.close)
            closing.callback(self._bar.close)
            while not first.finished:
                self._stop_if_preempted()
                self._timer.enter("train")
                if first.step == first.epoch * plan.steps_per_epoch:
                    self._begin_epoch()
                feed = self._next(feeds)
                cluster.heartbeat()
                self._metrics.dispatched(self._program.run(feed))
                improved = first.step == (first.epoch + 1) * plan.steps_per_epoch and self._end_epoch()
                if improved or first.finished or self._policy.due(first.step):
                    self._save()
        logging.info("the devices waited for input during at most %.1f %% of the training", 100 * self._wait_share())

    def _next(self, feeds: Iterator[Any]) -> Any:
        """The next feed; the time until it is there counts as waited where the devices are idle by then.

        That is at most the time they waited. The first feed, for which the pipeline starts, does not count.
        """
        started = time.perf_counter()
        feed = next(feeds)
        if self._metrics.read_any and self._metrics.idle():
            self._seconds_waited += time.perf_counter() - started
        return feed

    def _wait_share(self) -> float:
        """Of the training in this process: at most this share of the time the devices waited for their input."""
        return self._seconds_waited / max(self._timer.read()["train"], 1e-9)

    def _stop_if_preempted(self) -> None:
        if cluster.preemption_requested():
            if self._first.step != self._policy.last_step:
                self._save()
            raise Preempted(
                f"stopped after step {self._first.step} of {self._plan.total_steps} as requested; the same command "
                "resumes from there"
            )

    def _begin_epoch(self) -> None:
        for run in self._runs:
            run.progress.epoch_loss = run.progress.epoch_correct = 0.0

    def _end_epoch(self) -> bool:
        """Evaluate where it is due; whether an epoch was the best of its run."""
        self._metrics.read_all()
        for run in self._runs:
            run.progress.epoch += 1
        epoch = self._first.epoch
        if epoch % self._config.eval.every_epochs and epoch != self._config.epochs:
            return False
        self._timer.enter("eval")
        before = [run.selection.lr_scale for run in self._runs]
        rate, steps = float(self._rates[epoch - 1]), self._plan.steps_per_epoch
        judged = [
            run.selection.evaluate(state, rate, steps)
            for run, state in zip(self._runs, self._program.states(), strict=True)
        ]
        scales = [run.selection.lr_scale for run in self._runs]
        if scales != before:
            self._program.set_lr_scales(scales)
        self._write([row for row, _ in judged])
        return any(improved for _, improved in judged)

    def _write(self, rows: list[dict[str, Any]]) -> None:
        """Write an epoch's row of each run, with the clock of all."""
        self._add_up_time()
        seconds = self._first.seconds
        times = {f"seconds_{phase}": round(spent, 3) for phase, spent in seconds.items()}
        share = {
            "train_share": round(seconds["train"] / sum(seconds.values()), 4),
            "input_wait_share": round(self._wait_share(), 4),
        }
        for run, row in zip(self._runs, rows, strict=True):
            run.write(row | times | share)

    def _save(self) -> None:
        self._metrics.read_all()  # before, since waiting for the steps is training
        self._timer.enter("checkpoint")
        self._add_up_time()
        for run, state in zip(self._runs, self._program.states(), strict=True):
            run.save(state)
        self._policy.saved(self._first.step)

    def _add_up_time(self) -> None:
        spent = self._timer.read()
        seconds = {phase: self._seconds_before.get(phase, 0.0) + value for phase, value in spent.items()}
        for run in self._runs:
            run.progress.seconds = seconds
