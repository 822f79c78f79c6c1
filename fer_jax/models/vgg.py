"""VGG nets: the one for FER2013 of Khaireddin and Chen, "Facial Emotion Recognition: State of the Art Performance on
FER2013" (2021), https://github.com/usef-kh/fer, with a leaner one of the same convolutions; and VGG16 of Simonyan and
Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition" (2014).
"""

import flax.linen as nn
import jax

from fer_jax.models.network import Flatten, GlobalAveragePool, Network

EPSILON = 1e-5  # of BatchNorm: PyTorch's default, with which the net was published
VGG16_BLOCKS = ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512))  # (convolutions, filters) of each


class Vgg(Network):
    """Four stages of two 3x3 convolutions with BatchNorm and ReLU, each stage pooled by 2, then the head.

    Attributes:
      stage_features: channels of each stage; narrower ones make a net for processors without a GPU.
      dense_features: widths of the fully connected layers. (4096, 4096), the published, has 29,886,919 parameters on
        40x40x1 images with 7 classes, without the 7,680 of BatchNorm; it ties the weights to the image's size. ()
        takes the mean over the last stage's unpooled map instead: 4,687,815, images of any size, and "class_maps".
      dropout: before each ReLU of the fully connected layers, or of the pooled vector.
    """

    stage_features: tuple[int, ...] = (64, 128, 256, 512)
    dense_features: tuple[int, ...] = (4096, 4096)
    dropout: float = 0.2

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        for stage, features in enumerate(self.stage_features, 1):
            x = self.conv(features, before_norm=True, name=f"stage{stage}_conv1")(x)
            x = nn.relu(self.norm(name=f"stage{stage}_norm1", epsilon=EPSILON)(x, train))
            x = self.conv(features, before_norm=True, name=f"stage{stage}_conv2")(x)
            if stage < len(self.stage_features):
                names = f"stage{stage}_norm2", f"stage{stage}_pool"
                x = self.norm_and_max_pool(x, train, 2, names=names, activation=nn.relu, epsilon=EPSILON)
            else:
                x = nn.relu(self.norm(name=f"stage{stage}_norm2", epsilon=EPSILON)(x, train))
        x = self.tap_features(x)
        if not self.dense_features:
            return self.classify_pooled(x, nn.Dropout(self.dropout, deterministic=not train, name="dropout"))
        x = Flatten(name="flatten")(self.max_pool(2, name=f"stage{len(self.stage_features)}_pool")(x))
        for i, features in enumerate(self.dense_features, 1):
            x = self.dense(features, name=f"dense{i}")(x)
            x = nn.relu(nn.Dropout(self.dropout, deterministic=not train, name=f"dropout{i}")(x))
        return self.classify(x)


class Vgg16(Network):
    """Thirteen 3x3 convolutions in five max-pooled blocks, global average pooling to 512 numbers, one layer.

    A feature extractor: 14,714,688 parameters without the fully connected layers, and a head of this package's own.
    Layers have the names of Keras' (`block1_conv1`), so that its files of weights fit, see
    `fer_jax.models.pretrained`. Images of 32 pixels and more.
    """

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        for block, (convolutions, features) in enumerate(VGG16_BLOCKS, 1):
            for i in range(1, convolutions + 1):
                x = nn.relu(self.conv(features, name=f"block{block}_conv{i}")(x))
            if block == len(VGG16_BLOCKS):
                x = self.tap_features(x)
            x = self.max_pool(2, name=f"block{block}_pool")(x)
        return self.classify(GlobalAveragePool(name="pool")(x))
