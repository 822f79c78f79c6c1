"""ResNet-18 of He et al., "Deep Residual Learning for Image Recognition" (2015), in its form for small images: a 3x3
stem with stride 1 and no pooling after it, so that 48x48 faces reach the last stage as 6x6 maps.
"""

import flax.linen as nn
import jax

from fer_jax.models.network import Network

BLOCKS_PER_STAGE = 2


class ResNet18(Network):
    """A stem, four stages of two basic blocks and global average pooling.

    11,171,271 trained parameters and 9,600 statistics at 7 classes and one channel. Shortcuts are 1x1 convolutions
    where the shape changes. `dropout` is applied to the pooled vector; narrower
    `stage_features` make a net for processors without a GPU.
    """

    stage_features: tuple[int, ...] = (64, 128, 256, 512)
    dropout: float = 0.0

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        x = nn.relu(self._conv_norm(x, train, self.stage_features[0], "stem"))
        for stage, features in enumerate(self.stage_features, 1):
            for block in range(1, BLOCKS_PER_STAGE + 1):
                strides = 2 if block == 1 and stage > 1 else 1
                x = self._basic_block(x, train, features, strides, f"stage{stage}_block{block}")
        dropout = nn.Dropout(self.dropout, deterministic=not train, name="dropout")
        return self.classify_pooled(self.tap_features(x), dropout)

    @nn.nowrap
    def _basic_block(self, x: jax.Array, train: bool, features: int, strides: int, name: str) -> jax.Array:
        y = nn.relu(self._conv_norm(x, train, features, f"{name}_1", strides=strides))
        y = self._conv_norm(y, train, features, f"{name}_2")
        if x.shape != y.shape:
            x = self._conv_norm(x, train, features, f"{name}_shortcut", kernel=1, strides=strides)
        return nn.relu(y + x)

    @nn.nowrap
    def _conv_norm(
        self, x: jax.Array, train: bool, features: int, name: str, kernel: int = 3, strides: int = 1
    ) -> jax.Array:
        x = self.conv(features, kernel, strides=strides, use_bias=False, name=f"{name}_conv")(x)
        return self.norm(name=f"{name}_norm", epsilon=1e-5)(x, train)  # PyTorch's default
