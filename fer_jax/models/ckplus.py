"""Two networks for CK+, of a report that compares them on 128x128x3 images.

Nearly all of their 30,321,415 and 67,119,623 parameters (7 classes) lie between the last map and the fully connected
layer of 128. The report's outlook wishes for BatchNorm, which its code has commented out: `batch_norm` puts it between
each convolution and its ReLU and adds four parameters a channel, two of them statistics.
"""

import flax.linen as nn
import jax

from fer_jax.models.network import Flatten, Network


class _CkPlus(Network):
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
