"""Optimisers and schedules by name, from optax; and reduce-on-plateau, which looks at evaluations.

Weight decay leaves out biases and BatchNorm: every parameter with fewer than two axes. In adamw and lion it is
decoupled (Loshchilov & Hutter 2019), as in muon, in the others it is added to the gradient as an L2 penalty.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import optax
import optax.contrib
from ml_collections import ConfigDict

OPTIMIZERS = ("adam", "adamw", "lion", "muon", "nadam", "radam", "sgd")
SCHEDULES = ("constant", "cosine", "exponential", "plateau")


def schedule(optim: ConfigDict, total_steps: int, steps_per_epoch: int) -> Callable[[Any], Any]:
    """Learning rate as a function of the step, after a linear warm-up from 0 over `warmup_epochs`.

    cosine falls to `final_fraction` of the peak at the last step; exponential multiplies by `decay_rate` once an
    epoch, smoothly; plateau is constant here, and `Plateau` scales it after evaluations.
    """
    peak, warmup = optim.learning_rate, round(optim.warmup_epochs * steps_per_epoch)
    match optim.schedule:
        case "constant" | "plateau":
            main = optax.constant_schedule(peak)
        case "cosine":
            main = optax.cosine_decay_schedule(peak, max(1, total_steps - warmup), alpha=optim.final_fraction)
        case "exponential":
            main = optax.exponential_decay(peak, steps_per_epoch, optim.decay_rate)
        case other:
            raise ValueError(other)
    return optax.join_schedules([optax.linear_schedule(0.0, peak, warmup), main], [warmup]) if warmup else main


def decayed(params: Any) -> Any:
    """Tree of bools: which parameters weight decay applies to."""
    return jax.tree.map(lambda p: p.ndim > 1, params)


def matrices(params: Any) -> Any:
    """Tree of muon's dimension numbers: a kernel maps its input channels and window to its outputs; None takes Adam.

    Adam gets biases, BatchNorm and depthwise kernels, which have one input channel. Jordan et al., "Muon" (2024).
    """
    def numbers(p: Any) -> optax.contrib.MuonDimensionNumbers | None:
        if p.ndim < 2 or (p.ndim > 2 and p.shape[-2] == 1):
            return None
        return optax.contrib.MuonDimensionNumbers(tuple(range(p.ndim - 1)), p.ndim - 1)

    return jax.tree.map(numbers, params)


def create(optim: ConfigDict, learning_rate: Callable[[Any], Any]) -> optax.GradientTransformation:
    """The optimiser of `config.optim`, with clipping, weight decay and gradient accumulation.

    With `accumulate_steps` k the gradients of k batches are averaged into one update; `learning_rate` is still a
    function of the number of batches.
    """
    every = optim.accumulate_steps

    def rate(updates: Any) -> Any:
        return learning_rate(updates * every)

    decoupled = {"weight_decay": optim.weight_decay, "mask": decayed}
    match optim.name:
        case "adam":
            core = optax.adam(rate)
        case "nadam":
            core = optax.nadam(rate)
        case "radam":
            core = optax.radam(rate)
        case "sgd":
            core = optax.sgd(rate, momentum=optim.momentum, nesterov=True)
        case "adamw":
            core = optax.adamw(rate, **decoupled)
        case "lion":
            core = optax.lion(rate, **decoupled)
        case "muon":
            # With this scale of the updates Adam's learning rates suit both kinds of parameter (Liu et al. 2025).
            core = optax.contrib.muon(rate, consistent_rms=0.2, weight_decay=optim.weight_decay,
                                      adam_weight_decay=0.0, muon_weight_dimension_numbers=matrices)
        case other:
            raise ValueError(other)
    parts = [core]
    if optim.weight_decay and optim.name not in ("adamw", "lion", "muon"):
        parts.insert(0, optax.add_decayed_weights(optim.weight_decay, mask=decayed))
    if optim.clip_norm:
        parts.insert(0, optax.clip_by_global_norm(optim.clip_norm))
    chained = optax.chain(*parts)
    return chained if every == 1 else optax.MultiSteps(chained, every).gradient_transformation()


@dataclasses.dataclass
class Plateau:
    """Learning-rate factor that falls when a watched value has stopped improving (as Keras' ReduceLROnPlateau).

    Attributes:
      factor: multiplies the scale at each reduction.
      patience: evaluations without improvement before one.
      floor: least scale.
      best, waited, scale: what a checkpoint keeps.
    """

    factor: float
    patience: int
    floor: float
    best: float = float("inf")
    waited: int = 0
    scale: float = 1.0

    def observe(self, value: float) -> float:
        """Take one evaluation's value (lower is better) and return the new scale."""
        if value < self.best:
            self.best, self.waited = value, 0
        else:
            self.waited += 1
            if self.waited >= self.patience:
                self.scale, self.waited = max(self.scale * self.factor, self.floor), 0
        return self.scale


@dataclasses.dataclass
class EarlyStop:
    """Stops after `patience` evaluations without improvement, 0 never; `best` and `waited` go into checkpoints."""

    patience: int
    best: float = float("inf")
    waited: int = 0

    def observe(self, value: float) -> bool:
        """Take one evaluation's value (lower is better); True when training should end."""
        if value < self.best:
            self.best, self.waited = value, 0
        else:
            self.waited += 1
        return 0 < self.patience <= self.waited
