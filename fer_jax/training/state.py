"""The training state: arrays only, so that a checkpoint is a tree of arrays and a step is a pure function of it."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import optax

Tree = Any
COMPILE_QUICKLY = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}


@flax.struct.dataclass
class TrainState:
    """Everything the step changes.

    Attributes:
      step: int32 (), steps done.
      params: float32 tree.
      batch_stats: float32 tree of BatchNorm's running statistics, {} for a net without.
      opt_state: the optimiser's own.
      lr_scale: float32 (), factor of the learning rate that reduce-on-plateau lowers.
      ema: {"params", "batch_stats"} averaged over steps, or {} when `config.optim.averaging` is none.
    """

    step: jax.Array
    params: Tree
    batch_stats: Tree
    opt_state: Tree
    lr_scale: jax.Array
    ema: Tree

    def variables(self) -> Tree:
        """The variables to evaluate and export: the averaged ones where they are kept."""
        chosen = self.ema or {"params": self.params, "batch_stats": self.batch_stats}
        return {key: tree for key, tree in chosen.items() if tree}


def initial_variables(model: nn.Module, input_shape: tuple[int, ...], seed: int) -> Tree:
    """Random {"params", "batch_stats"} for images of `input_shape` (H, W, C); the same for a seed everywhere."""
    images = jnp.zeros((1, *input_shape), jnp.float32)
    # One program, for op by op takes longer; and hardly optimised, for it runs once: compiling it in full took 6.7 s
    # of a CPU, so 1.8 s, with the same bits.
    initialise = jax.jit(lambda key: model.init(key, images, False), compiler_options=COMPILE_QUICKLY)
    return initialise(jax.random.key(seed))


def shapes(
    model: nn.Module, optimizer: optax.GradientTransformation, input_shape: tuple[int, ...], ema: bool
) -> TrainState:
    """A state of this network and optimiser, as `jax.ShapeDtypeStruct`s: no memory, no computation."""
    images = jnp.zeros((1, *input_shape), jnp.float32)
    return jax.eval_shape(lambda: from_variables(model.init(jax.random.key(0), images, False), optimizer, ema))


def from_variables(variables: Tree, optimizer: optax.GradientTransformation, ema: bool) -> TrainState:
    """A state at step 0 that starts from given variables; `ema` says whether averaged weights are kept."""
    params, batch_stats = variables["params"], variables.get("batch_stats", {})
    # Copies: the state is donated to the step, and one buffer must not be donated twice.
    averaged = jax.tree.map(jnp.copy, {"params": params, "batch_stats": batch_stats}) if ema else {}
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        batch_stats=batch_stats,
        opt_state=jax.jit(optimizer.init)(params),
        lr_scale=jnp.ones((), jnp.float32),
        ema=averaged,
    )
