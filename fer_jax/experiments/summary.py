"""A network as a table: each layer with the shape of its output and its parameters, and the totals."""

from __future__ import annotations

from collections.abc import Mapping

from ml_collections import ConfigDict

from fer_jax.data import sources
from fer_jax.models import freezing, registry
from fer_jax.models.network import Network, layers_of

WIDTH = 100  # columns


def of_config(config: ConfigDict) -> str:
    """The table of the network a config trains; the data is read only where its source does not say the labels."""
    model = registry.from_config(config, _num_classes(config))
    shape = registry.input_shape(config)
    return table(model, shape, freezing.layer_groups(model, shape, config.optim.trainable_from))


def table(model: Network, input_shape: tuple[int, ...], groups: Mapping[str, str] | None = None) -> str:
    """The network as text of 100 columns, laid out as Keras' summary.

    Args:
      input_shape: (H, W, C) of one image.
      groups: of `fer_jax.models.freezing.layer_groups`; the frozen layers are marked and counted apart.
    """
    rows = layers_of(model, input_shape)
    frozen = {name for name, group in (groups or {}).items() if group == "frozen"}
    lines = [
        f"{type(model).__name__}, input {input_shape}, {model.num_classes} classes",
        _line("Layer (type)", "Output shape", "Parameters", ""),
        "-" * WIDTH,
    ]
    lines += [
        _line(
            f"{row.name} ({row.kind})",
            str((None, *row.output_shape)),
            f"{row.trained + row.statistics:,}",
            "frozen" if row.name in frozen else "",
        )
        for row in rows
    ]
    total = sum(row.trained + row.statistics for row in rows)
    trainable = sum(row.trained for row in rows if row.name not in frozen)
    statistics = sum(row.statistics for row in rows if row.name not in frozen)
    lines += [
        "-" * WIDTH,
        f"Parameters: {total:,} ({total * 4 / 2**20:,.1f} MiB in float32)",
        f"Trainable: {trainable:,}",
        f"Not trainable: {total - trainable:,} ({statistics:,} statistics of BatchNorm, "
        f"{total - trainable - statistics:,} frozen)",
    ]
    return "\n".join(lines)


def _line(name: str, shape: str, parameters: str, note: str) -> str:
    return f"{name:<48}{shape:<22}{parameters:>16}{note:>14}".rstrip()


def _num_classes(config: ConfigDict) -> int:
    data = config.data
    if known := sources.known_labels(data):
        return len(known) - ("merge_angry_disgust" in data.clean)
    from fer_jax.data import loading

    return len(loading.load(config).label_names)
