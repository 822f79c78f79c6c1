"""Evidence for an expression in a face: class activation maps, Grad-CAM, and occlusion, which checks the other two.

Each of `METHODS` takes scaled inputs float32 (N, H, W, C), as the network gets them, and the classes int (N,) to
explain, and gives float32 maps: positive is evidence for the class, negative against it. What is explained is the
class's score, its logit less the mean of all logits, since what raises all alike changes no probability. (On 48 faces
of FER2013 and the published mini-Xception, class activation maps of the score agree with occlusion by 0.14, those of
the logit by 0.09.)
"""

import dataclasses
import functools
import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any, cast

import cv2
import flax.linen as nn
import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
from jax import lax
from matplotlib.figure import Figure
from ml_collections import ConfigDict
from scipy.special import softmax
from scipy.stats import spearmanr

from fer_jax import config as configs
from fer_jax import files
from fer_jax.bundle import manifest as bundles
from fer_jax.bundle import weights
from fer_jax.errors import UserError
from fer_jax.experiments.run import load_run
from fer_jax.models import network as networks
from fer_jax.models import registry
from fer_jax.preprocess import scaling
from fer_jax.report import plots

WINDOWS_A_SIDE = 6  # an occluding square is a sixth of the face wide, about an eye or half a mouth
FACES_AT_ONCE = 32
CELL_INCHES = 1.5
SIGNED = matplotlib.colormaps["RdBu_r"]  # red is evidence for the class, blue against it


@dataclasses.dataclass(frozen=True)
class Network:
    """A trained network: `model.apply(variables, inputs, False)`, in inference throughout."""

    model: networks.Network
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


@dataclasses.dataclass(frozen=True)
class Explainer:
    """A trained network with the preprocessing, names and calibration that explaining it takes.

    Attributes:
      network: for inference.
      config: of the run, whose `data` and `input` say what its images look like.
      label_names: in the order of the logits.
      temperature: probabilities are softmax(logits / temperature).
    """

    network: Network
    config: ConfigDict
    label_names: tuple[str, ...]
    temperature: float = 1.0

    def inputs(self, images: np.ndarray) -> jax.Array:
        """The network's input for uint8 images (N, size, size, C): float32, cropped and scaled."""
        return scaling.network_input(jnp.asarray(images), self.config.input.scaling, self.config.input.crop)

    def seen(self, images: np.ndarray) -> np.ndarray:
        """The part of the images (N, size, size, C) that the network sees."""
        return scaling.central_crop(images, self.config.input.crop)

    def logits(self, images: np.ndarray) -> np.ndarray:
        """float32 (N, classes) for uint8 images (N, size, size, C)."""
        return _in_batches(lambda inputs, _: self.network.logits(inputs), self, images, np.zeros(len(images), np.int32))

    @property
    def methods(self) -> tuple[str, ...]:
        """The names of `METHODS` that this network allows."""
        shape = registry.input_shape(self.config)
        return methods_of(self.network, jax.ShapeDtypeStruct((1, *shape), jnp.float32))


def of_run(workdir: str | os.PathLike) -> Explainer:
    """The best epoch of a run; UserError when the folder holds none."""
    run = load_run(workdir)
    return Explainer(Network(run.model, run.variables), run.config, run.label_names)


def of_bundle(path: str | os.PathLike) -> Explainer:
    """The network of a bundle, rebuilt from its weights; UserError for a bundle that is not whole or has none."""
    bundle = bundles.read(path)
    model = registry.create(bundle.model["name"], len(bundle.labels), bundle.model["args"])
    return Explainer(
        Network(model, weights.load(bundle)),
        configs.with_defaults(bundle.provenance["config"]),
        bundle.labels,
        bundle.temperature,
    )


@dataclasses.dataclass(frozen=True)
class Explained:
    """Faces with the evidence for the class predicted for each.

    Attributes:
      images: uint8 (N, H, W, C), the part that the network sees.
      predicted: int (N,).
      confidence: float (N,), the probability of the predicted class.
      labels: int (N,) true classes, or None where they are unknown.
      maps: {method: float32 (N, H, W)}, coarse ones interpolated.
    """

    images: np.ndarray
    predicted: np.ndarray
    confidence: np.ndarray
    labels: np.ndarray | None
    maps: dict[str, np.ndarray]


def explain(
    explainer: Explainer, images: np.ndarray, methods: Sequence[str], labels: np.ndarray | None = None
) -> Explained:
    """The evidence for the predicted class of each face of uint8 (N, size, size, C), by `methods`, names of `METHODS`.

    UserError for an unknown method, or one that the network does not allow.
    """
    for method in methods:
        if method not in explainer.methods:
            raise UserError(
                f"method {method!r}: expected some of {', '.join(explainer.methods)}"
                + (" (the network does not pool maps into logits)" if method in METHODS else "")
            )
    logits = explainer.logits(images).astype(np.float64)
    predicted = logits.argmax(axis=1)
    seen = np.asarray(explainer.seen(images))
    maps = {}
    for method in methods:
        coarse = _in_batches(functools.partial(METHODS[method], explainer.network), explainer, images, predicted)
        maps[method] = np.stack(  # bilinear between the centers of the coarse cells
            [cv2.resize(one.astype(np.float32), seen.shape[2:0:-1], interpolation=cv2.INTER_LINEAR) for one in coarse]
        )
    confidence = softmax(logits / explainer.temperature, axis=1).max(axis=1)
    return Explained(seen, predicted, confidence, labels, maps)


def agreement_with_occlusion(explained: Explained) -> dict[str, float]:
    """Spearman's correlation of each method's maps with those of occlusion, mean over the faces.

    All maps are averaged over squares of the occluding size first, since occlusion cannot see finer.
    """
    window = window_of(explained.images.shape[1:3])

    def smooth(method: str) -> np.ndarray:
        blurred = [cv2.blur(one, (window, window), borderType=cv2.BORDER_REFLECT) for one in explained.maps[method]]
        return np.stack(blurred)

    reference = smooth("occlusion")
    return {method: agreement(smooth(method), reference) for method in explained.maps if method != "occlusion"}


def _in_batches(
    function: Callable[[jax.Array, jax.Array], jax.Array], explainer: Explainer, images: np.ndarray, classes: np.ndarray
) -> np.ndarray:
    """`function(inputs, classes)` of all images, compiled once: the last batch is filled up."""
    compiled = jax.jit(function)
    batch = min(FACES_AT_ONCE, len(images))
    parts = []
    for start in range(0, len(images), batch):
        rows = np.arange(start, start + batch).clip(max=len(images) - 1)
        parts.append(np.asarray(compiled(explainer.inputs(images[rows]), jnp.asarray(classes[rows]))))
    return np.concatenate(parts)[: len(images)]


def save_faces(path: str | os.PathLike, explained: Explained, label_names: Sequence[str]) -> None:
    """One row a face: the face, then its map by each method."""
    columns = ["", *explained.maps]
    with files.atomic_path(path) as tmp, plots.style():
        rows = len(explained.images)
        figure = Figure((CELL_INCHES * len(columns) + 0.4, CELL_INCHES * rows + 0.4), layout="constrained")
        grid = figure.subplots(rows, len(columns), squeeze=False)
        for axes in grid.flat:
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
        for axes, title in zip(grid[0], columns, strict=True):
            axes.set_title(title.replace("_", "\n", 1).replace("_", " "), fontsize=8)
        for i, row in enumerate(grid):
            image = explained.images[i]
            face = np.broadcast_to(image, (*image.shape[:2], 3))
            row[0].imshow(face)
            text = f"{label_names[explained.predicted[i]]} {100 * explained.confidence[i]:.0f} %"
            if explained.labels is not None and explained.labels[i] != explained.predicted[i]:
                text += f"\n(is {label_names[explained.labels[i]]})"
            row[0].set_ylabel(text, fontsize=8)
            for axes, maps in zip(row[1:], explained.maps.values(), strict=True):
                axes.imshow(overlay(face, maps[i]))
        figure.savefig(tmp, dpi=120)


def overlay(face: np.ndarray, values: np.ndarray) -> np.ndarray:
    """A face uint8 (H, W, 3) tinted red where `values` float (H, W) are positive, blue where negative, uint8."""
    limit = float(np.quantile(np.abs(values), 0.99)) or 1.0  # a few pixels exceed all others by far
    share = np.clip(values / limit, -1, 1)[..., None]
    tint = 255 * SIGNED((share[..., 0] + 1) / 2)[..., :3]
    strength = 0.75 * np.abs(share)
    return np.round((1 - strength) * face + strength * tint).astype(np.uint8)
