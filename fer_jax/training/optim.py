"""Optimizers and schedules by name, from optax.

Weight decay leaves out biases and BatchNorm: every parameter with fewer than two axes. In adamw it is decoupled
(Loshchilov & Hutter 2019), in muon too, where it also leaves out what `matrices` gives to Adam; in the others it is
added to the gradient as an L2 penalty.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import optax
import optax.contrib
from ml_collections import ConfigDict

from fer_jax.ops import platforms
from fer_jax.training import muon

SCHEDULES = ("constant", "cosine", "plateau")
AVERAGINGS = ("none", "ema")
# With this scale of Muon's updates Adam's learning rates suit both kinds of parameter (Liu et al. 2025).
CONSISTENT_RMS = 0.2


@dataclasses.dataclass(frozen=True)
class Optimizer:
    """One optimizer of the registry.

    Attributes:
      make: `make(rate, config.optim, platform)`, the optax transformation for a learning rate that is a function of the
        update; `platform` as of `create`.
      decoupled: whether it applies weight decay itself, apart from the gradient.
    """

    make: Callable[[Callable[[Any], Any], ConfigDict, str | None], optax.GradientTransformation]
    decoupled: bool = False


def schedule(optim: ConfigDict, total_steps: int, steps_per_epoch: int) -> Callable[[Any], Any]:
    """Learning rate as a function of the step, after a linear warm-up from 0 over `warmup_epochs`.

    cosine falls to 0 at the last step; plateau is constant here: evaluations scale it, see
    `fer_jax.training.train.decide`.
    """
    peak, warmup = optim.learning_rate, round(optim.warmup_epochs * steps_per_epoch)
    match optim.schedule:
        case "constant" | "plateau":
            main = optax.constant_schedule(peak)
        case "cosine":
            main = optax.cosine_decay_schedule(peak, max(1, total_steps - warmup))
        case other:
            raise ValueError(other)
    return optax.join_schedules([optax.linear_schedule(0.0, peak, warmup), main], [warmup]) if warmup else main


def decayed(params: Any) -> Any:
    """Tree of bools: which parameters weight decay applies to."""
    return jax.tree.map(lambda p: p.ndim > 1, params)


def matrices(params: Any) -> Any:
    """Tree of muon's dimension numbers: a kernel maps its input channels and window to its outputs; None takes Adam.

    Adam gets biases, BatchNorm and kernels with one input channel, which are depthwise ones and the first convolution
    of gray images. Jordan et al., "Muon" (2024).
    """

    def numbers(p: Any) -> optax.contrib.MuonDimensionNumbers | None:
        if p.ndim < 2 or (p.ndim > 2 and p.shape[-2] == 1):
            return None
        return optax.contrib.MuonDimensionNumbers(tuple(range(p.ndim - 1)), p.ndim - 1)

    return jax.tree.map(numbers, params)


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
    "adam": Optimizer(lambda rate, optim, platform: optax.adam(rate)),
    "adamw": Optimizer(
        lambda rate, optim, platform: optax.adamw(rate, weight_decay=optim.weight_decay, mask=decayed), decoupled=True
    ),
    "muon": Optimizer(_muon, decoupled=True),
    "nadam": Optimizer(lambda rate, optim, platform: optax.nadam(rate)),
    "sgd": Optimizer(lambda rate, optim, platform: optax.sgd(rate, momentum=optim.momentum, nesterov=True)),
}


def create(
    optim: ConfigDict, learning_rate: Callable[[Any], Any], platform: str | None = None
) -> optax.GradientTransformation:
    """The optimizer of `config.optim`, with weight decay and gradient accumulation.

    With `accumulate_steps` k the gradients of k batches are averaged into one update; `learning_rate` is still a
    function of the number of batches. `platform` is that of the devices, see `fer_jax.ops.platforms`: the state does
    not depend on it.
    """
    every = optim.accumulate_steps

    def rate(updates: Any) -> Any:
        return learning_rate(updates * every)

    optimizer = OPTIMIZERS[optim.name]
    parts = [optimizer.make(rate, optim, platform)]
    if optim.weight_decay and not optimizer.decoupled:
        parts.insert(0, optax.add_decayed_weights(optim.weight_decay, mask=decayed))
    made = optax.chain(*parts)
    return made if every == 1 else optax.MultiSteps(made, every).gradient_transformation()
