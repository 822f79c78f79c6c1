"""The training step, as one device of an SPMD program sees them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib
from jax import lax

from fer_jax.data.augmentation import step_key, training_inputs
from fer_jax.distributed.parallel import AXIS
from fer_jax.models import freezing
from fer_jax.training.losses import cross_entropy
from fer_jax.training.setup import Learner
from fer_jax.training.state import TrainState

Tree = Any


def make_train_chunk(
    learner: Learner,
    fetch: Callable[[Tree, Tree], tuple[jax.Array, jax.Array]],
    adjustment: np.ndarray | float = 0.0,
    seeds: Sequence[int] = (),
) -> Callable:
    """Several training steps in one program: `chunk(state, resident, feed) -> (state, metrics)`.

    Args:
      fetch: a pipeline's, `fetch(resident, feed of one step)` gives uint8 images and float32 targets of this device.
      adjustment: (classes,), added to the logits in the loss, see `losses.logit_adjustment`.
      seeds: of several models that are trained together, each as if alone; () is one model of `config.seed`.

    Returns:
      A per-device function. Leaves of `feed` have the steps as their first axis. `metrics` has float32 (steps,)
      arrays over the global batch: "loss" (mean, with label smoothing and mixing as trained), "correct" (examples
      whose largest logit is the largest target) and "gradient_norm". With `seeds`, the leaves of the state have the
      models as their first axis, those of `feed` and `metrics` as their second.
    """
    config, model, optimizer = learner.config, learner.model, learner.optimizer
    ema_decay, radius, smoothing = config.optim.ema_decay, config.optim.sam_radius, config.loss.label_smoothing

    def step(
        state: TrainState, resident: Tree, feed: Tree, seed: int | jax.Array
    ) -> tuple[TrainState, dict[str, jax.Array]]:
        images, targets = fetch(resident, feed)
        positions = lax.axis_index(AXIS) * images.shape[0] + jnp.arange(images.shape[0])
        sharp = state.step >= learner.sharp_from if config.augment.sharp_share else False
        images, targets = training_inputs(config, images, targets, state.step, positions, seed, sharp)
        dropout_key = jax.random.fold_in(step_key(seed, state.step, "dropout"), lax.axis_index(AXIS))

        def loss_of(params: Tree) -> tuple[jax.Array, tuple[jax.Array, Tree]]:
            with freezing.frozen_layers(learner.groups):
                logits, updated = model.apply(
                    {"params": params, "batch_stats": state.batch_stats},
                    images,
                    True,
                    mutable=["batch_stats"],
                    rngs={"dropout": dropout_key},
                )
            loss = cross_entropy(logits + adjustment, targets, smoothing).mean()
            return loss, (logits, updated.get("batch_stats", {}))

        loss_and_gradient = jax.value_and_grad(loss_of, has_aux=True)
        (loss, (logits, batch_stats)), grads = loss_and_gradient(state.params)
        if radius:
            # Foret et al., "Sharpness-Aware Minimization" (2021): the gradient where the loss is about the worst near
            # by. The ascent is the global batch's, else the number of devices would change the result.
            ascent = lax.pmean(grads, AXIS)
            reach = radius / (optax.tree.norm(ascent) + 1e-12)
            _, grads = loss_and_gradient(optax.apply_updates(state.params, optax.tree.scale(reach, ascent)))
        correct = jnp.sum(logits.argmax(-1) == targets.argmax(-1), dtype=jnp.float32)
        # Without synchronised BatchNorm the devices' running statistics differ: averaged, they are one state again.
        # The count travels with them as a mean, for a message costs more than what is in it.
        grads, loss, batch_stats, correct = lax.pmean((grads, loss, batch_stats, correct), AXIS)
        correct = jnp.round(correct * lax.axis_size(AXIS))
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, jax.tree.map(lambda u: u * state.lr_scale, updates))
        ema = state.ema
        if config.optim.schedule == "free":
            averaged = optax.contrib.schedule_free_eval_params(opt_state, params)
            ema = {"params": averaged, "batch_stats": batch_stats}
        elif ema_decay:
            # Early steps count more (as TensorFlow's num_updates), else the random start would linger.
            decay = jnp.minimum(ema_decay, (1 + state.step) / (10 + state.step))
            ema = optax.incremental_update({"params": params, "batch_stats": batch_stats}, ema, 1 - decay)
        state = TrainState(
            step=state.step + 1,
            params=params,
            batch_stats=batch_stats,
            opt_state=opt_state,
            lr_scale=state.lr_scale,
            ema=ema,
        )
        return state, {"loss": loss, "correct": correct, "gradient_norm": optax.tree.norm(grads)}

    def chunk(state: TrainState, resident: Tree, feed: Tree) -> tuple[TrainState, dict[str, jax.Array]]:
        def one(state: TrainState, feed: Tree) -> tuple[TrainState, dict[str, jax.Array]]:
            if not seeds:
                return step(state, resident, feed, config.seed)
            return jax.vmap(step, in_axes=(0, None, 0, 0))(state, resident, feed, jnp.asarray(seeds))

        return lax.scan(one, state, feed)

    return chunk
