"""A trained model fitted to your own faces: some dozens of photographs are enough.

    fer-jax train --config=finetune --config.data.path=faces

`faces` is a folder with a folder of images for each class, a list of images, or any other data that `fer-jax evaluate`
reads. Images are faces as `fer-jax extract-faces` cuts them out of photographs.
"""

from ml_collections import ConfigDict

from fer_jax import zoo
from fer_jax.recipes import default, variants


def get_config(variant: str = "") -> ConfigDict:
    """There is one variant."""
    variants.parse(variant, ("finetune",))
    c = default.get_config()
    c.name = "finetune"
    c.epochs = 40
    c.batch_size = 32
    c.data.source = "auto"
    c.data.sampling = "balanced"
    c.model.pretrained = zoo.DEFAULT.name
    return c
