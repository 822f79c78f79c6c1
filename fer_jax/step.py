"""The training and evaluation steps, as one device of an SPMD program sees them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jax import lax
from ml_collections import ConfigDict

from fer_jax.data import scaling
from fer_jax.data.augment import augment, central_crop, random_crop
from fer_jax.learner import Learner
from fer_jax.losses import cross_entropy
from fer_jax.models import freezing
from fer_jax.parallel import AXIS
from fer_jax.state import TrainState

Tree = Any


def make_train_chunk(learner: Learner, fetch: Callable[[Tree, Tree], tuple[jax.Array, jax.Array]]) -> Callable:
    """Several training steps in one program: `chunk(state, resident, feed) -> (state, metrics)`.

    Args:
      fetch: a pipeline's, `fetch(resident, feed of one step)` gives uint8 images and float32 targets of this device.

    Returns:
      A per-device function. Leaves of `feed` have the steps as their first axis. `metrics` has float32 (steps,)
      arrays over the global batch: "loss" (mean, with label smoothing and mixing as trained), "correct" (examples
      whose largest logit is the largest target) and "gradient_norm".
    """
    config, model, optimizer = learner.config, learner.model, learner.optimizer
    factor, offset = scaling.factor_and_offset(config.input.scaling)
    seed, ema_decay, smoothing = config.seed, config.optim.ema_decay, config.loss.label_smoothing

    def step(state: TrainState, resident: Tree, feed: Tree) -> tuple[TrainState, dict[str, jax.Array]]:
        images, targets = fetch(resident, feed)
        local_batch = images.shape[0]
        augment_key, crop_key, dropout_key = jax.random.split(jax.random.fold_in(jax.random.key(seed), state.step), 3)
        # Keyed by the position in the global batch: the same images whatever the number of devices.
        positions = lax.axis_index(AXIS) * local_batch + jnp.arange(local_batch)
        images, targets = augment(config.augment, images, targets, _fold_each(augment_key, positions))
        if config.input.crop:
            images = random_crop(images, config.input.crop, _fold_each(crop_key, positions))
        images = images * factor + offset

        def loss_of(params: Tree) -> tuple[jax.Array, tuple[jax.Array, Tree]]:
            with freezing.frozen_layers(learner.groups):
                logits, updated = model.apply(
                    {"params": params, "batch_stats": state.batch_stats}, images, True, mutable=["batch_stats"],
                    rngs={"dropout": jax.random.fold_in(dropout_key, lax.axis_index(AXIS))})
            return cross_entropy(logits, targets, smoothing).mean(), (logits, updated.get("batch_stats", {}))

        (loss, (logits, batch_stats)), grads = jax.value_and_grad(loss_of, has_aux=True)(state.params)
        correct = jnp.sum(logits.argmax(-1) == targets.argmax(-1), dtype=jnp.float32)
        # Without synchronised BatchNorm the devices' running statistics differ: averaged, they are one state again.
        # The count travels with them as a mean, for a message costs more than what is in it.
        grads, loss, batch_stats, correct = lax.pmean((grads, loss, batch_stats, correct), AXIS)
        correct = jnp.round(correct * lax.axis_size(AXIS))
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, jax.tree.map(lambda u: u * state.lr_scale, updates))
        ema = state.ema
        if ema_decay:
            # Early steps count more (as TensorFlow's num_updates), else the random start would linger.
            decay = jnp.minimum(ema_decay, (1 + state.step) / (10 + state.step))
            ema = optax.incremental_update({"params": params, "batch_stats": batch_stats}, ema, 1 - decay)
        state = TrainState(step=state.step + 1, params=params, batch_stats=batch_stats, opt_state=opt_state,
                           lr_scale=state.lr_scale, ema=ema)
        return state, {"loss": loss, "correct": correct, "gradient_norm": optax.tree.norm(grads)}

    def chunk(state: TrainState, resident: Tree, feed: Tree) -> tuple[TrainState, dict[str, jax.Array]]:
        return lax.scan(lambda state, feed: step(state, resident, feed), state, feed)

    return chunk


def make_predict(model: nn.Module, config: ConfigDict) -> Callable:
    """`predict(variables, images) -> logits`: per-device function over several batches of uint8 images.

    `images` is uint8 (batches, b, H, W, C) of this device; the result is float32 (devices, batches, b, classes), the
    same on every device.
    """
    factor, offset = scaling.factor_and_offset(config.input.scaling)

    def predict(variables: Tree, images: jax.Array) -> jax.Array:
        def batch(_: None, x: jax.Array) -> tuple[None, jax.Array]:
            if config.input.crop:
                x = central_crop(x, config.input.crop)
            return None, model.apply(variables, x.astype(jnp.float32) * factor + offset, False)

        return lax.all_gather(lax.scan(batch, None, images)[1], AXIS)

    return predict


def _fold_each(key: jax.Array, positions: jax.Array) -> jax.Array:
    return jax.vmap(lambda position: jax.random.fold_in(key, position))(positions)
