"""Two networks on CK+, 981 images of 118 people and 7 expressions with contempt, 128x128x3.

    fer-jax train --config=ckplus:model1 --config.data.path=ckplus
    fer-jax train --config=ckplus:model1,split=random --config.data.path=ckplus
    fer-jax train --config=ckplus:model2,norm=batch --config.data.path=ckplus --mode=crossval

| variant   | parameters | published, random split | memory  | measured here                |
|-----------|------------|-------------------------|---------|------------------------------|
| `:model1` | 30,321,415 | 0.9907                  | 2.7 GiB | not measured: needs the data |
| `:model2` | 67,119,623 | 0.9907                  | 3.6 GiB | not measured: needs the data |

Adam, 20 epochs, updates of 64 images, as published. `split=random` is the report's: 657 images train and 324 both
choose the epoch and are the score, neighboring frames of one person on both sides. The default keeps people apart.
`norm=batch` adds the BatchNorm that the report names as future work.

Memory is the peak of the whole command on synthetic faces, on two CPU cores with JAX 0.10.2: batches of 16, four of
which make one update (`optim.accumulate_steps`). Of `:model2`'s, 1.25 GiB are parameters, gradients, their sum over the
four and Adam's two moments, 256 MiB each. In one batch of 64 it is 4.3 GiB.
"""

from ml_collections import ConfigDict

from fer_jax.recipes import default, variants

IMAGES, IMAGES_HELD_OUT = 981, 324


def get_config(variant: str = "") -> ConfigDict:
    """`:model1` or `:model2`, with `norm`=none or batch and `split`=subject or random."""
    v = variants.parse(variant, ("model1", "model2"), norm=("none", "batch"), split=("subject", "random"))
    c = default.get_config()
    c.name = f"ckplus_{v.label}"
    c.epochs = 20
    c.batch_size = 16
    c.optim.accumulate_steps = 4
    c.data.source = "ckplus"
    c.data.split = v.split
    c.data.train_split, c.data.select_split, c.data.test_split = "train", "validation", "test"
    if v.split == "random":
        c.data.holdout, c.data.holdout_test = IMAGES_HELD_OUT / IMAGES, 0.0
    c.input.size = 128
    c.input.channels = 3
    c.input.scaling = "unit"
    c.augment.flip = 0.0
    c.model.name = f"ckplus_{v.name}"
    c.model.args.batch_norm = v.norm == "batch"
    c.optim.schedule = "constant"
    return c
