"""mini-Xception of Arriaga, Plöger and Valdenegro, "Real-time Convolutional Neural Networks for Emotion and Gender
Classification" (2017): 58,423 parameters at 7 classes and one input channel.
"""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax

from fer_jax.models import layers


class MiniXception(nn.Module):
    """(N, H, W, C) scaled images to float32 logits (N, num_classes).

    Two 3x3 valid convolutions, four residual blocks of separable convolutions without ReLU after the addition, a 3x3
    convolution to the classes and global average pooling. The map before the pooling is sown into "intermediates" as
    "class_maps" (N, h, w, num_classes): it is a class activation map by construction.
    """

    num_classes: int
    stem_features: int = 8
    block_features: tuple[int, ...] = (16, 32, 64, 128)
    axis_name: str | None = None
    dtype: Any = None
    implementation: str = "auto"

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        shared = {"dtype": self.dtype, "implementation": self.implementation}

        def norm(name: str) -> layers.BatchNorm:
            return layers.BatchNorm(axis_name=self.axis_name, name=name, **shared)

        for i in (1, 2):
            x = layers.Conv(self.stem_features, padding="VALID", use_bias=False, name=f"stem{i}_conv", **shared)(x)
            x = nn.relu(norm(f"stem{i}_norm")(x, train))
        for i, features in enumerate(self.block_features, 1):
            residual = layers.Conv(features, (1, 1), strides=2, use_bias=False, name=f"block{i}_residual_conv",
                                   **shared)(x)
            residual = norm(f"block{i}_residual_norm")(residual, train)
            x = layers.SeparableConv(features, name=f"block{i}_conv1", **shared)(x)
            x = nn.relu(norm(f"block{i}_norm1")(x, train))
            x = layers.SeparableConv(features, name=f"block{i}_conv2", **shared)(x)
            x = norm(f"block{i}_norm2")(x, train)
            x = layers.max_pool(x, 3, 2, "SAME", implementation=self.implementation) + residual
        maps = layers.Conv(self.num_classes, name="classes_conv", **shared)(x).astype("float32")
        self.sow("intermediates", "class_maps", maps)
        return maps.mean(axis=(1, 2))
