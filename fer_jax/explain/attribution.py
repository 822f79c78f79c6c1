"""Evidence for an expression in a face: class activation maps, Grad-CAM, and occlusion, which checks the other two.

Each takes scaled inputs float32 (N, H, W, C), as the network gets them, and the classes int (N,) to explain, and gives
float32 maps: positive is evidence for the class, negative against it. What is explained is the class's score, its
logit less the mean of all logits, since what raises all alike changes no probability. (On 48 faces of FER2013 and the
published mini-Xception, class activation maps of the score agree with occlusion by 0.14, those of the logit by 0.09.)
"""

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from scipy.stats import spearmanr

from fer_jax.errors import UserError
from fer_jax.models import network as models

WINDOWS_A_SIDE = 6  # an occluding square is a sixth of the face wide, about an eye or half a mouth


@dataclasses.dataclass(frozen=True)
class Network:
    """A trained network: `model.apply(variables, inputs, False)`, in inference throughout."""

    model: models.Network
    variables: Any

    def logits(self, inputs: jax.Array) -> jax.Array:
        """float32 (N, classes)."""
        return cast(jax.Array, self.model.apply(self.variables, inputs, False))

    def sown(self, inputs: jax.Array) -> dict[str, jax.Array]:
        """Return what the network sows: "features" and, where it pools them into logits, "class_maps"."""
        state: Any = self.model.apply(self.variables, inputs, False, mutable=["intermediates"])[1]
        return {name: values[0] for name, values in state["intermediates"].items()}


def class_activation(network: Network, inputs: jax.Array, classes: jax.Array) -> jax.Array:
    """The class's map (N, h, w) before pooling, whose mean is the score; no gradient is needed.

    Zhou et al., "Learning Deep Features for Discriminative Localization" (2016). UserError for a network whose logits
    are not the mean of maps.
    """
    maps = network.sown(inputs).get("class_maps")
    if maps is None:
        raise UserError(
            f"{type(network.model).__name__} does not pool maps into logits and has no class activation "
            "maps: use grad_cam"
        )
    return _score(maps, classes)


def grad_cam(network: Network, inputs: jax.Array, classes: jax.Array) -> jax.Array:
    """The last maps before the head, each weighted by the mean gradient of the score, summed and cut at 0: (N, h, w).

    Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization" (2017).
    """
    shape = jax.eval_shape(lambda: network.sown(inputs)["features"])

    def score(perturbation: jax.Array) -> tuple[jax.Array, jax.Array]:
        variables = network.variables | {"perturbations": {"features": perturbation}}
        applied: Any = network.model.apply(variables, inputs, False, mutable=["intermediates"])
        logits, state = applied
        return _score(logits, classes).sum(), state["intermediates"]["features"][0]

    gradient, features = jax.grad(score, has_aux=True)(jnp.zeros(shape.shape, shape.dtype))
    weights = gradient.mean(axis=(1, 2), keepdims=True)
    return nn.relu((weights * features).sum(axis=-1))


def occlusion(network: Network, inputs: jax.Array, classes: jax.Array) -> jax.Array:
    """Drop of the score when a square of the face's mean gray covers a place: (N, H, W).

    Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks" (2013). A pixel has the mean over the
    squares that cover it; they overlap by half.
    """
    height, width = inputs.shape[1:3]
    window = window_of((height, width))
    whole = _score(network.logits(inputs), classes)
    gray = inputs.mean(axis=(1, 2), keepdims=True)
    rows, columns = jnp.arange(height)[:, None], jnp.arange(width)

    def cover(sums: tuple[jax.Array, jax.Array], corner: jax.Array) -> tuple[tuple[jax.Array, jax.Array], None]:
        falls, covered = sums
        top, left = corner
        square = (rows >= top) & (rows < top + window) & (columns >= left) & (columns < left + window)
        fall = whole - _score(network.logits(jnp.where(square[:, :, None], gray, inputs)), classes)
        return (falls + fall[:, None, None] * square, covered + square), None

    corners = np.array([(y, x) for y in _starts(height, window) for x in _starts(width, window)])
    zeros = jnp.zeros(inputs.shape[:3]), jnp.zeros((height, width))
    (falls, covered), _ = lax.scan(cover, zeros, jnp.asarray(corners))
    return falls / covered


def window_of(size: tuple[int, int]) -> int:
    """Side in pixels of the squares that `occlusion` covers faces of `size` (H, W) with."""
    return max(2, min(size) // WINDOWS_A_SIDE)


METHODS: dict[str, Callable[[Network, jax.Array, jax.Array], jax.Array]] = {
    "class_activation": class_activation,
    "grad_cam": grad_cam,
    "occlusion": occlusion,
}


def methods_of(network: Network, inputs: jax.Array | jax.ShapeDtypeStruct) -> tuple[str, ...]:
    """The names of `METHODS` that this network allows."""
    pools = "class_maps" in jax.eval_shape(network.sown, inputs)
    return tuple(name for name in METHODS if pools or name != "class_activation")


def agreement(maps: np.ndarray, others: np.ndarray) -> float:
    """Mean over faces of Spearman's rank correlation of two sets of maps (N, H, W), -1..1; a constant map counts 0."""
    correlations: list[Any] = [
        spearmanr(a.ravel(), b.ravel())[0] if np.ptp(a) > 0 and np.ptp(b) > 0 else 0.0
        for a, b in zip(maps, others, strict=True)
    ]
    return float(np.mean(correlations))


def _score(values: jax.Array, classes: jax.Array) -> jax.Array:
    """Logits or maps (N, ..., classes) of one class each, less the mean over the classes: (N, ...)."""
    index = classes.reshape(-1, *[1] * (values.ndim - 1))
    return jnp.take_along_axis(values, index, axis=-1)[..., 0] - values.mean(axis=-1)


def _starts(side: int, window: int) -> Iterable[int]:
    return sorted({*range(0, side - window + 1, max(1, window // 2)), side - window})
