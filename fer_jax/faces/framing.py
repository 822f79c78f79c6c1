"""How a data set frames its faces relative to a detector's boxes: the measurement behind `cropping.CROP`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np

from fer_jax.errors import UserError
from fer_jax.faces.detection import Detector

FACE_SIDES = (64, 96, 192)  # pixels that the images are resized to: typical sizes of faces in searched frames
SURROUNDINGS = 0.5  # of the side, repeated edge pixels around them: detectors need some context
MIN_SHARE = 0.4  # of the side; a smaller box is not the face the image shows


def calibrate(detector: Detector, images: np.ndarray) -> dict[str, Any]:
    """Find the faces in images that show one each, and measure how the images lie around the detector's boxes.

    Args:
      detector: asked for the largest face.
      images: uint8 (N, H, W, C), C of 1 or 3, as the network is trained on them.

    Returns:
      {"found": share of the images in which a face was found, over all sizes; "enlarge": {"median", "quartiles"};
      "right" and "down": the same for the offset}, in the units of a bundle's crop policy.

    Raises:
      UserError: no face in any image.
    """
    measured = []
    for side in FACE_SIDES:
        rim = round(side * SURROUNDINGS)
        for image in images:
            frame = cv2.resize(image, (side, side), interpolation=cv2.INTER_CUBIC)
            frame = cv2.copyMakeBorder(frame, rim, rim, rim, rim, cv2.BORDER_REPLICATE)
            frame = cv2.cvtColor(frame, cv2.COLOR_GRAY2BGR if frame.ndim == 2 else cv2.COLOR_RGB2BGR)
            boxes = [face.box for face in detector.detect(frame)]
            box = max(boxes, key=lambda box: box[2:].max(), default=np.zeros(4))
            larger = box[2:].max()
            if larger >= MIN_SHARE * side:
                offset = (rim + side / 2 - box[:2] - box[2:] / 2) / larger
                measured.append((side / larger, *offset))
    if not measured:
        raise UserError(f"the detector {detector.name} found no face in {len(images)} images: are they upright faces?")
    quartiles = np.percentile(measured, [25, 50, 75], axis=0).T
    return {"found": len(measured) / (len(images) * len(FACE_SIDES))} | {
        name: {"median": float(median), "quartiles": [float(low), float(high)]}
        for name, (low, median, high) in zip(("enlarge", "right", "down"), quartiles, strict=True)
    }


def policy(measured: Mapping[str, Any]) -> dict[str, Any]:
    """The crop policy of a bundle that a measurement of `calibrate` suggests, to a hundredth."""
    enlarge, right, down = (round(measured[name]["median"], 2) + 0.0 for name in ("enlarge", "right", "down"))  # no -0
    return {"enlarge": enlarge, "offset": [right, down]}
