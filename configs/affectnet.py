"""AffectNet, eight expressions in color at 112 pixels, whose classes differ by a factor of 35 in size.

    fer-jax train --config=affectnet:resnet18 --config.data.path=AffectNet

Every class is drawn equally often (`data.sampling`). `:vgg` is the network of `vgg` with a pooled head instead.
The folder holds `training.csv` and `validation.csv`, or `train_set/` and `val_set/`, see docs/reference/data.md. The
validation set chooses the epoch and nothing is left to score: AffectNet's test labels are not public.

A chunk of 8 steps of 128 images has 39 MB, of which four exist at a time.

Measured here: not yet.
"""

from ml_collections import ConfigDict

from fer_jax.recipes import default, variants


def get_config(variant: str = "") -> ConfigDict:
    """`:resnet18` or `:vgg`."""
    v = variants.parse(variant, ("resnet18", "vgg"))
    c = default.get_config()
    c.name = f"affectnet_{v.label}"
    c.epochs = 20
    c.batch_size = 128
    c.data.source = "list"
    c.data.args.layout = "affectnet"
    c.data.pipeline = "auto"
    c.data.sampling = "balanced"
    c.input.size = 112
    c.input.channels = 3
    c.parallel.steps_per_dispatch = 8
    c.augment.rotation = 10.0
    c.augment.zoom = 0.1
    c.augment.shift = 0.05
    c.augment.mixup = 0.2
    c.loss.label_smoothing = 0.1
    c.optim.name = "sgd"
    c.optim.learning_rate = 0.05
    c.optim.weight_decay = 5e-4
    c.optim.warmup_epochs = 1.0
    c.optim.averaging = "ema"
    c.model.name = v.name
    c.model.args.stage_features = (64, 128, 256, 512)
    if v.name == "vgg":
        c.model.args.dense_features = ()
    return c
