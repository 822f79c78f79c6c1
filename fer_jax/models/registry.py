"""Networks by the name a config gives them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import flax.linen as nn

from fer_jax.errors import UserError
from fer_jax.models.mini_xception import MiniXception

MODELS: dict[str, type[nn.Module]] = {
    "mini_xception": MiniXception,
}


def create(name: str, num_classes: int, args: Mapping[str, Any] | None = None, *, dtype: Any = None,
           axis_name: str | None = None, implementation: str = "auto") -> nn.Module:
    """The network `name` for `num_classes`, called as `model.apply(variables, images, train)`.

    Args:
      args: the model's own arguments, as in `config.model.args`.
      dtype: of the computation; parameters and logits are float32 whatever it is.
      axis_name: mapped axis over which BatchNorm's statistics are averaged in training, or None.
      implementation: of the layers, see `fer_jax.models.layers`.

    Raises:
      UserError: for a name or an argument there is not, with those there are.
    """
    if name not in MODELS:
        raise UserError(f"config.model.name is {name!r}: expected one of {', '.join(sorted(MODELS))}")
    args = {key: tuple(v) if isinstance(v, list) else v for key, v in (args or {}).items()}
    fields = set(MODELS[name].__dataclass_fields__) - {"parent", "name", "num_classes", "dtype", "axis_name",
                                                       "implementation"}
    unknown = sorted(set(args) - fields)
    if unknown:
        raise UserError(f"config.model.args has {', '.join(unknown)}: "
                        f"{name} takes {', '.join(sorted(fields)) or 'none'}")
    return MODELS[name](num_classes=num_classes, dtype=dtype, axis_name=axis_name,
                        implementation=implementation, **args)
