"""Training steps, as one device of an SPMD program sees them."""

import collections
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from fer_jax.data.augmentation import crop_of, step_key, training_inputs, warp_of
from fer_jax.distributed.parallel import AXIS
from fer_jax.models.network import frozen_layers
from fer_jax.training.setup import Setup, TrainState

Tree = Any
MAX_MOMENTUM = 0.99  # of BatchNorm's running statistics
EMA_DECAY = 0.999  # weight of the old average of weights at each step
Loss = Callable[[Tree], tuple[jax.Array, tuple[jax.Array, Tree]]]


def make_chunk(
    setup: Setup,
    fetch: Callable[[Tree, Tree], tuple[jax.Array, jax.Array]],
) -> Callable:
    """`chunk(state, resident, feed) -> (state, metrics)`, a per-device function of as many steps as `feed` is long.

    Args:
      setup: network, optimizer and config.
      fetch: a pipeline's, `fetch(resident, feed of one step)` gives uint8 images and float32 targets of this device.

    Returns:
      The function. `metrics` has float32 (steps,) over the global batch: "loss" (mean, with label smoothing and mixing
      as trained), "correct" (examples whose largest logit is the largest target) and "gradient_norm".
    """
    config, optimizer = setup.config, setup.optimizer
    crop_at = crop_of(setup.platform)
    resample = warp_of(setup.platform, getattr(setup.model, "dtype", None))

    def step(
        state: TrainState, like: TrainState, resident: Tree, feed: Tree
    ) -> tuple[TrainState, dict[str, jax.Array]]:
        with jax.named_scope("fetch"):
            images, targets = fetch(resident, feed)
        positions = lax.axis_index(AXIS) * images.shape[0] + jnp.arange(images.shape[0])
        no_warp = state.step >= setup.warp_off_step if config.augment.no_warp_fraction else False
        with jax.named_scope("augmentation"):
            images, targets = training_inputs(
                config, images, targets, state.step, positions, no_warp, resample, crop_at
            )
        dropout_key = jax.random.fold_in(step_key(config.seed, state.step, "dropout"), lax.axis_index(AXIS))
        loss_of = _loss(setup, state, like, images, targets, dropout_key)
        (loss, (logits, batch_stats)), grads = jax.value_and_grad(loss_of, has_aux=True)(state.params)
        correct = jnp.sum(logits.argmax(-1) == targets.argmax(-1), dtype=jnp.float32)
        # Without synchronized BatchNorm the devices' statistics differ: averaged, they are one state again.
        # The count travels with them as a mean, since a message costs more than what is in it.
        grads, loss, batch_stats, correct = lax.pmean((grads, loss, batch_stats, correct), AXIS)
        correct = jnp.round(correct * lax.axis_size(AXIS))
        batch_stats = _running(state, batch_stats)
        with jax.named_scope("optimizer"):
            updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
            params = optax.apply_updates(state.params, jax.tree.map(lambda u: u * state.lr_scale, updates))
        state = TrainState(
            step=state.step + 1,
            params=params,
            batch_stats=batch_stats,
            opt_state=opt_state,
            lr_scale=state.lr_scale,
            ema=_averaged(state, {"params": params, "batch_stats": batch_stats}),
        )
        return state, {"loss": loss, "correct": correct, "gradient_norm": optax.tree.norm(grads)}

    def chunk(state: TrainState, resident: Tree, feed: Tree) -> tuple[TrainState, dict[str, jax.Array]]:
        packed = pack(state, setup.groups)
        packed, metrics = lax.scan(lambda packed, one: step(packed, state, resident, one), packed, feed)
        return unpack(packed, state, setup.groups), metrics

    return chunk


def _loss(
    setup: Setup, state: TrainState, like: TrainState, images: jax.Array, targets: jax.Array, dropout_key: jax.Array
) -> Loss:
    """The mean loss of this device's batch as a function of the packed parameters; beside it logits and statistics.

    `state` is packed, `like` has the shapes of what it is not packed.
    """
    smoothing = setup.config.loss.label_smoothing
    batch_stats = unpack(state.batch_stats, like.batch_stats, setup.groups)

    def loss_of(params: Tree) -> tuple[jax.Array, tuple[jax.Array, Tree]]:
        variables = {"params": unpack(params, like.params, setup.groups), "batch_stats": batch_stats}
        with frozen_layers(setup.groups):
            logits, updated = setup.model.apply(
                variables, images, True, mutable=["batch_stats"], rngs={"dropout": dropout_key}
            )
        wanted = optax.smooth_labels(targets, smoothing) if smoothing else targets
        loss = optax.softmax_cross_entropy(logits, wanted).mean()
        return loss, (logits, pack(updated.get("batch_stats", {}), setup.groups))

    return loss_of


def _running(state: TrainState, batch_stats: Tree) -> Tree:
    """BatchNorm's running statistics after a step whose batch has `batch_stats`.

    The momentum rises with the steps, so that the average spans the last tenth of them: a fixed 0.99 would still be at
    its start after the 60 steps that a small set takes. The statistics of a frozen layer are those it had, exactly.
    """
    momentum = jnp.minimum(MAX_MOMENTUM, (1 + state.step) / (10 + state.step))
    return jax.tree.map(
        lambda running, batch: running + (1 - momentum) * (batch - running), state.batch_stats, batch_stats
    )


def _averaged(state: TrainState, variables: Tree) -> Tree:
    """The exponential average of the variables after a step, {} where none is kept."""
    if not state.ema:
        return {}
    # Early steps count more (as TensorFlow's num_updates), or the random start would linger.
    decay = jnp.minimum(EMA_DECAY, (1 + state.step) / (10 + state.step))
    return optax.incremental_update(variables, state.ema, 1 - decay)


def pack(tree: Tree, groups: Mapping[str, str]) -> Tree:
    """The tree with each family of vectors joined in the place of its first; nothing is left in those of the others.

    Scales, biases, statistics and what optimizer and averages keep of them are a few numbers each, and a device takes
    as long to start an operation on one of them as on all. Of the state within a chunk they are one vector a kind.

    Vectors are a family where only the last two keys of their paths differ, a layer's and its own: in params, in
    statistics, in what an optimizer keeps like them. Layers of different `groups` are trained apart: no family.
    """
    leaves = jax.tree.leaves(tree)
    packed: list[Any] = [optax.MaskedNode()] * len(leaves)
    for family in _families(tree, groups):
        packed[family[0]] = jnp.concatenate([leaves[i] for i in family]) if len(family) > 1 else leaves[family[0]]
    return jax.tree.unflatten(jax.tree.structure(tree), packed)


def unpack(packed: Tree, like: Tree, groups: Mapping[str, str]) -> Tree:
    """The tree of the shapes of `like` whose `pack` is `packed`."""
    shapes, leaves = jax.tree.leaves(like), {}
    for family, joined in zip(_families(like, groups), jax.tree.leaves(packed), strict=True):
        ends = np.cumsum([shapes[i].size for i in family])[:-1]
        leaves |= zip(family, jnp.split(joined, ends) if len(family) > 1 else [joined], strict=True)
    return jax.tree.unflatten(jax.tree.structure(like), [leaves[i] for i in range(len(shapes))])


def _families(tree: Tree, groups: Mapping[str, str]) -> list[list[int]]:
    """Positions of the leaves by family, in the order of each one's first; what is no vector is alone."""
    families = collections.defaultdict(list)
    for i, (path, leaf) in enumerate(jax.tree_util.tree_leaves_with_path(tree)):
        layer = jax.tree_util.keystr(path[-2:-1], simple=True)
        families[(path[:-2], groups.get(layer)) if leaf.ndim == 1 else i].append(i)
    return list(families.values())
