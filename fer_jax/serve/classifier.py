"""A bundle as a function from face crops to expressions."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence

import cv2
import numpy as np

from fer_jax.bundle import manifest
from fer_jax.bundle import runtime as runtimes
from fer_jax.errors import UserError
from fer_jax.preprocess import images as image_files

RUNTIMES = {"onnx": "onnx", "int8": "int8", "float16": "float16", "jax": "stablehlo"}  # and the file each runs


@dataclasses.dataclass(frozen=True)
class Prediction:
    """What one face shows.

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


class Classifier:
    """The network of a bundle, with its preprocessing and calibration.

    Attributes:
      bundle: what was read.
      labels: names of the classes in order.
      has_maps: whether it also tells where a face shows what, see `classify`.
    """

    def __init__(self, path: str | os.PathLike, runtime: str = "onnx", threads: int = runtimes.THREADS):
        """Read and check a bundle and load one of its graphs.

        Args:
          path: folder of the bundle.
          runtime: "onnx", "int8" or "float16" run that graph in ONNX Runtime on the CPU, "jax" the StableHLO on JAX'
            default device.
          threads: over so many, at most, ONNX Runtime divides the faces of one call.

        Raises:
          UserError: no bundle, not a whole one, or none for this runtime.
        """
        if runtime not in RUNTIMES:
            raise UserError(f"unknown runtime {runtime!r}: expected one of {', '.join(RUNTIMES)}")
        self.bundle = manifest.read(path)
        self.labels = self.bundle.labels
        role = RUNTIMES[runtime]
        self._run = runtimes.open_graph(self.bundle.file(role), role, threads)
        spec = self.bundle.input
        # also takes what the first run costs off the first frame
        self.has_maps = "class_maps" in self._run(np.zeros((1, spec.size, spec.size, spec.channels), np.uint8))

    def __call__(self, crops: Sequence[np.ndarray]) -> list[Prediction]:
        """What each crop shows; see `prepare` for what a crop may be. All go through the network as one batch."""
        return [
            Prediction(self.labels, row, self.labels[row.argmax()], self.is_uncertain(row))
            for row in self.probabilities(crops)
        ]

    def probabilities(self, crops: Sequence[np.ndarray]) -> np.ndarray:
        """float32 (N, classes), rows summing to 1: softmax(logits / temperature) of N crops."""
        return self.classify(crops)[0]

    def classify(self, crops: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray | None]:
        """What N crops show, and where.

        Returns:
          the probabilities, see there, and class activation maps float32 (N, h, w, classes), whose mean over the places
          is the logits; None in their place where the network has none or N is 0.
        """
        outputs = self._outputs(self.prepare(crops))
        scaled = outputs["logits"] / self.bundle.temperature
        scaled -= scaled.max(axis=1, keepdims=True)
        exponentials = np.exp(scaled)
        return exponentials / exponentials.sum(axis=1, keepdims=True), outputs.get("class_maps")

    def is_uncertain(self, probabilities: np.ndarray, face_score: float = 1.0) -> bool:
        """Whether a face's most probable name is less probable than what the bundle calls certain.

        Args:
          probabilities: (classes,), given that it is a face.
          face_score: how likely it is one, see `fer_jax.faces.detection.Face`; the two are multiplied.
        """
        return bool(face_score * probabilities.max() < self.bundle.uncertain_below)

    def prepare(self, crops: Sequence[np.ndarray]) -> np.ndarray:
        """The pixels the network takes, made by the same function as its training data.

        Args:
          crops: uint8 (H, W) or (H, W, 1) grey, or (H, W, 3) BGR, each of any size.

        Returns:
          uint8 (N, size, size, channels).

        Raises:
          ValueError: a crop of another kind, or without pixels.
        """
        spec = self.bundle.input
        for crop in crops:
            if (
                crop.dtype != np.uint8
                or crop.size == 0
                or crop.ndim not in (2, 3)
                or crop.shape[2:] not in ((), (1,), (3,))
            ):
                raise ValueError(f"a crop must be uint8 (H, W), (H, W, 1) or (H, W, 3), got {crop.dtype} {crop.shape}")
        return image_files.fit_all(
            (cv2.cvtColor(crop, cv2.COLOR_BGR2RGB) if crop.shape[2:] == (3,) else crop for crop in crops),
            len(crops),
            spec,
        )

    def logits(self, pixels: np.ndarray) -> np.ndarray:
        """float32 (N, classes) before temperature and softmax, of uint8 (N, size, size, channels)."""
        return self._outputs(pixels)["logits"]

    def _outputs(self, pixels: np.ndarray) -> dict[str, np.ndarray]:
        # a frame of a crowd goes through in pieces, so that memory does not follow it
        pieces = [self._run(pixels[i : i + runtimes.BATCH]) for i in range(0, len(pixels), runtimes.BATCH)]
        if not pieces:
            return {"logits": np.empty((0, len(self.labels)), np.float32)}
        return {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}
