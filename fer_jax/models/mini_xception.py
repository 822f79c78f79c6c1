"""mini-Xception of Arriaga, Plöger and Valdenegro, "Real-time Convolutional Neural Networks for Emotion and Gender
Classification" (2017): 58,423 parameters at 7 classes and one input channel, 1,472 of them BatchNorm's statistics.
"""

import flax.linen as nn
import jax

from fer_jax.models import layers
from fer_jax.models.network import GlobalAveragePool, Network, Upsample, at_least_float32


class MiniXception(Network):
    """Two 3x3 valid convolutions and four residual blocks of separable convolutions without ReLU after the addition.

    A 3x3 convolution to the classes and global average pooling follow. The map before the pooling is sown into
    "intermediates" as "class_maps" (N, h, w, num_classes): it is a class activation map by construction.

    Attributes:
      stem_features: channels of the two first convolutions.
      block_features: channels of the residual blocks.
      enlarge_to: pixels, the side images are enlarged to by linear interpolation before the first convolution; 0 leaves
        them. The published weights see FER2013's 48x48 faces as 64x64.
    """

    stem_features: int = 8
    block_features: tuple[int, ...] = (16, 32, 64, 128)
    enlarge_to: int = 0

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        if self.enlarge_to:
            x = Upsample(self.enlarge_to, name="enlarge")(x)
        for i in (1, 2):
            x = self.conv(self.stem_features, padding="VALID", use_bias=False, name=f"stem{i}_conv")(x)
            x = nn.relu(self.norm(name=f"stem{i}_norm")(x, train))
        for i, features in enumerate(self.block_features, 1):
            block = f"block{i}"
            residual = self.conv(features, 1, strides=2, use_bias=False, name=f"{block}_residual_conv")(x)
            residual = self.norm(name=f"{block}_residual_norm")(residual, train)
            x = self._separable_conv(features, f"{block}_conv1")(x)
            x = nn.relu(self.norm(name=f"{block}_norm1")(x, train))
            x = self._separable_conv(features, f"{block}_conv2")(x)
            names = f"{block}_norm2", f"{block}_pool"
            x = self.norm_and_max_pool(x, train, 3, 2, "SAME", names=names) + residual
        maps = at_least_float32(self.conv(self.num_classes, name="classes_conv")(self.tap_features(x)))
        self.sow("intermediates", "class_maps", maps)
        return GlobalAveragePool(name="pool")(maps)

    @nn.nowrap
    def _separable_conv(self, features: int, name: str) -> layers.SeparableConv:
        return layers.SeparableConv(features, dtype=self.dtype, implementation=self.implementation, name=name)
