"""A network as a table: each layer with the shape of its output and its parameters, and the totals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp

# Flax offers its table only as a picture 180 columns wide; the rows behind it are what this module presents.
from flax.linen.summary import _get_module_table

from fer_jax.models.network import Network

WIDTH = 100  # columns


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


def layers(model: Network, input_shape: tuple[int, ...]) -> list[Layer]:
    """The layers of `model` for images of `input_shape` (H, W, C), in the order they are called. Allocates nothing."""
    rows = _get_module_table(model, depth=1, show_repeated=False, compute_flops=False, compute_vjp_flops=False)(
        jax.random.key(0), jnp.zeros((1, *input_shape)), False)

    def count(variables: dict) -> int:
        return sum(leaf.size for leaf in jax.tree.leaves(variables))

    return [Layer(row.path[0], type(row.module_copy).__name__, tuple(row.outputs.shape[1:]),
                  count(row.counted_variables.get("params", {})), count(row.counted_variables.get("batch_stats", {})))
            for row in rows if row.path]


def table(model: Network, input_shape: tuple[int, ...], groups: Mapping[str, str] | None = None) -> str:
    """The network as text of 100 columns, laid out as Keras' summary.

    Args:
      input_shape: (H, W, C) of one image.
      groups: of `fer_jax.models.freezing.layer_groups`; the frozen layers are marked and counted apart.
    """
    rows = layers(model, input_shape)
    frozen = {name for name, group in (groups or {}).items() if group == "frozen"}
    lines = [f"{type(model).__name__}, input {input_shape}, {model.num_classes} classes",
             _line("Layer (type)", "Output shape", "Parameters", ""), "-" * WIDTH]
    lines += [_line(f"{row.name} ({row.kind})", str((None, *row.output_shape)), f"{row.trained + row.statistics:,}",
                    "frozen" if row.name in frozen else "") for row in rows]
    total = sum(row.trained + row.statistics for row in rows)
    trainable = sum(row.trained for row in rows if row.name not in frozen)
    statistics = sum(row.statistics for row in rows if row.name not in frozen)
    lines += ["-" * WIDTH,
              f"Parameters: {total:,} ({total * 4 / 2**20:,.1f} MiB in float32)",
              f"Trainable: {trainable:,}",
              f"Not trainable: {total - trainable:,} ({statistics:,} statistics of BatchNorm, "
              f"{total - trainable - statistics:,} frozen)"]
    return "\n".join(lines)


def _line(name: str, shape: str, parameters: str, note: str) -> str:
    return f"{name:<48}{shape:<22}{parameters:>16}{note:>14}".rstrip()
