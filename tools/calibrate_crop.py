"""Measure how a data set frames its faces around a detector's boxes: the crop policy for models trained on it.

    python -m tools.calibrate_crop --config=configs/xception.py --config.data.path=fer2013.csv
    python -m tools.calibrate_crop ... --detector-model=face_detection_yunet_2023mar.onnx

Prints one JSON object: the policy in a bundle's form, and the medians and quartiles it was rounded from.
"""

from __future__ import annotations

import json

from absl import flags

from fer_jax import cli
from fer_jax import config as configs

_CONFIG = configs.Flag("the config whose training split is measured")
flags.mark_flag_as_required("config")
_DETECTOR, _DETECTOR_MODEL = cli.define_detector(searching=True)
_IMAGES = flags.DEFINE_integer("images", 2000, "how many of the training images, evenly spread", lower_bound=1)


def main(argv: list[str]) -> None:
    """Measure and print."""
    del argv
    import numpy as np

    from fer_jax.data import loading
    from fer_jax.faces import framing, registry

    config = _CONFIG.read()
    training = loading.load(config).of_split(config.data.train_split)
    chosen = np.unique(np.linspace(0, len(training) - 1, _IMAGES.value).round().astype(int))
    detector = registry.create(_DETECTOR.value, _DETECTOR_MODEL.value)
    measured = framing.calibrate(detector, training.images[chosen])
    print(
        json.dumps(
            {"detector": detector.name, "images": len(chosen), "policy": framing.policy(measured)} | measured, indent=2
        )
    )


if __name__ == "__main__":
    cli.run(main)
