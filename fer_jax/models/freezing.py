"""Choice of the layers that are trained; the others stay exactly as they are."""

import contextlib
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax

from fer_jax.errors import UserError
from fer_jax.models.layers import BatchNorm
from fer_jax.models.network import Network, is_head, layers_of

Groups = Mapping[str, str]


def layer_groups(model: Network, input_shape: tuple[int, ...], trainable_from: str) -> dict[str, str]:
    """{name of a layer with parameters: "frozen", "backbone" or "head"}, in the order they are called.

    Args:
      input_shape: (H, W, C) of one image.
      trainable_from: the beginning of a layer's name, such as "block5"; the layers before the first that has it are
        frozen. "" freezes none, "last" all before the last stage, such as block4 with its convolutions, and the head.

    Raises:
      UserError: no layer's name begins so; the message lists the names.
    """
    names = [layer.name for layer in layers_of(model, input_shape) if layer.trained]
    if trainable_from == "last":
        trainable_from = [name.partition("_")[0] for name in names if not is_head(name)][-1]
    first = next((i for i, name in enumerate(names) if name.startswith(trainable_from)), None)
    if first is None:
        raise UserError(
            f"config.optim.trainable_from is {trainable_from!r}: expected last, or the beginning of one of "
            f"{', '.join(names)}"
        )
    return {name: "frozen" if i < first else "head" if is_head(name) else "backbone" for i, name in enumerate(names)}


def labels(params: Mapping[str, Any], groups: Groups) -> dict[str, Any]:
    """A tree like `params` of group names, as `optax.multi_transform` takes it."""
    return {layer: jax.tree.map(lambda _, group=groups[layer]: group, tree) for layer, tree in params.items()}


def frozen_layers(groups: Groups) -> contextlib.AbstractContextManager[None]:
    """Context in which a network applied for training leaves the frozen layers alone.

    Their BatchNorm normalizes with its running statistics and does not update them, and no gradient passes their
    outputs, so that the backward pass ends where the trained layers begin. The gradients of their parameters are 0.
    """

    def intercept(call: Any, args: tuple, kwargs: dict, context: nn.module.InterceptorContext) -> Any:
        path = context.module.path
        if len(path) != 1 or groups.get(path[0]) != "frozen":
            return call(*args, **kwargs)
        if isinstance(context.module, BatchNorm):
            images, _ = args
            args = (images, False)
        return jax.lax.stop_gradient(call(*args, **kwargs))

    return nn.intercept_methods(intercept)
