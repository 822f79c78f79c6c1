"""Three small networks for JAFFE, of a report that compares them on 128x128x3 images.

Convolutions and fully connected layers are followed by ReLU. With 7 classes they have 37,349, 37,989 and 7,954,391
parameters.
"""

import flax.linen as nn
import jax

from fer_jax.models.network import Flatten, Network


class JaffeBasic(Network):
    """Two convolutions, the second with stride 3, and a fully connected layer of 64."""

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        x = nn.relu(self.conv(5, 5, name="conv1")(x))
        x = self.max_pool(3, name="pool1")(x)
        x = nn.relu(self.conv(15, 5, strides=3, padding="VALID", name="conv2")(x))
        x = self.max_pool(2, name="pool2")(self.tap_features(x))
        x = nn.relu(self.dense(64, name="dense1")(Flatten(name="flatten")(x)))
        return self.classify(x)


class JaffeDropout(Network):
    """`JaffeBasic` with a third convolution and dropout before and after the last two."""

    dropout: float = 0.25

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        x = nn.relu(self.conv(5, 5, name="conv1")(x))
        x = self.max_pool(3, name="pool1")(x)
        x = nn.Dropout(self.dropout, deterministic=not train, name="dropout1")(x)
        x = nn.relu(self.conv(15, 5, strides=3, padding="VALID", name="conv2")(x))
        x = self.max_pool(2, name="pool2")(self.tap_features(x))
        # One 5x5 window on a 6x6 map: the third convolution sees no place, so Grad-CAM looks at the second.
        x = nn.relu(self.conv(80, 5, strides=5, padding="VALID", name="conv3")(x))
        x = nn.Dropout(self.dropout, deterministic=not train, name="dropout2")(x)
        x = nn.relu(self.dense(64, name="dense1")(Flatten(name="flatten")(x)))
        return self.classify(x)


class JaffeBest(Network):
    """LeNet-5's widths on a larger image: three convolutions and a fully connected layer of 84."""

    conv_dropout: float = 0.25
    dense_dropout: float = 0.5

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        x = nn.relu(self.conv(6, 5, name="conv1")(x))
        x = self.max_pool(2, name="pool1")(x)
        x = nn.relu(self.conv(16, 5, name="conv2")(x))
        x = self.max_pool(2, name="pool2")(x)
        x = self.tap_features(nn.relu(self.conv(120, 5, padding="VALID", name="conv3")(x)))
        x = nn.Dropout(self.conv_dropout, deterministic=not train, name="dropout1")(x)
        x = nn.relu(self.dense(84, name="dense1")(Flatten(name="flatten")(x)))
        x = nn.Dropout(self.dense_dropout, deterministic=not train, name="dropout2")(x)
        return self.classify(x)
