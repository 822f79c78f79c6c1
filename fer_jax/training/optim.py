"""Optimizers and schedules by name, from optax.

Weight decay leaves out biases and BatchNorm: every parameter with fewer than two axes. In adamw it is decoupled
(Loshchilov & Hutter 2019), in muon too, where it also leaves out what `matrices` gives to Adam; in the others it is
added to the gradient as an L2 penalty.
"""

import collections
import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
import optax.contrib
from ml_collections import ConfigDict

from fer_jax import ops

SCHEDULES = ("constant", "cosine", "plateau")
AVERAGINGS = ("none", "ema")
# With this scale of Muon's updates Adam's learning rates suit both kinds of parameter (Liu et al. 2025).
CONSISTENT_RMS = 0.2
TILE = 128
BETA, STEPS, COEFFICIENTS, EPSILON = 0.95, 5, (3.4445, -4.7750, 2.0315), 1e-8  # Muon's, optax' defaults


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
    if ops.implementation("auto", platform) in ("gpu", "tpu"):
        return _batched_muon(rate, optim.weight_decay)
    return optax.contrib.muon(
        rate,
        consistent_rms=CONSISTENT_RMS,
        weight_decay=optim.weight_decay,
        adam_weight_decay=0.0,
        muon_weight_dimension_numbers=matrices,
    )


def _batched_muon(rate: Callable[[Any], Any], weight_decay: float) -> optax.GradientTransformation:
    """Muon with its iterations over matrices of one shape as one batched iteration, for GPUs and TPUs.

    `optax.contrib.muon` orthogonalizes one matrix after the other, with five times three small products each: half the
    kernels of a step of mini-Xception. A device works in tiles of 128x128: matrices that fill equally many, padded with
    zeros to one shape, cost nothing more as one batch, and zeros stay zeros. The state is optax's, the same tree, and
    so are the results but for rounding.
    """

    def is_leaf(x: Any) -> bool:
        return x is None or isinstance(x, optax.contrib.MuonDimensionNumbers)

    def labels(params: Any) -> Any:
        return jax.tree.map(lambda n: "adam" if n is None else "muon", matrices(params), is_leaf=is_leaf)

    def scaled(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        del params
        sides = jax.tree.map(lambda u: max(u.size // u.shape[-1], u.shape[-1]), updates)
        return jax.tree.map(lambda u, side: CONSISTENT_RMS * side**0.5 * u, updates, sides), state

    return optax.partition(
        {
            "muon": optax.chain(
                _scale_by_muon(),
                optax.GradientTransformation(lambda params: optax.EmptyState(), scaled),
                optax.add_decayed_weights(weight_decay),
                optax.scale_by_learning_rate(rate),
            ),
            "adam": optax.adamw(rate, eps=EPSILON, weight_decay=0.0, nesterov=True),
        },
        labels,
    )


def _scale_by_muon() -> optax.GradientTransformation:
    """`optax.contrib.scale_by_muon` with its defaults, for kernels whose last axis is the output."""
    init = optax.contrib.scale_by_muon(COEFFICIENTS, STEPS, BETA, EPSILON).init

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        del params
        count = optax.safe_increment(state.count)
        mu = optax.tree.update_moment(updates, state.mu, BETA, 1)
        corrected = optax.tree.bias_correction(mu, BETA, optax.safe_increment(count))
        current = optax.tree.bias_correction(updates, BETA, count)
        nesterov = jax.tree.map(lambda m, g: BETA * m + (1 - BETA) * g, corrected, current)
        kernels, tree = jax.tree.flatten(nesterov)
        matrices = orthogonalized([k.reshape(-1, k.shape[-1]) for k in kernels], state.ns_coeffs)
        changes = [m.reshape(k.shape) for m, k in zip(matrices, kernels, strict=True)]
        return jax.tree.unflatten(tree, changes), state._replace(count=count, mu=mu)

    return optax.GradientTransformation(init, update)


def orthogonalized(matrices: Sequence[jax.Array], coefficients: jax.Array) -> list[jax.Array]:
    """The nearest orthogonal matrices, about, by five Newton-Schulz iterations (Jordan et al., "Muon", 2024).

    Args:
      matrices: (rows, columns) each.
      coefficients: (3,), of x, (x x^T) x and (x x^T)^2 x.
    """
    wide = [m.T if m.shape[0] > m.shape[1] else m for m in matrices]
    groups = collections.defaultdict(list)
    for i, m in enumerate(wide):
        groups[tuple(-(-side // TILE) for side in m.shape)].append(i)
    result: list[Any] = [None] * len(matrices)
    for members in groups.values():
        rows, columns = (max(wide[i].shape[axis] for i in members) for axis in (0, 1))
        # A sum of padded matrices is one operation; a stack of them is one for each.
        batch: Any = sum(
            jnp.pad(m[None], ((place, len(members) - 1 - place), (0, rows - m.shape[0]), (0, columns - m.shape[1])))
            for place, m in enumerate(wide[i] for i in members)
        )
        batch = _newton_schulz(batch, coefficients)
        for i, m in zip(members, batch, strict=True):
            m = m[: wide[i].shape[0], : wide[i].shape[1]]
            result[i] = m.T if matrices[i].shape[0] > matrices[i].shape[1] else m
    return result


def _newton_schulz(x: jax.Array, coefficients: jax.Array) -> jax.Array:
    """Orthogonalize a batch (n, rows, columns)."""
    a, b, c = coefficients.astype(x.dtype)
    x = x / (jnp.sqrt(jnp.sum(x * x, axis=(1, 2), keepdims=True)) + EPSILON)
    for _ in range(STEPS):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x


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
    function of the number of batches. `platform` is that of the devices, see `fer_jax.ops`: the state does not depend
    on it.
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
