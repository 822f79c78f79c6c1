"""The host's part of a checkpoint: what the loop must remember besides arrays."""

from __future__ import annotations

import dataclasses
import math
from typing import Any


@dataclasses.dataclass
class Progress:
    """How far a run has come.

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
      fingerprint: of the examples, see `fer_jax.data.identity`; "" where nobody took it.
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
    fingerprint: str = ""
    plateau: dict[str, Any] = dataclasses.field(default_factory=dict)
    early_stop: dict[str, Any] = dataclasses.field(default_factory=dict)
