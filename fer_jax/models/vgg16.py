"""VGG16 of Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition" (2014), as a
feature extractor: its 14,714,688 parameters without the fully connected layers, and a head of this package's own.
"""

import flax.linen as nn
import jax

from fer_jax.models.network import GlobalAveragePool, Network

# (convolutions, filters) of each block
BLOCKS = ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512))


class Vgg16(Network):
    """Thirteen 3x3 convolutions in five max-pooled blocks, global average pooling to 512 numbers, one layer.

    Layers have the names of Keras' (`block1_conv1`), so that its files of weights fit, see
    `fer_jax.models.pretrained`. Images of 32 pixels and more.
    """

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        for block, (convolutions, features) in enumerate(BLOCKS, 1):
            for i in range(1, convolutions + 1):
                x = nn.relu(self.conv(features, name=f"block{block}_conv{i}")(x))
            if block == len(BLOCKS):
                x = self.tap_features(x)
            x = self.max_pool(2, name=f"block{block}_pool")(x)
        return self.classify(GlobalAveragePool(name="pool")(x))
