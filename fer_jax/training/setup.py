"""The training state, and what a config makes of a network: its frozen layers, its optimizer, the state it starts from.

A state is arrays only, so that a checkpoint is a tree of arrays and a step is a pure function of it.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax
from absl import logging
from ml_collections import ConfigDict

from fer_jax.distributed.parallel import AXIS
from fer_jax.models import network, pretrained, registry
from fer_jax.models.network import Network
from fer_jax.training import optim

Tree = Any
COMPILE_QUICKLY = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}


@flax.struct.dataclass
class TrainState:
    """Everything the step changes.

    Attributes:
      step: int32 (), steps done.
      params: float32 tree.
      batch_stats: float32 tree of BatchNorm's running statistics, {} for a net without.
      opt_state: the optimizer's own.
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


def from_variables(variables: Tree, optimizer: optax.GradientTransformation, ema: bool) -> TrainState:
    """A state at step 0 that starts from given variables; `ema` says whether averaged weights are kept."""
    params, batch_stats = variables["params"], variables.get("batch_stats", {})
    # Copies: the state is donated to the step, and one buffer must not be donated twice.
    averaged = jax.tree.map(jnp.copy, {"params": params, "batch_stats": batch_stats}) if ema else {}
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        batch_stats=batch_stats,
        opt_state=optimizer.init(params),
        lr_scale=jnp.ones((), jnp.float32),
        ema=averaged,
    )


@dataclasses.dataclass(frozen=True)
class Setup:
    """Everything that is compiled into a step, except the data.

    Attributes:
      config: the run's.
      model: with BatchNorm over the global batch, as trained.
      inference_model: the same without a mapped axis.
      groups: {layer: "frozen", "backbone" or "head"}, {} when all layers are trained alike.
      learning_rate: of the step; the head's where the backbone has its own.
      optimizer: from optax.
      warp_off_step: the first step whose images are not warped, see `config.augment.no_warp_fraction`.
      platform: of the devices that train, see `fer_jax.ops`; None is JAX's default backend.
    """

    config: ConfigDict
    model: Network
    inference_model: Network
    groups: dict[str, str]
    learning_rate: optax.Schedule
    optimizer: optax.GradientTransformation
    warp_off_step: int
    platform: str | None = None

    def fresh_state(self, label_names: Sequence[str] = ()) -> TrainState:
        """The state at step 0: random weights of `config.seed`, or `config.model.pretrained`.

        `label_names` are those of the logits, by which the head of pretrained weights is taken.
        """
        model, state = self.config.model, self._fresh(jax.random.key(self.config.seed))
        if not model.pretrained:
            return state
        variables = {"params": state.params, "batch_stats": state.batch_stats}
        variables, fresh = pretrained.load(model.pretrained, model.name, variables, label_names)
        logging.info("weights of %s; untrained: %s", model.pretrained, ", ".join(fresh) or "none")
        return jax.jit(self._of_variables)(variables)

    @functools.cached_property
    def state_shapes(self) -> TrainState:
        """The shapes of `fresh_state`, as `jax.ShapeDtypeStruct`s: no memory, no computation."""
        return jax.eval_shape(self._fresh, jax.eval_shape(jax.random.key, 0))

    @functools.cached_property
    def _fresh(self) -> Callable[[jax.Array], TrainState]:
        images = jnp.zeros((1, *registry.input_shape(self.config)), jnp.float32)
        # "plain" makes the same variables, and is the quickest to trace.
        model = self.inference_model.clone(implementation="plain")
        # One program, for op by op takes longer; and hardly optimized, for it runs once: compiling it in full took
        # 6.7 s of a CPU, so 1.8 s, with the same bits. Kept, so that it is traced once for state and shapes.
        return jax.jit(
            lambda key: self._of_variables(model.init(key, images, False)),
            compiler_options=COMPILE_QUICKLY,
        )

    def _of_variables(self, variables: Tree) -> TrainState:
        return from_variables(variables, self.optimizer, ema=self.config.optim.averaging != "none")


def create(
    config: ConfigDict,
    num_classes: int,
    total_steps: int = 1,
    steps_per_epoch: int = 1,
    platform: str | None = None,
) -> Setup:
    """The setup of `config` for a run of `total_steps`; without the steps it can only name the shapes of a state.

    `platform` is that of the devices that train; None is JAX's default backend.

    Raises:
      UserError: an unknown network, argument or layer name.
    """
    axis_name = AXIS if config.parallel.sync_batchnorm else None
    model = registry.from_config(config, num_classes, axis_name=axis_name, platform=platform)
    inference_model = registry.from_config(config, num_classes, platform=platform)
    groups = {}
    if config.optim.trainable_from or config.optim.backbone_learning_rate:
        groups = network.layer_groups(inference_model, registry.input_shape(config), config.optim.trainable_from)
    learning_rate = optim.schedule(config.optim, total_steps, steps_per_epoch)
    if not groups:
        optimizer = optim.create(config.optim, learning_rate, platform)
    else:
        backbone = config.optim.copy_and_resolve_references()
        backbone.learning_rate = backbone.backbone_learning_rate or backbone.learning_rate
        optimizer = optax.multi_transform(
            {
                "frozen": optax.set_to_zero(),
                "backbone": optim.create(backbone, optim.schedule(backbone, total_steps, steps_per_epoch), platform),
                "head": optim.create(config.optim, learning_rate, platform),
            },
            lambda params: network.labels_of_groups(params, groups),
        )
    return Setup(
        config,
        model,
        inference_model,
        groups,
        learning_rate,
        optimizer,
        warp_off_step=total_steps - round(config.augment.no_warp_fraction * total_steps),
        platform=platform,
    )
