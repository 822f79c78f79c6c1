"""The one function that every exported format holds: raw pixels in, logits and class activation maps out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from fer_jax.bundle.manifest import Input
from fer_jax.export import folding
from fer_jax.preprocess import crop

OUTPUTS = ("logits", "class_maps")  # in this order; the second where the network has one


def inference(model: nn.Module, variables: Any, spec: Input) -> Callable[[jax.Array], dict[str, jax.Array]]:
    """The trained network as a function of pixels, its weights held as constants, BatchNorm folded into them.

    Args:
      model: made with `implementation="plain"` and in float32: what is exported uses XLA's own operations only.
      variables: {"params", "batch_stats"?} of `model`.
      spec: the images, and the scaling and the central square, which become part of the function.

    Returns:
      uint8 (batch, size, size, channels) to {"logits": float32 (batch, classes)} and, where the network sows it,
      "class_maps": float32 (batch, h, w, classes), whose mean over h and w is the logits.
    """
    side = spec.seen or spec.size
    one_image = jax.ShapeDtypeStruct((1, side, side, spec.channels), jnp.float32)
    folded, scale_and_shift = folding.fold(model, variables, one_image)

    # or GPUs and TPUs would compute with fewer bits, and a bundle give other probabilities on each machine
    @jax.default_matmul_precision("highest")
    def infer(images: jax.Array) -> dict[str, jax.Array]:
        pixels = crop.network_input(images, spec.scaling, side, constant_rank=4)
        with nn.intercept_methods(scale_and_shift):
            logits, state = model.apply(folded, pixels, False, mutable=["intermediates"])
        sown = state.get("intermediates", {})
        return {"logits": logits} | {key: sown[key][0] for key in ("class_maps",) if key in sown}

    return infer


def symbolic_images(spec: Input) -> jax.ShapeDtypeStruct:
    """The shape of the argument, its batch a symbol so that one graph takes any number of faces."""
    (batch,) = jax.export.symbolic_shape("batch")
    return jax.ShapeDtypeStruct((batch, spec.size, spec.size, spec.channels), jnp.uint8)
