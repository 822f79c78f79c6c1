"""The evidence for the predicted class of faces, by the methods of `attribution`, and a sheet of them as a PNG file."""

import dataclasses
import functools
import os
from collections.abc import Callable, Sequence

import cv2
import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
from matplotlib.figure import Figure
from ml_collections import ConfigDict
from scipy.special import softmax

from fer_jax import config as configs
from fer_jax import files
from fer_jax.bundle import manifest as bundles
from fer_jax.bundle import weights
from fer_jax.errors import UserError
from fer_jax.experiments.run import load_run
from fer_jax.explain import attribution
from fer_jax.explain.attribution import METHODS, Network
from fer_jax.models import registry
from fer_jax.preprocess import scaling
from fer_jax.report import plots

FACES_AT_ONCE = 32
CELL_INCHES = 1.5
SIGNED = matplotlib.colormaps["RdBu_r"]  # red is evidence for the class, blue against it


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
        return attribution.methods_of(self.network, jax.ShapeDtypeStruct((1, *shape), jnp.float32))


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
    window = attribution.window_of(explained.images.shape[1:3])

    def smooth(method: str) -> np.ndarray:
        blurred = [cv2.blur(one, (window, window), borderType=cv2.BORDER_REFLECT) for one in explained.maps[method]]
        return np.stack(blurred)

    reference = smooth("occlusion")
    return {
        method: attribution.agreement(smooth(method), reference) for method in explained.maps if method != "occlusion"
    }


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
