"""Six convolutions of 22 filters, of a report on FER2013 cleaned to six classes: 91,482 parameters at 48x48x1."""

import flax.linen as nn
import jax

from fer_jax.models.network import Flatten, Network


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
