"""VGG16 with ImageNet weights on FER2013: 14,714,688 parameters, then global average pooling and one layer, 48x48x3.

    fer-jax train --config=vgg16 --config.data.path=fer2013.csv \
        --config.model.pretrained=vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5
    fer-jax train --config=vgg16:finetune,block=block4 --config.data.path=fer2013.csv
    fer-jax export --workdir=runs/vgg16_frozen --out=vgg16.bundle --int8

`:frozen` (the default) trains the last layer alone: 3,591 numbers. `:finetune` trains the convolutions from `block` on
as well (block5 unless said), at a hundredth of the last layer's learning rate. Pixels are divided by 255, as the
report does, though the weights were made for Caffe's means: the gray faces lose little by it.

The weights are not downloaded: a missing file's error says which it is. torchvision's fit too, see
`fer_jax/models/pretrained.py`.

Published: no score. Measured here: not measured, needs the weights.
"""

from ml_collections import ConfigDict

from fer_jax.recipes import default, variants


def get_config(variant: str = "") -> ConfigDict:
    """`:frozen` or `:finetune`, the latter with `block`=block5 to block1."""
    v = variants.parse(variant, ("frozen", "finetune"), block=("block5", "block4", "block3", "block2", "block1"))
    c = default.get_config()
    c.name = f"vgg16_{v.label}"
    c.epochs = 30
    c.batch_size = 64
    c.input.channels = 3
    c.input.scaling = "unit"
    c.model.name = "vgg16"
    c.model.pretrained = "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5"
    c.optim.trainable_from = "classes"
    if v.name == "finetune":
        c.optim.trainable_from = v.block
        c.optim.backbone_learning_rate = 1e-5
    return c
