"""What an evaluation decides: the best epoch, the learning rate's plateau, and early stopping."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import jax
from absl import logging
from ml_collections import ConfigDict

from fer_jax.data.examples import Examples
from fer_jax.evaluation import metrics
from fer_jax.evaluation.evaluator import Evaluator
from fer_jax.training import optim
from fer_jax.training.progress import Progress
from fer_jax.training.state import TrainState


class ModelSelection:
    """Evaluates one model's state on the selection split and notes in its progress what follows."""

    def __init__(
        self,
        config: ConfigDict,
        progress: Progress,
        select_set: Examples,
        evaluator: Evaluator,
        placed: Collection[jax.Array],
    ):
        """`placed` is what `evaluator.place` made of the images of `select_set`."""
        self._config, self._progress, self._set, self._evaluator = config, progress, select_set, evaluator
        self._placed = placed
        self._prefix = f"seed {config.seed}, " if config.seeds > 1 else ""  # of its lines in the log
        chosen = config.optim
        self._plateau = optim.Plateau(
            chosen.plateau_factor, chosen.plateau_patience, chosen.plateau_floor, **progress.plateau
        )
        self._early_stop = optim.EarlyStop(config.eval.early_stop, **progress.early_stop)

    @property
    def lr_scale(self) -> float:
        """The factor of the learning rate that the plateau has led to."""
        return self._plateau.scale

    def evaluate(self, state: TrainState, learning_rate: float, steps_per_epoch: int) -> tuple[dict[str, Any], bool]:
        """Evaluate the epoch that ended.

        Args:
          state: on the devices.
          learning_rate: the schedule's at the last step, without the plateau's factor.
          steps_per_epoch: that the sums in the progress are over.

        Returns:
          The epoch's row of metrics, and whether it is the best so far.
        """
        config, progress, split = self._config, self._progress, self._config.data.select_split
        logits = self._evaluator.logits(state.variables(), self._placed, len(self._set))
        scores = metrics.scores(logits, self._set.labels, self._set.label_names)
        row = {
            "epoch": progress.epoch,
            "step": progress.step,
            "examples": progress.examples,
            "learning_rate": learning_rate * self.lr_scale,
            "lr_scale": self.lr_scale,
            "train_loss": progress.epoch_loss / steps_per_epoch,
            "train_accuracy": progress.epoch_correct / (steps_per_epoch * config.batch_size),
            **{f"{split}_{name}": scores[name] for name in ("loss", "accuracy", "macro_f1")},
        }
        improved = self._note_best(scores)
        logging.info(
            "%sepoch %d: train %.4f, %s %.4f%s",
            self._prefix,
            progress.epoch,
            row["train_accuracy"],
            split,
            scores["accuracy"],
            " (best)" if improved else "",
        )
        self._watch(scores)
        return row, improved

    def _note_best(self, scores: dict[str, Any]) -> bool:
        select_by, progress = self._config.eval.select_by, self._progress
        score = -scores["loss"] if select_by == "loss" else scores[select_by]
        improved = score > progress.best_score
        if improved:
            progress.best_score, progress.best_epoch, progress.best_step = score, progress.epoch, progress.step
        return improved

    def _watch(self, scores: dict[str, Any]) -> None:
        """Lower the learning rate, and finish the run, where the watched score says so."""
        config, progress = self._config, self._progress
        watched, before = config.eval.watch, self.lr_scale
        value = scores["loss"] if watched == "loss" else -scores[watched]
        if config.optim.schedule == "plateau" and self._plateau.observe(value) != before:
            logging.info("%sepoch %d: learning rate times %g", self._prefix, progress.epoch, self.lr_scale)
        stop_early, last = self._early_stop.observe(value), progress.epoch == config.epochs
        if stop_early and not last:
            logging.info(
                "stopped early after epoch %d: %s has not improved for %d evaluations",
                progress.epoch,
                watched,
                config.eval.early_stop,
            )
        progress.finished = stop_early or last
        progress.plateau = {name: getattr(self._plateau, name) for name in ("best", "waited", "scale")}
        progress.early_stop = {name: getattr(self._early_stop, name) for name in ("best", "waited")}
