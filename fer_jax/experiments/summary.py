"""Plan of a run, and its network as a table of layers."""

import pathlib
from collections.abc import Mapping

from ml_collections import ConfigDict

from fer_jax import config as configs
from fer_jax.data import sources
from fer_jax.experiments import rundata
from fer_jax.models import registry
from fer_jax.models.network import Network, layer_groups, layers_of
from fer_jax.training import train

WIDTH = 100  # columns


def of_config(config: ConfigDict) -> str:
    """The table of the network a config trains; the data is read only where its source does not say the labels."""
    model = registry.from_config(config, _num_classes(config))
    shape = registry.input_shape(config)
    return table(model, shape, layer_groups(model, shape, config.optim.trainable_from))


def table(model: Network, input_shape: tuple[int, ...], groups: Mapping[str, str] | None = None) -> str:
    """The network as text of 100 columns, laid out as Keras' summary.

    Args:
      input_shape: (H, W, C) of one image.
      groups: of `fer_jax.models.network.layer_groups`; the frozen layers are marked and counted apart.
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


def plan(config: ConfigDict, workdir: pathlib.Path) -> str:
    """Describe a run before it starts, as text: its config, the sizes of its splits, its steps.

    Writes the beginning of the first batch, augmented, to `workdir`/first_batch.png, and trains nothing.

    Raises:
      UserError: bad data, or no such split.
    """
    from fer_jax.report import faces, page  # matplotlib: slow to import

    examples = rundata.of_config(config).examples
    count = len(examples.of_split(config.data.train_split))
    fitted = train.fitted_batch(config, count)
    _, epoch, total = train.cut(fitted, count)
    lines = [f"config.{key} = {value!r}" for key, value in configs.flatten(config.to_dict()).items()]
    for split in examples.split_names:
        classes = ", ".join(f"{n:g} {name}" for name, n in rundata.class_counts(examples, split).items())
        lines.append(f"{split}: {len(examples.of_split(split)):,} examples, {classes}")
    lines.append(f"{config.epochs} epochs of {epoch} steps of {fitted.batch_size} images: {total:,} steps")
    picture = workdir / "first_batch.png"
    picture.parent.mkdir(parents=True, exist_ok=True)
    page.save_sheet(picture, faces.as_trained(fitted, examples)[0])
    return "\n".join([*lines, f"the first batch: {picture}"])


def _line(name: str, shape: str, parameters: str, note: str) -> str:
    return f"{name:<48}{shape:<22}{parameters:>16}{note:>14}".rstrip()


def _num_classes(config: ConfigDict) -> int:
    data = config.data
    if known := sources.known_labels(data):
        return len(known) - ("merge_angry_disgust" in data.clean)
    from fer_jax.data import loading

    return len(loading.load(config).label_names)
