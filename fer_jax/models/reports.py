"""Small networks of three reports on facial expressions: convolutions and fully connected layers with ReLU.

With 7 classes those for JAFFE have 37,349, 37,989 and 7,954,391 parameters on 128x128x3 images, and those for CK+
30,321,415 and 67,119,623, nearly all of them between the last map and the fully connected layer of 128. The one for
FER2013, cleaned to six classes, has 91,482 on 48x48x1.
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


class _CkPlus(Network):
    """One of two for CK+.

    The report's outlook wishes for BatchNorm, which its code has commented out: `batch_norm` puts it between each
    convolution and its ReLU and adds four parameters a channel, two of them statistics.
    """

    dense_features: int = 128
    dropout: float = 0.2
    batch_norm: bool = False

    @nn.nowrap
    def _block(self, x: jax.Array, train: bool, number: int, features: int, padding: str) -> jax.Array:
        x = self.conv(features, 5, padding=padding, name=f"conv{number}")(x)
        if self.batch_norm:
            x = self.norm(name=f"norm{number}")(x, train)
        return nn.relu(x)

    @nn.nowrap
    def _classify_maps(self, x: jax.Array, train: bool) -> jax.Array:
        x = nn.relu(self.dense(self.dense_features, name="dense1")(Flatten(name="flatten")(x)))
        return self.classify(nn.Dropout(self.dropout, deterministic=not train, name="dropout")(x))


class CkPlusModel1(_CkPlus):
    """Two convolutions of 128 and 256 filters."""

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        x = self.max_pool(2, name="pool1")(self._block(x, train, 1, 128, "SAME"))
        x = self.max_pool(2, name="pool2")(self.tap_features(self._block(x, train, 2, 256, "VALID")))
        return self._classify_maps(x, train)


class CkPlusModel2(_CkPlus):
    """One convolution of 128 filters."""

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        x = self.max_pool(2, name="pool1")(self.tap_features(self._block(x, train, 1, 128, "SAME")))
        return self._classify_maps(x, train)


class SixConv(Network):
    """Three 8x8 and three 4x4 same-padded convolutions with ReLU, pooled by 2 and by 4, and one layer to the classes.

    48x48 becomes 24x24, then 6x6: the last layer sees 792 numbers. `dropout` is the share of them left out.
    """

    features: int = 22
    dropout: float = 0.5

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        for i, (kernel, pool) in enumerate(((8, 1), (8, 2), (8, 1), (4, 4), (4, 1), (4, 1)), 1):
            x = nn.relu(self.conv(self.features, kernel, name=f"conv{i}")(x))
            if pool > 1:
                x = self.max_pool(pool, name=f"pool{i}")(x)
        x = Flatten(name="flatten")(self.tap_features(x))
        return self.classify(nn.Dropout(self.dropout, deterministic=not train, name="dropout")(x))
