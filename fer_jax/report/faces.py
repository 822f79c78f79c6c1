"""Choice of the faces that a report shows, and the pictures of them."""

import base64
import dataclasses
from collections.abc import Sequence

import cv2
import jax
import numpy as np
from ml_collections import ConfigDict

from fer_jax.data import sampler
from fer_jax.data.augmentation import training_inputs
from fer_jax.data.examples import Examples
from fer_jax.preprocess import scaling
from fer_jax.report.records import Predictions
from fer_jax.training.setup import COMPILE_QUICKLY

SHOWN = 32
MAX_PIXELS = 96  # a side of a picture in the page


@dataclasses.dataclass(frozen=True)
class Face:
    """One picture of a page: uint8 (H, W, C) with lines of text, and whether it is a correct prediction (or None)."""

    image: np.ndarray
    lines: tuple[str, ...]
    correct: bool | None = None

    @property
    def source(self) -> str:
        """The picture as a data: address."""
        image = self.image[..., ::-1] if self.image.shape[-1] == 3 else self.image  # OpenCV writes BGR
        if max(image.shape[:2]) > MAX_PIXELS:
            factor = MAX_PIXELS / max(image.shape[:2])
            image = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
        return "data:image/png;base64," + base64.b64encode(cv2.imencode(".png", image)[1].tobytes()).decode()


def predicted(examples: Examples, predictions: Predictions, indices: Sequence[int] | np.ndarray) -> list[Face]:
    """The faces at `indices` with what they are and what they were taken for."""
    found = []
    for i in indices:
        truth, guess = (examples.label_names[k] for k in (predictions.labels[i], predictions.predicted[i]))
        sure = f"{100 * predictions.confidence[i]:.0f} %"
        lines = (f"✓ {truth} {sure}",) if predictions.correct[i] else (f"✗ {guess} {sure}", f"is {truth}")
        found.append(Face(examples.images[i], lines, bool(predictions.correct[i])))
    return found


def sample(count: int, most: int = SHOWN) -> np.ndarray:
    """Indices of at most `most` of `count` faces, evenly spaced."""
    return np.linspace(0, count - 1, min(count, most)).round().astype(int)


def confident_mistakes(predictions: Predictions) -> np.ndarray:
    """Indices of the wrong predictions with the highest probability, highest first."""
    wrong = np.flatnonzero(~predictions.correct)
    return wrong[np.argsort(-predictions.confidence[wrong], kind="stable")][:SHOWN]


def least_certain(predictions: Predictions) -> np.ndarray:
    """Indices of the predictions with the lowest probability, lowest first."""
    return np.argsort(predictions.confidence, kind="stable")[:SHOWN]


def as_trained(config: ConfigDict, examples: Examples) -> tuple[list[Face], str]:
    """The first faces of the first training batch as the network got them, and the range of their values in words.

    What is shown is the network's input stretched from the range of its scaling to black and white.
    """
    train_set = examples.of_split(config.data.train_split)
    order = sampler.Order(config.seed, train_set.labels, config.data.sampling)
    batch = order.indices(0, 1, config.batch_size)[0][:SHOWN]
    first = train_set.take(batch)
    made = jax.jit(lambda *args: training_inputs(config, *args), compiler_options=COMPILE_QUICKLY)
    inputs, targets = map(np.asarray, made(np.asarray(first.images), first.targets(), 0, np.arange(len(batch))))
    factor, offset = scaling.factor_and_offset(config.input.scaling)
    words = f"values from {inputs.min():z.2f} to {inputs.max():z.2f}, mean {inputs.mean():z.2f}"
    shown = np.clip(np.round((inputs - offset) / factor), 0, 255).astype(np.uint8)
    return [
        Face(image, _target_lines(target, examples.label_names)) for image, target in zip(shown, targets, strict=True)
    ], words


def _target_lines(target: np.ndarray, label_names: Sequence[str]) -> tuple[str, ...]:
    order = [i for i in np.argsort(-target, kind="stable") if target[i] >= 0.05][:2]
    if target[order[0]] > 0.995:
        return (label_names[int(order[0])],)
    return tuple(f"{label_names[i]} {100 * target[i]:.0f} %" for i in order)
