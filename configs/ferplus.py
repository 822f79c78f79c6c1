"""FER+: FER2013's faces with ten votes each, eight classes, trained against the distribution of votes.

    fer-jax train --config=ferplus --config.data.path=fer2013.csv
    fer-jax train --config=ferplus:mini_xception --config.data.path=fer2013.csv
    fer-jax train --config=ferplus:vgg,votes=majority --config.data.path=fer2013.csv

`fer2013new.csv` lies beside the csv. Barsoum et al. (2016) publish 83.85 % of a VGG13 trained on the majority
(`votes=majority`) to 84.99 % of one trained on the votes, on the majority's test split.

| variant          | parameters with BatchNorm's | measured here                                      |
|------------------|-----------------------------|----------------------------------------------------|
| `:vgg`           | 4,696,008                   | not yet                                            |
| `:mini_xception` |    59,576                   | 86.0 % +- 0.6 of PublicTest, with mirrors too 86.7 |

`:mini_xception` upsamples the faces to 64x64 and is the model `mini_xception_ferplus` that comes with the package.
"""

from ml_collections import ConfigDict

from fer_jax.recipes import variants, vgg, xception


def get_config(variant: str = "") -> ConfigDict:
    """`:vgg` or `:mini_xception`, with `votes`=distribution or majority."""
    v = variants.parse(variant, ("vgg", "mini_xception"), votes=("distribution", "majority"))
    c = vgg.get_config("best,head=pooled") if v.name == "vgg" else xception.get_config("best")
    c.name = f"ferplus_{v.label}"
    if v.name == "mini_xception":
        c.model.args.enlarge_to = 64
        c.augment.interpolation = "bicubic"
    c.data.source = "ferplus"
    c.data.args.votes = v.votes == "distribution"
    c.loss.label_smoothing = 0.0  # the votes are soft labels already
    return c
