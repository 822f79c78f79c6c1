"""The training loop, which depends on no data set and no network.

`train` reads as the loop does; `Run` beside it is what the loop knows: state, progress, files. The order of a chunk is
dispatch n, then read the metrics of n - 1, so that the devices never wait for the host.
"""

import contextlib
import dataclasses
import math
import pathlib
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent import futures
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
from fer_jax.evaluation import metrics
from fer_jax.evaluation.evaluator import Evaluator
from fer_jax.training import metric_log, setup
from fer_jax.training.checkpoint import Checkpoints, Progress
from fer_jax.training.program import TrainProgram

PHASES = ("startup", "train", "eval", "checkpoint", "report")


class NonFiniteLossError(UserError):
    """The loss became infinite or not a number: the message names the steps and what may help."""


@dataclasses.dataclass(frozen=True)
class Session:
    """Options of one call of a run, none of which changes the result.

    Attributes:
      on_epoch: called after each evaluation with its row of metrics, in the primary process.
      bar: whether to show a progress bar; None shows one on a terminal.
      profile: whether to trace a few steps into the run's folder, for TensorBoard or XProf.
    """

    on_epoch: Callable[[dict[str, Any]], Any] | None = None
    bar: bool | None = None
    profile: bool = False


PLAIN = Session()


class PhaseTimer:
    """Seconds spent in each of `PHASES` over all sessions of a run; exactly one phase runs at a time.

    Attributes:
      seconds: by phase, without the time of the phase that is running.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter):
        self.seconds: dict[str, float] = dict.fromkeys(PHASES, 0.0)
        self._clock, self._phase, self._since = clock, "startup", clock()

    def enter(self, phase: str) -> None:
        """End the running phase and begin `phase`."""
        now = self._clock()
        self.seconds[self._phase] += now - self._since
        self._phase, self._since = phase, now

    def add(self, seconds: Mapping[str, float]) -> None:
        """Count the seconds of earlier sessions too."""
        for phase, spent in seconds.items():
            self.seconds[phase] += spent

    def read(self) -> dict[str, float]:
        """Seconds by phase up to now."""
        self.enter(self._phase)
        return dict(self.seconds)


def train(
    config: ConfigDict,
    workdir: pathlib.Path,
    examples: Examples,
    timer: PhaseTimer,
    session: Session = PLAIN,
) -> Progress:
    """Train on `config.data.train_split`, choosing the epoch on `config.data.select_split`; resumes `workdir`.

    Writes checkpoints, the newest ones and the best, and one row of metrics per evaluation. A resumed run has the same
    rows and the same final weights as an uninterrupted one, wherever it was stopped.

    Raises:
      Preempted: a signal came; everything is saved.
      NonFiniteLossError: the last good checkpoint is kept.
      UserError: for a batch that does not divide, an absent split, a checkpoint of something else, a full disk.
    """
    run = Run(config, workdir, examples, timer, session)
    progress = run.progress
    if progress.finished:
        return progress
    # Any transfer between host and device that the code does not ask for is a mistake.
    with run.started() as feeds, jax.transfer_guard("disallow"):
        while not progress.finished:
            run.stop_if_preempted()
            timer.enter("train")
            if progress.step == progress.epoch * run.steps_per_epoch:
                progress.epoch_loss = progress.epoch_correct = 0.0
            feed = run.next(feeds)
            cluster.heartbeat()
            run.dispatched(run.program.run(feed))
            improved = progress.step == (progress.epoch + 1) * run.steps_per_epoch and run.end_epoch()
            if improved or progress.finished or run.checkpoint_is_due():
                run.save()
    logging.info("the devices waited for input during at most %.1f %% of the training", 100 * run.wait_share())
    return progress


def cut(config: ConfigDict, examples: int) -> tuple[int, int, int]:
    """(steps of a chunk, steps of an epoch, steps of the run) for a number of training examples.

    Raises UserError where no step would make an update.
    """
    chunks, steps = sampler.cut_epoch(examples, config.batch_size, config.parallel.steps_per_dispatch)
    total = config.epochs * chunks * steps
    if config.optim.accumulate_steps > total:
        raise UserError(
            f"config.optim.accumulate_steps is {config.optim.accumulate_steps} and the run has {total} steps: no "
            "update would be made; lower it, or raise config.epochs"
        )
    return steps, chunks * steps, total


def fitted_batch(config: ConfigDict, examples: int) -> ConfigDict:
    """The config with a batch that is at most the training set.

    A set smaller than a batch is one batch, rounded down to a multiple of 8, or of 16 where neighbors are mixed, so
    that 1, 2, 4 and 8 devices take the same steps.
    """
    if config.batch_size <= examples:
        return config
    pair = 2 if config.augment.mixup else 1
    multiple = math.lcm(8, jax.device_count()) * pair
    if examples < multiple:
        multiple = pair
    config = config.copy_and_resolve_references()
    given, config.batch_size = config.batch_size, max(examples // multiple * multiple, multiple)
    logging.info("batches of %d, not %d: there are %d training examples", config.batch_size, given, examples)
    return config


class Run:
    """A run in its folder, from its newest checkpoint or from the start.

    Attributes:
      progress: how far it has come.
      steps_per_epoch: a whole number of chunks.
      program: the compiled chunk and the state on the devices, once `started`.
    """

    program: TrainProgram

    def __init__(
        self, config: ConfigDict, workdir: pathlib.Path, examples: Examples, timer: PhaseTimer, session: Session
    ):
        self._train_set = examples.of_split(config.data.train_split)
        self._select_set = examples.of_split(config.data.select_split)
        self._config = config = fitted_batch(config, len(self._train_set))
        self._workdir, self._timer, self._session = workdir, timer, session
        self._chunk, self.steps_per_epoch, self._total = cut(config, len(self._train_set))
        names, fingerprint = examples.label_names, examples.fingerprint
        self._setup = setup.create(config, len(names), self._total, self.steps_per_epoch)
        self._checkpoints = Checkpoints(workdir)
        self._restored, self.progress = self._checkpoints.restore(self._setup.state_shapes) or (None, Progress())
        if not self._restored:
            self.progress.label_names, self.progress.fingerprint = names, fingerprint
        if "" not in (fingerprint, self.progress.fingerprint) and fingerprint != self.progress.fingerprint:
            raise UserError(f"{workdir} has checkpoints of a run on other data: use another --workdir, or that data")
        self._pending: list[tuple[int, dict[str, jax.Array]]] = []  # first step and metrics of what was dispatched
        self._read_any = False
        timer.add(self.progress.seconds)
        self._train_before = timer.seconds["train"]
        self._seconds_waited = 0.0  # by the devices for their input, in this process
        self._saved_step, self._saved_at = self.progress.step, time.monotonic()

    @contextlib.contextmanager
    def started(self) -> Iterator[Iterator[Any]]:
        """Compile, place everything on the devices, and open the files; the feeds of the chunks that are left."""
        config, progress = self._config, self.progress
        self.program = TrainProgram(self._setup, self._train_set, self._chunk, config.data.pipeline)
        devices = self.program.parallel.devices
        logging.info(
            "%d training examples in batches of %d; devices: %d, processes: %d; %d steps an epoch in %d dispatches",
            *(len(self._train_set), config.batch_size, devices, jax.process_count()),
            *(self.steps_per_epoch, self.steps_per_epoch // self._chunk),
        )
        if progress.step:
            logging.info("resuming after step %d of %d", progress.step, self._total)
        with futures.ThreadPoolExecutor(1) as beside:
            if jax.process_count() == 1:  # several compile at their first call, which waits for all of them
                compiled = beside.submit(self.program.compile)
            self._evaluator = Evaluator(self._setup.inference_model, config, len(self._select_set))
            self._placed = self._evaluator.place(self._select_set.images)
            # Computed before the loop, where each rate would cost a dispatch and a wait for its result.
            ends = np.arange(1, config.epochs + 1) * self.steps_per_epoch - 1
            self._rates = jax.device_get(jax.jit(jax.vmap(self._setup.learning_rate))(ends))
            self.program.load(self._restored or self._setup.fresh_state(progress.label_names))
            del self._restored  # its buffers are the program's now
            if jax.process_count() == 1:
                compiled.result()
        if self._session.profile and cluster.is_primary():
            self.program.profile(self._workdir / "profile")
        primary = cluster.is_primary()
        with contextlib.ExitStack() as closing:
            closing.callback(self._checkpoints.close)
            self._log = metric_log.MetricWriter(self._workdir, progress.step, config) if primary else None
            if self._log:
                closing.callback(self._log.close)
            self._bar = closing.enter_context(
                tqdm(
                    total=self._total * config.batch_size,
                    initial=progress.examples,
                    unit="img",
                    unit_scale=True,
                    dynamic_ncols=True,
                    disable=True if not primary else None if self._session.bar is None else not self._session.bar,
                    file=sys.stderr,
                )
            )
            yield self.program.feeds(progress.step, (self._total - progress.step) // self._chunk)

    def next(self, feeds: Iterator[Any]) -> Any:
        """The next feed; the time until it is there counts as waited where the devices are idle by then.

        That is at most the time they waited. The first feed, for which the pipeline starts, does not count.
        """
        started = time.perf_counter()
        feed = next(feeds)
        ready = (waiting["loss"].is_ready() for _, waiting in self._pending)  # pyright: ignore[reportAttributeAccessIssue]
        if self._read_any and all(ready):
            self._seconds_waited += time.perf_counter() - started
        return feed

    def wait_share(self) -> float:
        """Largest share of this process's training time for which the devices may have waited for their input."""
        return self._seconds_waited / max(self._timer.read()["train"] - self._train_before, 1e-9)

    def dispatched(self, values: dict[str, jax.Array]) -> None:
        """Count a chunk, whose metrics are (steps,), as done, and read the one before it."""
        steps, progress = len(values["loss"]), self.progress
        self._pending.append((progress.step, values))
        progress.step += steps
        progress.examples += steps * self._config.batch_size
        self._read(keep=1)

    def _read(self, keep: int = 0) -> None:
        """Add up the metrics of all but the last `keep` chunks that were dispatched, waiting for them."""
        while len(self._pending) > keep:
            first, pending = self._pending.pop(0)
            values = jax.device_get(pending)
            self._read_any = True
            self._require_finite(first, values)
            self.progress.epoch_loss += float(values["loss"].astype(np.float64).sum())
            self.progress.epoch_correct += float(values["correct"].sum())
            self._bar.update(len(values["loss"]) * self._config.batch_size)

    @staticmethod
    def _require_finite(first: int, values: dict[str, np.ndarray]) -> None:
        bad = np.flatnonzero(~np.isfinite(values["loss"]))
        if len(bad):
            norm = values["gradient_norm"][bad[0] - 1] if bad[0] else float("nan")
            raise NonFiniteLossError(
                f"the loss was not finite in steps {first + bad[0]} to {first + bad[-1]} (gradient norm before: "
                f"{norm:.3g}); lower config.optim.learning_rate, or use config.dtype=float32"
            )

    def stop_if_preempted(self) -> None:
        """Save and raise `Preempted` where a signal has asked for it."""
        if cluster.preemption_requested():
            if self.progress.step != self._saved_step:
                self.save()
            raise Preempted(
                f"stopped after step {self.progress.step} of {self._total} as requested; the same command resumes "
                "from there"
            )

    def end_epoch(self) -> bool:
        """Evaluate where it is due, write the row, and decide what follows; whether the epoch is the best so far."""
        self._read()
        config, progress = self._config, self.progress
        progress.epoch += 1
        if progress.epoch % config.eval.every_epochs and progress.epoch != config.epochs:
            return False
        self._timer.enter("eval")
        logits = self._evaluator.logits(self.program.state.variables(), self._placed, len(self._select_set))
        scores = metrics.scores(logits, self._select_set.labels, self._select_set.label_names)
        scale, split = progress.lr_scale, config.data.select_split
        row = {
            "epoch": progress.epoch,
            "step": progress.step,
            "examples": progress.examples,
            "learning_rate": float(self._rates[progress.epoch - 1]) * scale,
            "lr_scale": scale,
            "train_loss": progress.epoch_loss / self.steps_per_epoch,
            "train_accuracy": progress.epoch_correct / (self.steps_per_epoch * config.batch_size),
            **{f"{split}_{name}": scores[name] for name in ("loss", "accuracy", "macro_f1")},
        }
        score = scores[config.eval.select_by]
        improved = decide(config, progress, -score if config.eval.select_by == "loss" else score)
        logging.info(
            "epoch %d: train %.4f, %s %.4f%s",
            *(progress.epoch, row["train_accuracy"], split, scores["accuracy"], " (best)" if improved else ""),
        )
        if progress.lr_scale != scale:
            self.program.set_lr_scale(progress.lr_scale)
        self._write(row)
        return improved

    def _write(self, row: dict[str, Any]) -> None:
        """Append an epoch's row, with the clock."""
        seconds = self._timer.read()
        row |= {f"seconds_{phase}": round(spent, 3) for phase, spent in seconds.items()}
        row["train_share"] = round(seconds["train"] / sum(seconds.values()), 4)
        row["input_wait_share"] = round(self.wait_share(), 4)
        if self._log:
            self._log.write(row)
            if self._session.on_epoch:
                self._session.on_epoch(dict(row))

    def checkpoint_is_due(self) -> bool:
        """Return whether the last checkpoint is `config.checkpoint.every_minutes` old."""
        return time.monotonic() - self._saved_at >= 60 * self._config.checkpoint.every_minutes

    def save(self) -> None:
        """Write a checkpoint in the background."""
        self._read()  # before, since waiting for the steps is training
        self._timer.enter("checkpoint")
        self.progress.seconds = self._timer.read()
        self._checkpoints.save(self.program.state, self.progress)
        self._saved_step, self._saved_at = self.progress.step, time.monotonic()


def decide(config: ConfigDict, progress: Progress, score: float) -> bool:
    """Note in `progress` what follows from an evaluation's `score` (more is better); whether it is the best so far.

    The plateau schedule lowers the learning rate at each `plateau_patience`-th evaluation in a row without improvement
    (as Keras' ReduceLROnPlateau), early stopping ends the run after `early_stop` of them.
    """
    improved = score > progress.best_score
    if improved:
        progress.best_score, progress.best_epoch, progress.best_step = score, progress.epoch, progress.step
    progress.waited = 0 if improved else progress.waited + 1
    patience = config.optim.plateau_patience
    if config.optim.schedule == "plateau" and progress.waited and progress.waited % patience == 0:
        progress.lr_scale *= config.optim.plateau_factor
        logging.info("epoch %d: learning rate times %g", progress.epoch, progress.lr_scale)
    last = progress.epoch == config.epochs
    progress.finished = last or 0 < config.eval.early_stop <= progress.waited
    if progress.finished and not last:
        logging.info(
            "stopped early after epoch %d: %s has not improved for %d evaluations",
            *(progress.epoch, config.eval.select_by, config.eval.early_stop),
        )
    return improved
