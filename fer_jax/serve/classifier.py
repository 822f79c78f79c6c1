"""A bundle as a function from face crops to expressions."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from fer_jax.bundle import manifest
from fer_jax.bundle import prior as priors
from fer_jax.bundle import runtime as runtimes
from fer_jax.bundle.formats import GRAPHS
from fer_jax.errors import UserError
from fer_jax.preprocess import images as image_files

RUNTIMES = (*GRAPHS, "jax")  # another name of "stablehlo"
TTA = ("none", "flip")


def resolved_tta(choice: str, still: bool) -> str:
    """One of `TTA` for what a user chose: "auto" is "flip" for pictures, `still`, and "none" for videos."""
    return ("flip" if still else "none") if choice == "auto" else choice


@dataclasses.dataclass(frozen=True)
class Prediction:
    """The expression of one face.

    Attributes:
      names: the classes in order.
      probabilities: float32 (classes,), summing to 1.
      label: the most probable name.
      uncertain: whether its probability is below what the bundle calls certain.
    """

    names: tuple[str, ...]
    probabilities: np.ndarray
    label: str
    uncertain: bool


def _check_crops(crops: Any) -> None:
    """UserError, saying which crop it is and what to do, unless these are what `Classifier.prepare` takes."""
    if isinstance(crops, np.ndarray) and crops.ndim < 4:
        raise UserError(f"one array of shape {crops.shape} where a list of images was expected: give [image]")
    if crops is None or isinstance(crops, str | bytes | os.PathLike):
        raise UserError(f"{crops!r} where a list of images was expected: read them with cv2.imread or cv2.VideoCapture")
    for i, crop in enumerate(crops):
        if crop is None:
            raise UserError(f"image {i} is None: a read failed, such as cv2.imread of a path where there is no image")
        if not isinstance(crop, np.ndarray):
            raise UserError(f"image {i} is a {type(crop).__name__}: expected a NumPy array, uint8 (H, W) or (H, W, 3)")
        if crop.dtype != np.uint8:
            raise UserError(f"image {i} is {crop.dtype} {crop.shape}: expected uint8 in 0..255; scale and convert it")
        if crop.ndim not in (2, 3) or crop.shape[2:] not in ((), (1,), (3,)):
            raise UserError(
                f"image {i} has the shape {crop.shape}: expected (H, W) or (H, W, 1), gray, or (H, W, 3), BGR; drop an "
                "alpha channel by image[..., :3]"
            )
        if not crop.size:
            raise UserError(f"image {i} has the shape {crop.shape} and no pixels: expected a part of a frame")


class Classifier:
    """The network of a bundle, with its preprocessing and calibration.

    Attributes:
      bundle: what was read.
      labels: names of the classes in order.
      shift: float32 (classes,), added to the logits for the given prior; 0 without one.
      has_maps: whether it also tells where a face shows what, see `classify`.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        runtime: str = "onnx",
        threads: int = runtimes.THREADS,
        prior: str = "",
        device: str = "auto",
    ):
        """Read and check a bundle and load one of its graphs.

        Args:
          path: folder of the bundle.
          runtime: "onnx", "int8" or "float16" run that graph in ONNX Runtime, "stablehlo" (or "jax") runs on
            JAX's default device.
          threads: maximum number of ONNX Runtime threads among which the faces of one call are divided on the CPU.
          prior: shares of the classes among the faces to come, see `fer_jax.bundle.prior.parse`: "flat", or such as
            "happy:0.3,neutral:0.4". "" takes the bundle's own, or else those of the training data.
          device: where ONNX Runtime runs the graph, one of `fer_jax.bundle.formats.DEVICES`.

        Raises:
          UserError: no bundle, not a whole one, or none for this runtime or device; `prior` is none, or the bundle
            does not say what it was trained on.
        """
        if runtime not in RUNTIMES:
            raise UserError(f"unknown runtime {runtime!r}: expected one of {', '.join(RUNTIMES)}")
        self.bundle = manifest.read(path)
        self.labels = self.bundle.labels
        self.shift = np.zeros(len(self.labels), np.float32)
        if prior := prior or self.bundle.provenance.get("prior", ""):
            trained = priors.trained_shares(self.labels, self.bundle.provenance, self.bundle.path)
            self.shift = priors.parse(prior, self.labels, trained).shift
        self._run = runtimes.open_bundle(self.bundle, "stablehlo" if runtime == "jax" else runtime, threads, device)
        spec = self.bundle.input
        self.has_maps = "class_maps" in self._run(np.zeros((1, spec.size, spec.size, spec.channels), np.uint8))

    def __call__(self, crops: Sequence[np.ndarray]) -> list[Prediction]:
        """Classify N crops, as `prepare` takes them, in one batch."""
        return [
            Prediction(self.labels, row, self.labels[row.argmax()], self.is_uncertain(row))
            for row in self.probabilities(crops)
        ]

    def probabilities(self, crops: Sequence[np.ndarray]) -> np.ndarray:
        """float32 (N, classes), rows summing to 1: softmax(logits / temperature) of N crops, for the given prior."""
        return self.classify(crops)[0]

    def classify(self, crops: Sequence[np.ndarray], tta: str = "none") -> tuple[np.ndarray, np.ndarray | None]:
        """Classify N crops.

        Args:
          crops: see `prepare`.
          tta: test-time augmentation, one of `TTA`: "flip" averages the logits of each face and of its mirror image,
            at twice the network's time.

        Returns:
          the probabilities, see there, and class activation maps float32 (N, h, w, classes), whose mean over the places
          is the logits; None in their place where the network has none or N is 0.
        """
        outputs = self._augmented(self.prepare(crops), tta)
        scaled = outputs["logits"] / self.bundle.temperature + self.shift
        scaled -= scaled.max(axis=1, keepdims=True)
        exponentials = np.exp(scaled)
        return exponentials / exponentials.sum(axis=1, keepdims=True), outputs.get("class_maps")

    def is_uncertain(self, probabilities: np.ndarray, face_score: float = 1.0) -> bool:
        """Return whether a face's most probable name is less probable than what the bundle calls certain.

        Args:
          probabilities: (classes,), given that it is a face.
          face_score: how likely it is one, see `fer_jax.faces.detection.Face`; the two are multiplied.
        """
        return bool(face_score * probabilities.max() < self.bundle.uncertain_below)

    def prepare(self, crops: Sequence[np.ndarray]) -> np.ndarray:
        """The pixels the network takes, made by the same function as its training data.

        Args:
          crops: list of N images, uint8 (H, W) or (H, W, 1) gray, or (H, W, 3) BGR, each of any size; or an array
            (N, H, W, C) of them.

        Returns:
          uint8 (N, size, size, channels).

        Raises:
          UserError: one image where a list of them was meant, or a crop of another kind or without pixels.
        """
        spec = self.bundle.input
        _check_crops(crops)
        return image_files.fit_all(
            (cv2.cvtColor(crop, cv2.COLOR_BGR2RGB) if crop.shape[2:] == (3,) else crop for crop in crops),
            len(crops),
            spec,
        )

    def logits(self, pixels: np.ndarray) -> np.ndarray:
        """float32 (N, classes) before temperature and softmax, of uint8 (N, size, size, channels)."""
        return self._outputs(pixels)["logits"]

    def _augmented(self, pixels: np.ndarray, tta: str) -> dict[str, np.ndarray]:
        if tta not in TTA:
            raise UserError(f"unknown test-time augmentation {tta!r}: expected one of {', '.join(TTA)}")
        if tta == "none" or not len(pixels):
            return self._outputs(pixels)
        both = self._outputs(np.concatenate([pixels, pixels[:, :, ::-1]]))
        if "class_maps" in both:
            both["class_maps"][len(pixels) :] = both["class_maps"][len(pixels) :, :, ::-1].copy()
        return {name: (values[: len(pixels)] + values[len(pixels) :]) / 2 for name, values in both.items()}

    def _outputs(self, pixels: np.ndarray) -> dict[str, np.ndarray]:
        # a frame of a crowd goes through in pieces, so that memory does not follow it
        pieces = [self._run(pixels[i : i + runtimes.BATCH]) for i in range(0, len(pixels), runtimes.BATCH)]
        if not pieces:
            return {"logits": np.empty((0, len(self.labels)), np.float32)}
        return {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}
