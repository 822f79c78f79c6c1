"""Every bad value of a config is refused before any work, with the fix in the message."""

import bisect
import functools
from typing import Any

from ml_collections import ConfigDict

from fer_jax.config.table import (
    ARGUMENTS,
    MAX_SIDE,
    TABLE,
    arguments_of_data,
    arguments_of_model,
    check_arguments,
    get,
    keys_of,
    unknown_key,
)
from fer_jax.errors import UserError

FEWEST_CLASSES = 2
# {key: another key and the value of it without which the first means nothing}
NEEDED = {
    "optim.momentum": ("optim.name", "sgd"),
    "optim.plateau_factor": ("optim.schedule", "plateau"),
    "optim.plateau_patience": ("optim.schedule", "plateau"),
}


def validate(config: ConfigDict) -> None:
    """UserError for the first value that is out of range, unknown, or does not go with another.

    Reads no file and touches no device. See `fer_jax.config.saved.require_inputs` for the files it names.
    """
    check_keys(config)
    for key, field in TABLE.items():
        value = get(config, key)
        if problem := field.problem(value):
            raise UserError(f"config.{key} {problem}")
    _names(config)
    data = config.data
    owner = " with ".join((f"the source {data.source}", *data.clean[:1])) + "".join(f", {s}" for s in data.clean[1:])
    check_arguments("data", data.args, arguments_of_data(data), owner)
    _sizes(config)
    _idle(config)
    _network(config)


def check_keys(config: ConfigDict) -> None:
    """UserError for a key that `TABLE` lacks, or one of its keys that the config lacks."""
    given = keys_of(config.to_dict())
    if unknown := sorted(given - set(TABLE)):
        raise UserError(unknown_key(unknown[0]))
    if missing := [key for key in TABLE if key not in given and key not in ARGUMENTS]:
        raise UserError(
            f"the config has no value for {missing[0]!r}: start from configs.default.get_config(), which has every key"
        )


def _names(config: ConfigDict) -> None:
    if not config.name or "/" in config.name or config.name in (".", ".."):
        raise UserError(f"config.name is {config.name!r}: expected the name of a folder, without a slash")
    data = config.data
    for role in ("train_split", "select_split", "test_split"):
        if not data[role]:
            raise UserError(f"config.data.{role} is empty: expected the name of a split")
    if data.train_split in (data.select_split, data.test_split):
        raise UserError(
            f"config.data.train_split is {data.train_split!r}, the name of the select or test split too: "
            "give the training split a name of its own"
        )
    if data.holdout + data.holdout_test >= 1:
        raise UserError(
            f"config.data.holdout is {data.holdout} and config.data.holdout_test {data.holdout_test}: together they "
            "leave nothing to train on; expected a sum below 1"
        )


def _sizes(config: ConfigDict) -> None:
    if config.input.crop > config.input.size:
        raise UserError(
            f"config.input.crop is {config.input.crop} and config.input.size {config.input.size}: the crop must fit "
            "into the image; expected at most the size"
        )
    if config.augment.mixup and config.batch_size % 2:
        raise UserError(f"config.batch_size is {config.batch_size}: mixup pairs neighbors and needs an even number")
    if config.augment.no_warp_fraction and config.eval.early_stop:
        raise UserError(
            f"config.augment.no_warp_fraction is {config.augment.no_warp_fraction} and config.eval.early_stop "
            f"{config.eval.early_stop}: early stopping makes the run length unknown, so its last fraction is "
            "undefined; set one of them to 0"
        )
    if config.optim.warmup_epochs >= config.epochs:
        raise UserError(
            f"config.optim.warmup_epochs is {config.optim.warmup_epochs}: expected less than the "
            f"{config.epochs} of config.epochs"
        )


def _idle(config: ConfigDict) -> None:
    for key, (other, value) in NEEDED.items():
        found, default = get(config, key), TABLE[key].default
        if found != default and get(config, other) != value:
            raise UserError(
                f"config.{key} is {found!r}, which means nothing without config.{other}={value}: set it to {default!r}"
            )
    if config.optim.trainable_from and not config.model.pretrained:
        raise UserError(
            f"config.optim.trainable_from is {config.optim.trainable_from!r} with config.model.pretrained "
            "empty: that would freeze random layers; give a file of weights, or train them all"
        )


def _network(config: ConfigDict) -> None:
    name = config.model.name
    check_arguments("model", config.model.args, arguments_of_model(name), name)
    key = "crop" if config.input.crop else "size"
    side, channels = config.input[key], config.input.channels
    args = tuple(sorted((k, tuple(v) if isinstance(v, list) else v) for k, v in config.model.args.items()))
    if not _takes(name, args, side, channels):
        larger = range(side + 1, MAX_SIDE + 1)
        place = bisect.bisect_left(larger, True, key=lambda side: _takes(name, args, side, channels))
        smallest = larger[place] if place < len(larger) else 0
        raise UserError(
            f"config.input.{key} is {side}: {name} cannot take images of {side} x {side} pixels"
            + (f"; the smallest it takes are {smallest} x {smallest}" if smallest else " nor larger ones")
        )
    if config.optim.trainable_from:
        from fer_jax.models.network import layer_groups

        layer_groups(_plain(name, args), (side, side, channels), config.optim.trainable_from)


@functools.lru_cache(4096)
def _takes(name: str, args: tuple, side: int, channels: int) -> bool:
    """Return whether a network has something left of images (side, side, channels) in every layer."""
    import jax
    import jax.numpy as jnp

    model = _plain(name, args)

    def outputs() -> Any:
        images = jnp.zeros((1, side, side, channels))
        return model.init_with_output(jax.random.key(0), images, False, capture_intermediates=True, mutable=True)

    try:
        shapes = jax.eval_shape(outputs)
    except ZeroDivisionError:  # of the initialization of a dense layer on nothing
        return False
    except (IndexError, TypeError, ValueError) as error:
        raise UserError(
            f"config.model.args: {name} cannot be built with {dict(args)} for images of {side} x {side} pixels: "
            f"{' '.join(str(error).split())[:200]}"
        ) from None
    return all(0 not in leaf.shape for leaf in jax.tree.leaves(shapes))


def _plain(name: str, args: tuple) -> Any:
    from fer_jax.models import registry

    # "auto" would ask for the backend, which a run of several processes must not start before they have met.
    return registry.create(name, FEWEST_CLASSES, dict(args), implementation="plain")
