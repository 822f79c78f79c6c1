"""A trained model fitted to your own faces: some dozens of photographs are enough.

    fer-jax train --config=finetune --config.data.path=faces
    fer-jax train --config=finetune --config.data.path=faces --config.model.pretrained=mini_xception

`faces` is a folder with a folder of images for each class, a list of images, or any other data whose layout `fer-jax
evaluate` recognizes: faces, as `fer-jax extract-faces` cuts them out of photographs. `model.pretrained` is a model that
`fer-jax models` lists or a bundle with weights, the default model unless given. Network, arguments and input are the
bundle's. Where class names agree ("anger" is "angry"), their rows of the last layer are kept; other classes start from
random rows.

The last stage of the network and its head are trained, the head with ten times the learning rate; every class has the
same share of each epoch. The epoch with the lowest loss on the held-out tenth of the faces is kept, and training stops
after 16 epochs without a better one.
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
    c.data.pipeline = "device"
    c.data.sampling = "balanced"
    c.model.pretrained = zoo.DEFAULT.name
    c.optim.trainable_from = "last"
    c.optim.learning_rate = 1e-3
    c.optim.backbone_learning_rate = 1e-4
    c.optim.averaging = "ema"
    c.augment.rotation = 10.0
    c.augment.shift = 0.05
    c.augment.zoom = 0.1
    c.augment.brightness = 0.1
    c.augment.contrast = 0.2
    c.eval.every_epochs = 2
    c.eval.select_by = "loss"
    c.eval.early_stop = 8
    return c
