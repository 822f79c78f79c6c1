"""Base class and conventions of every network of this package."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

# Flax offers its table only as text 180 columns wide; the rows behind that are what is used here.
from flax.linen.summary import _get_module_table

from fer_jax import ops
from fer_jax.errors import UserError
from fer_jax.models import layers

# {(collection, layer, parameter): array}: a network's variables, flat
Arrays = dict[tuple[str, str, str], np.ndarray]
Groups = Mapping[str, str]  # {layer: "frozen", "backbone" or "head"}


class Network(nn.Module):
    """Base of all networks: (N, H, W, C) scaled images to logits (N, num_classes), float32 under any lower dtype.

    A subclass adds its own arguments as fields and calls its layers by the methods below, which hand on `dtype` and
    `implementation`. The last layer with parameters is the head, see `is_head`.

    Attributes:
      num_classes: of the data set.
      axis_name: mapped axis over which BatchNorm's statistics are averaged in training, or None.
      dtype: of the computation, or None for that of the input and the parameters, which are float32.
      implementation: of the layers, see `fer_jax.models.layers`.
    """

    num_classes: int
    axis_name: str | None = None
    dtype: Any = None
    implementation: str = "auto"

    @nn.nowrap
    def conv(self, features: int, kernel: int = 3, *, name: str, **options: Any) -> layers.Conv:
        """A convolution with a square kernel; `options` are those of `layers.Conv`."""
        return layers.Conv(
            features, (kernel, kernel), dtype=self.dtype, implementation=self.implementation, name=name, **options
        )

    @nn.nowrap
    def norm(self, *, name: str, **options: Any) -> layers.BatchNorm:
        """BatchNorm over the global batch; `options` are those of `layers.BatchNorm`."""
        return layers.BatchNorm(
            axis_name=self.axis_name, dtype=self.dtype, implementation=self.implementation, name=name, **options
        )

    @nn.nowrap
    def max_pool(self, window: int, strides: int | None = None, padding: str = "VALID", *, name: str) -> MaxPool:
        """Max-pooling with stride `window` unless given."""
        return MaxPool(window, strides, padding, self.implementation, name=name)

    @nn.nowrap
    def norm_and_max_pool(
        self,
        x: jax.Array,
        train: bool,
        window: int,
        strides: int | None = None,
        padding: str = "VALID",
        *,
        names: tuple[str, str],
        activation: Callable[[jax.Array], jax.Array] = lambda x: x,
        **options: Any,
    ) -> jax.Array:
        """BatchNorm, `activation` and max-pooling of (N, H, W, C); GPUs and TPUs pool before they normalize.

        Args:
          names: of the two layers.
          activation: not decreasing, so that it may as well follow the pooling.
          options: of `layers.BatchNorm`.
        """
        norm_name, pool_name = names
        if ops.implementation(self.implementation) in ("gpu", "tpu"):
            pool = (window, window if strides is None else strides, padding)
            return activation(self.norm(name=norm_name, pool=pool, **options)(x, train))
        x = activation(self.norm(name=norm_name, **options)(x, train))
        return self.max_pool(window, strides, padding, name=pool_name)(x)

    @nn.nowrap
    def dense(self, features: int, *, name: str) -> nn.Dense:
        """A fully connected layer, initialized as Keras' own."""
        return nn.Dense(features, dtype=self.dtype, kernel_init=nn.initializers.glorot_uniform(), name=name)

    @nn.nowrap
    def tap_features(self, maps: jax.Array) -> jax.Array:
        """The maps (N, h, w, channels) that Grad-CAM looks at, sown into "intermediates" as "features".

        A caller who applies the network with a collection {"perturbations": {"features": zeros}} has it added to them,
        so that the gradient with respect to it is that with respect to the maps.
        """
        self.sow("intermediates", "features", maps)
        return maps if self.is_initializing() else self.perturb("features", maps)

    @nn.nowrap
    def classify(self, vectors: jax.Array) -> jax.Array:
        """Logits of vectors (N, features) by the head "classes", a fully connected layer."""
        return self._head()(at_least_float32(vectors))

    @nn.nowrap
    def classify_pooled(self, maps: jax.Array, dropout: nn.Dropout | None = None) -> jax.Array:
        """Logits of maps (N, h, w, channels) by global average pooling and the head "classes".

        Both are linear, so the head applied to every place gives maps whose mean is the logits: these are sown into
        "intermediates" as "class_maps" (N, h, w, num_classes). `dropout` is applied to the pooled vectors.
        """
        maps = at_least_float32(maps)
        head = self._head()
        pooled = GlobalAveragePool(name="pool")(maps)
        logits = head(pooled if dropout is None else dropout(pooled))
        if self.is_mutable_collection("intermediates"):
            self.sow("intermediates", "class_maps", head(maps))
        return logits

    @nn.nowrap
    def _head(self) -> nn.Dense:
        return nn.Dense(self.num_classes, kernel_init=nn.initializers.glorot_uniform(), name="classes")


# Layers without parameters are modules too, so that a network's summary shows them.


class MaxPool(nn.Module):
    """`layers.max_pool` as a module."""

    window: int
    strides: int | None = None
    padding: str = "VALID"
    implementation: str = "auto"

    def __call__(self, x: jax.Array) -> jax.Array:
        return layers.max_pool(x, self.window, self.strides, self.padding, self.implementation)


class GlobalAveragePool(nn.Module):
    """(N, h, w, channels) to their means (N, channels)."""

    def __call__(self, x: jax.Array) -> jax.Array:
        return x.mean(axis=(1, 2))


class Upsample(nn.Module):
    """(N, h, w, channels) to (N, side, side, channels) by linear interpolation, as `jax.image.resize`.

    Two products with constant matrices, which every exported format has.
    """

    side: int

    def __call__(self, x: jax.Array) -> jax.Array:
        rows, columns = (jnp.asarray(_interpolation(length, self.side), x.dtype) for length in x.shape[1:3])
        enlarged = jnp.einsum("qw,nchw->nchq", columns, jnp.moveaxis(x, -1, 1))
        return jnp.moveaxis(jnp.einsum("ph,nchw->ncpw", rows, enlarged), 1, -1)


def _interpolation(length: int, longer: int) -> np.ndarray:
    """(longer, length): the weights of linear interpolation between the centers of pixels, the edge ones repeated."""
    centers = (np.arange(longer) + 0.5) * length / longer - 0.5
    return np.stack([np.interp(centers, np.arange(length), pixel) for pixel in np.eye(length)], axis=1)


class Flatten(nn.Module):
    """(N, h, w, channels) to (N, h * w * channels), rows first, as Keras."""

    def __call__(self, x: jax.Array) -> jax.Array:
        return x.reshape(x.shape[0], -1)


class Layer(NamedTuple):
    """One layer of a network.

    Attributes:
      name: of the layer, and of its part of the parameters.
      kind: its class.
      output_shape: without the batch.
      trained: how many numbers gradients change.
      statistics: how many numbers BatchNorm keeps.
    """

    name: str
    kind: str
    output_shape: tuple[int, ...]
    trained: int
    statistics: int


def layers_of(model: Network, input_shape: tuple[int, ...]) -> list[Layer]:
    """The layers of `model` for images of `input_shape` (H, W, C), in the order they are called.

    Allocates nothing and starts no backend, so that a config can be checked before the processes of a run have met.
    """
    # As "plain", whose layers are the same on every platform.
    model = model.clone(implementation="plain")
    table = _get_module_table(model, depth=1, show_repeated=False, compute_flops=False, compute_vjp_flops=False)
    rows = []
    jax.eval_shape(lambda: rows.extend(table(jax.random.key(0), jnp.zeros((1, *input_shape)), False)))

    def count(variables: dict) -> int:
        return sum(leaf.size for leaf in jax.tree.leaves(variables))

    return [
        Layer(
            row.path[0],
            type(row.module_copy).__name__,
            tuple(row.outputs.shape[1:]),
            count(row.counted_variables.get("params", {})),
            count(row.counted_variables.get("batch_stats", {})),
        )
        for row in rows
        if row.path
    ]


def is_head(layer: str) -> bool:
    """Return whether a layer of this name gives the logits: the one that cannot be kept when the classes change."""
    return layer.startswith("classes")


def layer_groups(model: Network, input_shape: tuple[int, ...], trainable_from: str) -> dict[str, str]:
    """{name of a layer with parameters: "frozen", "backbone" or "head"}, in the order they are called.

    Args:
      input_shape: (H, W, C) of one image.
      trainable_from: the beginning of a layer's name, such as "block5"; the layers before the first that has it are
        frozen. "" freezes none, "last" all before the last stage, such as block4 with its convolutions, and the head.

    Raises:
      UserError: no layer's name begins so; the message lists the names.
    """
    names = [layer.name for layer in layers_of(model, input_shape) if layer.trained]
    if trainable_from == "last":
        trainable_from = [name.partition("_")[0] for name in names if not is_head(name)][-1]
    first = next((i for i, name in enumerate(names) if name.startswith(trainable_from)), None)
    if first is None:
        raise UserError(
            f"config.optim.trainable_from is {trainable_from!r}: expected last, or the beginning of one of "
            f"{', '.join(names)}"
        )
    return {name: "frozen" if i < first else "head" if is_head(name) else "backbone" for i, name in enumerate(names)}


def labels_of_groups(params: Mapping[str, Any], groups: Groups) -> dict[str, Any]:
    """A tree like `params` of group names, as `optax.multi_transform` takes it."""
    return {layer: jax.tree.map(lambda _, group=groups[layer]: group, tree) for layer, tree in params.items()}


def frozen_layers(groups: Groups) -> contextlib.AbstractContextManager[None]:
    """Context in which a network applied for training leaves the frozen layers alone.

    Their BatchNorm normalizes with its running statistics and does not update them, and no gradient passes their
    outputs, so that the backward pass ends where the trained layers begin. The gradients of their parameters are 0.
    """

    def intercept(call: Any, args: tuple, kwargs: dict, context: nn.module.InterceptorContext) -> Any:
        path = context.module.path
        if len(path) != 1 or groups.get(path[0]) != "frozen":
            return call(*args, **kwargs)
        if isinstance(context.module, layers.BatchNorm):
            images, _ = args
            args = (images, False)
        return jax.lax.stop_gradient(call(*args, **kwargs))

    return nn.intercept_methods(intercept)


def at_least_float32(x: jax.Array) -> jax.Array:
    """Logits are float32 when the computation is bfloat16; float64 stays for tests of exactness."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))
