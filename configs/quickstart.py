"""mini-Xception on drawn faces: needs no data, to see everything work.

    python -m fer_jax.main --config=configs/quickstart.py

Seven expressions of drawn faces, 8,000 of them. Measured here: not yet.
"""

from ml_collections import ConfigDict

from configs import default, variants


def get_config(variant: str = "") -> ConfigDict:
    """There is one variant."""
    variants.parse(variant, ("quickstart",))
    c = default.get_config()
    c.name = "quickstart"
    c.epochs = 10
    c.batch_size = 64
    c.data.source = "synthetic"
    c.optim.learning_rate = 3e-3
    c.augment.rotation = 5.0
    c.augment.shift = 0.05
    return c
