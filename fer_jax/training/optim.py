"""Optimisers and schedules by name, from optax; and reduce-on-plateau, which looks at evaluations.

Weight decay leaves out biases and BatchNorm: every parameter with fewer than two axes. In adamw and lion it is
decoupled (Loshchilov & Hutter 2019), as in muon, in the others it is added to the gradient as an L2 penalty.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
import optax.contrib
from ml_collections import ConfigDict

from fer_jax.ops import platforms
from fer_jax.training import muon

SCHEDULES = ("constant", "cosine", "exponential", "plateau")
AVERAGINGS = ("none", "ema", "schedule_free")
# With this scale of Muon's updates Adam's learning rates suit both kinds of parameter (Liu et al. 2025).
CONSISTENT_RMS = 0.2


@dataclasses.dataclass(frozen=True)
class Optimizer:
    """One optimiser of the registry.

    Attributes:
      make: `make(rate, config.optim, platform)`, the optax transformation for a learning rate that is a function of the
        update; `platform` as of `create`.
      decoupled: whether it applies weight decay itself, apart from the gradient.
      schedule_free: whether schedule-free averaging can take the place of its momentum.
    """

    make: Callable[[Callable[[Any], Any], ConfigDict, str | None], optax.GradientTransformation]
    decoupled: bool = False
    schedule_free: bool = False


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


class LookaheadState(NamedTuple):
    """The fast optimiser's state, the slow weights, and the updates done, int32 ()."""

    fast: Any
    slow: Any
    updates: jax.Array


def lookahead(fast: optax.GradientTransformation, every: int, pull: float = 0.5) -> optax.GradientTransformation:
    """After `every` updates of `fast` the slow weights go `pull` of the way to the fast ones, which restart there.

    Zhang et al., "Lookahead Optimizer: k steps forward, 1 step back" (2019). Optax's own holds pairs of weights where
    everything else here has weights, so the slow ones are in the state.
    """

    def init(params: Any) -> LookaheadState:
        return LookaheadState(fast.init(params), jax.tree.map(jnp.copy, params), jnp.zeros((), jnp.int32))

    def update(grads: Any, state: LookaheadState, params: Any) -> tuple[Any, LookaheadState]:
        updates, fast_state = fast.update(grads, state.fast, params)
        count = state.updates + 1
        due = count % every == 0
        slow = jax.tree.map(lambda s, p, u: jnp.where(due, s + pull * (p + u - s), s), state.slow, params, updates)
        updates = jax.tree.map(lambda u, s, p: jnp.where(due, s - p, u), updates, slow, params)
        return updates, LookaheadState(fast_state, slow, count)

    return optax.GradientTransformation(init, update)


def averages(optim: ConfigDict) -> bool:
    """Whether averaged weights are kept beside the trained ones, to be evaluated in their place."""
    return optim.averaging != "none"


def _first_moment(optim: ConfigDict) -> float:
    return 0.0 if optim.averaging == "schedule_free" else 0.9


def _decay(optim: ConfigDict) -> dict[str, Any]:
    return {"weight_decay": optim.weight_decay, "mask": decayed}


def _adam(rate: Callable[[Any], Any], optim: ConfigDict, platform: str | None) -> optax.GradientTransformation:
    return optax.adam(rate, b1=_first_moment(optim))


def _adamw(rate: Callable[[Any], Any], optim: ConfigDict, platform: str | None) -> optax.GradientTransformation:
    return optax.adamw(rate, b1=_first_moment(optim), **_decay(optim))


def _sgd(rate: Callable[[Any], Any], optim: ConfigDict, platform: str | None) -> optax.GradientTransformation:
    if optim.averaging == "schedule_free":
        return optax.sgd(rate)
    return optax.sgd(rate, momentum=optim.momentum, nesterov=True)


def _muon(rate: Callable[[Any], Any], optim: ConfigDict, platform: str | None) -> optax.GradientTransformation:
    if platforms.implementation("auto", platform) in ("gpu", "tpu"):
        return muon.muon(rate, optim.weight_decay, CONSISTENT_RMS, matrices)
    return optax.contrib.muon(
        rate,
        consistent_rms=CONSISTENT_RMS,
        weight_decay=optim.weight_decay,
        adam_weight_decay=0.0,
        muon_weight_dimension_numbers=matrices,
    )


OPTIMIZERS = {
    "adam": Optimizer(_adam, schedule_free=True),
    "adamw": Optimizer(_adamw, decoupled=True, schedule_free=True),
    "lion": Optimizer(lambda rate, optim, platform: optax.lion(rate, **_decay(optim)), decoupled=True),
    "muon": Optimizer(_muon, decoupled=True),
    "nadam": Optimizer(lambda rate, optim, platform: optax.nadam(rate)),
    "radam": Optimizer(lambda rate, optim, platform: optax.radam(rate)),
    "sgd": Optimizer(_sgd, schedule_free=True),
}


def create(
    optim: ConfigDict, learning_rate: Callable[[Any], Any], platform: str | None = None
) -> optax.GradientTransformation:
    """The optimiser of `config.optim`, with clipping, weight decay, lookahead and gradient accumulation.

    With `accumulate_steps` k the gradients of k batches are averaged into one update; `learning_rate` is still a
    function of the number of batches. With averaging "schedule_free" (Defazio et al., "The Road Less Scheduled", 2024)
    the state is `optax.contrib.ScheduleFreeState`. `platform` is that of the devices, see `fer_jax.ops.platforms`: the
    state does not depend on it.
    """
    every = optim.accumulate_steps

    def rate(updates: Any) -> Any:
        return learning_rate(updates * every)

    optimizer = OPTIMIZERS[optim.name]
    parts = [optimizer.make(rate, optim, platform)]
    if optim.weight_decay and not optimizer.decoupled:
        parts.insert(0, optax.add_decayed_weights(optim.weight_decay, mask=decayed))
    if optim.clip_norm:
        parts.insert(0, optax.clip_by_global_norm(optim.clip_norm))
    chained = optax.chain(*parts)
    if optim.lookahead_steps:
        chained = lookahead(chained, optim.lookahead_steps)
    if optim.averaging == "schedule_free":
        return optax.contrib.schedule_free(chained, rate, b1=optim.schedule_free_momentum)
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
