"""What a config makes of a network: the network with its frozen layers, its optimiser, and the state it starts from."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import optax
from absl import logging
from ml_collections import ConfigDict

from fer_jax.distributed.parallel import AXIS
from fer_jax.models import freezing, pretrained, registry
from fer_jax.models.network import Network
from fer_jax.training import optim, state
from fer_jax.training.state import TrainState


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
      platform: of the devices that train, see `fer_jax.ops.platforms`; None is JAX's default backend.
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
        config, shape = self.config, registry.input_shape(self.config)
        variables = state.initial_variables(self.inference_model, shape, config.seed)
        if config.model.pretrained:
            variables, fresh = pretrained.load(config.model.pretrained, config.model.name, variables, label_names)
            logging.info("weights of %s; untrained: %s", config.model.pretrained, ", ".join(fresh) or "none")
        return state.from_variables(variables, self.optimizer, ema=optim.averages(config.optim))

    def state_shapes(self) -> TrainState:
        """What `fresh_state` would give, as `jax.ShapeDtypeStruct`s: the template for reading a checkpoint."""
        return state.shapes(
            self.inference_model,
            self.optimizer,
            registry.input_shape(self.config),
            ema=optim.averages(self.config.optim),
        )


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
        groups = freezing.layer_groups(inference_model, registry.input_shape(config), config.optim.trainable_from)
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
            lambda params: freezing.labels(params, groups),
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
