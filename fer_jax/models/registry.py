"""Networks by the name a config gives them."""

import os
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from fer_jax import ops
from fer_jax.errors import UserError
from fer_jax.models import reports
from fer_jax.models.mini_xception import MiniXception
from fer_jax.models.network import Network
from fer_jax.models.resnet18 import ResNet18
from fer_jax.models.vgg import Vgg, Vgg16

WHOLE_BFLOAT16 = "--xla_cpu_experimental_ynn_fusion_type="  # the flag that leaves YNNPACK out

MODELS: dict[str, type[Network]] = {
    "ckplus_model1": reports.CkPlusModel1,
    "ckplus_model2": reports.CkPlusModel2,
    "jaffe_basic": reports.JaffeBasic,
    "jaffe_best": reports.JaffeBest,
    "jaffe_dropout": reports.JaffeDropout,
    "mini_xception": MiniXception,
    "resnet18": ResNet18,
    "six_conv": reports.SixConv,
    "vgg": Vgg,
    "vgg16": Vgg16,
}


def arguments(name: str) -> dict[str, Any]:
    """{argument: default} of a network, as in `config.model.args`; UserError for a name there is not."""
    if name not in MODELS:
        raise UserError(f"config.model.name is {name!r}: expected one of {', '.join(sorted(MODELS))}")
    return {
        key: field.default
        for key, field in MODELS[name].__dataclass_fields__.items()
        if key not in Network.__dataclass_fields__
    }


def create(
    name: str,
    num_classes: int,
    args: Mapping[str, Any] | None = None,
    *,
    dtype: Any = None,
    axis_name: str | None = None,
    implementation: str = "auto",
) -> Network:
    """The network `name` for `num_classes`, called as `model.apply(variables, images, train)`.

    Args:
      args: the model's own arguments, as in `config.model.args`.
      dtype: of the computation; parameters and logits are float32 whatever it is.
      axis_name: mapped axis over which BatchNorm's statistics are averaged in training, or None.
      implementation: of the layers, see `fer_jax.models.layers`.

    Raises:
      UserError: an unknown name or argument; the message lists the known ones.
    """
    fields = set(arguments(name))
    args = {key: tuple(v) if isinstance(v, list) else v for key, v in (args or {}).items()}
    unknown = sorted(set(args) - fields)
    if unknown:
        raise UserError(
            f"config.model.args has {', '.join(unknown)}: {name} takes {', '.join(sorted(fields)) or 'none'}"
        )
    return MODELS[name](
        num_classes=num_classes, dtype=dtype, axis_name=axis_name, implementation=implementation, **args
    )


def from_config(
    config: ConfigDict,
    num_classes: int,
    axis_name: str | None = None,
    platform: str | None = None,
) -> Network:
    """The network of `config.model`, computing in `config.dtype`: "auto" is bfloat16 on accelerators, float32 on CPUs.

    `platform` is that of the devices the network will run on, see `fer_jax.ops`; None is JAX's default backend. The
    other arguments and errors are those of `create`; also UserError for bfloat16 where JAX computes NaN in it.
    """
    platform = platform or jax.default_backend()
    if config.dtype == "bfloat16" and platform == "cpu" and _cpu_bfloat16_is_broken():
        raise UserError(
            f"config.dtype is bfloat16, and JAX {jax.__version__} makes NaN of some bfloat16 convolutions "
            f"on CPUs: take float32, or set the environment's XLA_FLAGS to {WHOLE_BFLOAT16}"
        )
    bfloat16 = config.dtype == "bfloat16" or (config.dtype == "auto" and platform != "cpu")
    return create(
        config.model.name,
        num_classes,
        config.model.args,
        dtype=jnp.bfloat16 if bfloat16 else None,
        axis_name=axis_name,
        implementation=ops.implementation("auto", platform),
    )


def _cpu_bfloat16_is_broken() -> bool:
    # Seen with JAX 0.12.0: a convolution, ReLU and max-pooling fused for YNNPACK; not with 0.10.2, nor in float32.
    return jax.__version_info__ >= (0, 12) and WHOLE_BFLOAT16 not in os.environ.get("XLA_FLAGS", "").split()


def input_shape(config: ConfigDict) -> tuple[int, int, int]:
    """(H, W, C) of one image as the network of `config` sees it."""
    size = config.input.crop or config.input.size
    return size, size, config.input.channels
