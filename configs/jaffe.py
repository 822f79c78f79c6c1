"""Three networks on JAFFE, 213 photographs of 10 people, 128x128x3.

    fer-jax train --config=jaffe:best --config.data.path=jaffe
    fer-jax train --config=jaffe:best,optimizer=sgd,split=random --config.data.path=jaffe
    fer-jax train --config=jaffe:best --config.data.path=jaffe --mode=crossval

| variant    | parameters | published, random split            | measured here                |
|------------|------------|------------------------------------|------------------------------|
| `:best`    |  7,954,391 | Adam 0.984, SGD 0.969, Nadam 0.984 | not measured: needs the data |
| `:basic`   |     37,349 | 0.469                              | not measured: needs the data |
| `:dropout` |     37,989 | 0.469                              | not measured: needs the data |

The published scores are multiples of 1/64: of 64 images, a random 30 % of all, with every person on both sides
and no split to choose the epoch on. `split=random` does that; the default keeps people apart, two to choose the
epoch by and two to test on, as for new people. `--mode=crossval` holds out every person in turn.

Batches of 32 and 100 epochs are this project's choice; learning rates are Keras' defaults.
"""

from ml_collections import ConfigDict

from fer_jax.recipes import default, variants

LEARNING_RATES = {"adam": 1e-3, "sgd": 1e-2, "nadam": 1e-3}  # Keras' defaults


def get_config(variant: str = "") -> ConfigDict:
    """`:best`, `:basic` or `:dropout`, with `optimizer`=adam, sgd or nadam and `split`=subject or random."""
    v = variants.parse(
        variant, ("best", "basic", "dropout"), optimizer=tuple(LEARNING_RATES), split=("subject", "random")
    )
    c = default.get_config()
    c.name = f"jaffe_{v.label}"
    c.epochs = 100
    c.batch_size = 32
    c.data.source = "jaffe"
    c.data.split = v.split
    c.data.train_split, c.data.select_split, c.data.test_split = "train", "validation", "test"
    c.data.holdout, c.data.holdout_test = (0.3, 0.0) if v.split == "random" else (0.2, 0.2)
    c.input.size = 128
    c.input.channels = 3
    c.input.scaling = "unit"
    c.augment.flip = 0.0
    c.model.name = f"jaffe_{v.name}"
    c.optim.name = v.optimizer
    c.optim.learning_rate = LEARNING_RATES[v.optimizer]
    c.optim.schedule = "constant"
    if v.optimizer == "sgd":
        c.optim.momentum = 0.0
    return c
