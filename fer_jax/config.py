"""Every bad value of a config is refused before any work, with the fix in the message."""

from __future__ import annotations

import json
import pathlib
from typing import Any

from ml_collections import ConfigDict

from fer_jax import files
from fer_jax.errors import UserError
from fer_jax.evaluation import tta
from fer_jax.preprocess import scaling
from fer_jax.training import optim

CHOICES = {
    "dtype": ("auto", "float32", "bfloat16"),
    "data.pipeline": ("tf", "device", "auto"),
    "input.channels": (1, 3),
    "input.scaling": tuple(scaling.SCALINGS),
    "input.resize": ("area", "linear"),
    "augment.erase_fill": ("noise", "mean"),
    "augment.interpolation": ("bilinear", "bicubic"),
    "teacher.view": tta.VIEWS,
    "optim.name": optim.OPTIMIZERS,
    "optim.schedule": optim.SCHEDULES,
    "eval.select_by": ("accuracy", "macro_f1", "loss"),
    "eval.early_stop_metric": ("loss", "accuracy", "macro_f1"),
    "parallel.api": ("pmap", "shard_map"),
}

INFINITY = float("inf")
# (least, most), both allowed
RANGES = {
    "seed": (0, 2**31 - 1),
    "seeds": (1, 1000),
    "epochs": (1, INFINITY),
    "batch_size": (1, INFINITY),
    "input.size": (8, 1024),
    "data.examples": (70, INFINITY),
    "augment.flip": (0, 1),
    "augment.rotation": (0, 180),
    "augment.shift": (0, 1),
    "augment.zoom": (0, 0.9),
    "augment.crop_padding": (0, INFINITY),
    "augment.erase": (0, 1),
    "augment.sharp_share": (0, 1),
    "augment.brightness": (0, 1),
    "augment.contrast": (0, 1),
    "augment.mixup": (0, INFINITY),
    "augment.cutmix": (0, INFINITY),
    "loss.label_smoothing": (0, 0.99),
    "loss.logit_adjustment": (0, INFINITY),
    "teacher.weight": (0, 1),
    "teacher.temperature": (0.01, 100),
    "optim.learning_rate": (1e-12, INFINITY),
    "optim.warmup_epochs": (0, INFINITY),
    "optim.final_fraction": (0, 1),
    "optim.decay_rate": (0, 1),
    "optim.plateau_factor": (0, 1),
    "optim.plateau_patience": (1, INFINITY),
    "optim.momentum": (0, 1),
    "optim.weight_decay": (0, INFINITY),
    "optim.clip_norm": (0, INFINITY),
    "optim.accumulate_steps": (1, INFINITY),
    "optim.lookahead_steps": (0, INFINITY),
    "optim.sam_radius": (0, INFINITY),
    "optim.ema_decay": (0, 0.999999),
    "eval.batch_size": (1, INFINITY),
    "eval.every_epochs": (1, INFINITY),
    "eval.early_stop": (0, INFINITY),
    "parallel.steps_per_dispatch": (1, INFINITY),
    "checkpoint.every_epochs": (1, INFINITY),
    "checkpoint.every_steps": (0, INFINITY),
    "checkpoint.every_minutes": (0, INFINITY),
    "checkpoint.keep": (1, INFINITY),
}

# Keys that change where a run's input lies or how fast it goes, not its result.
FREE_TO_CHANGE = (
    "profile",
    "data.path",
    "data.cache_dir",
    "data.pipeline",
    "parallel.api",
    "eval.batch_size",
    "checkpoint.every_epochs",
    "checkpoint.every_steps",
    "checkpoint.every_minutes",
    "checkpoint.keep",
)

# Keys that older runs do not have, with the value that means what those runs did.
ADDED_LATER = {
    "augment.interpolation": "bilinear",
    "augment.sharp_share": 0.0,
    "optim.lookahead_steps": 0,
    "optim.sam_radius": 0.0,
    "teacher.view": "flip",
}


def validate(config: ConfigDict) -> None:
    """UserError for the first value that is out of range, unknown, or does not go with another."""
    for key, choices in CHOICES.items():
        if (value := get(config, key)) not in choices:
            raise UserError(f"config.{key} is {value!r}: expected one of {', '.join(map(str, choices))}")
    for key, (least, most) in RANGES.items():
        if not least <= (value := get(config, key)) <= most:
            between = f"at least {least}" if most == INFINITY else f"between {least} and {most}"
            raise UserError(f"config.{key} is {value}: expected {between}")
    if unknown := set(config.eval.tta) - set(tta.VIEWS):
        raise UserError(f"config.eval.tta has {sorted(unknown)[0]!r}: expected {' or '.join(tta.VIEWS)}")
    if config.seeds > 1 and config.eval.early_stop:
        raise UserError(
            f"config.eval.early_stop is {config.eval.early_stop} and config.seeds {config.seeds}: models "
            "that are trained together end together; set early_stop to 0, or train one seed after another"
        )
    if config.optim.warmup_epochs >= config.epochs:
        raise UserError(
            f"config.optim.warmup_epochs is {config.optim.warmup_epochs}: expected less than the "
            f"{config.epochs} of config.epochs"
        )
    if config.augment.sharp_share and config.eval.early_stop:
        raise UserError(
            f"config.augment.sharp_share is {config.augment.sharp_share} and config.eval.early_stop "
            f"{config.eval.early_stop}: nobody knows where the end begins; set one of them to 0"
        )
    if config.optim.schedule == "free":
        _refuse_beside_free(config.optim)
    if config.optim.trainable_from and not config.model.pretrained:
        raise UserError(
            f"config.optim.trainable_from is {config.optim.trainable_from!r} with config.model.pretrained "
            "empty: that would freeze random layers; give a file of weights, or train them all"
        )
    if (config.augment.mixup or config.augment.cutmix) and config.batch_size % 2:
        raise UserError(
            f"config.batch_size is {config.batch_size}: mixup and cutmix pair neighbours and need an even number"
        )


def _refuse_beside_free(chosen: ConfigDict) -> None:
    """UserError for what does not go with the averages of the schedule "free"."""
    if chosen.name not in optim.SCHEDULE_FREE_BASES:
        raise UserError(
            f"config.optim.schedule is 'free' and config.optim.name {chosen.name!r}: expected one of "
            f"{', '.join(optim.SCHEDULE_FREE_BASES)}, whose momentum the averages replace"
        )
    for key, off in (
        ("accumulate_steps", 1),
        ("ema_decay", 0.0),
        ("trainable_from", ""),
        ("backbone_learning_rate", 0.0),
    ):
        if chosen[key] != off:
            raise UserError(
                f"config.optim.schedule is 'free' and config.optim.{key} {chosen[key]!r}: set it to "
                f"{off!r}, or take another schedule"
            )
    if not chosen.momentum:
        raise UserError("config.optim.schedule is 'free' and config.optim.momentum 0: expected more, such as 0.9")


def get(config: ConfigDict, key: str) -> Any:
    """The value of a dotted key."""
    for part in key.split("."):
        config = config[part]
    return config


def flatten(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dict to dotted keys."""
    flat = {}
    for key, value in config.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def save(config: ConfigDict, workdir: pathlib.Path) -> None:
    """Write `workdir`/config.json."""
    files.write_json(pathlib.Path(workdir) / "config.json", json.loads(config.to_json()))


def load(workdir: pathlib.Path) -> ConfigDict:
    """The config of a run, also of one by an older version; UserError when the folder is none."""
    path = pathlib.Path(workdir) / "config.json"
    if not path.is_file():
        raise UserError(f"{workdir} is no run's folder: it has no config.json; give the --workdir of a training run")
    saved = json.loads(path.read_text())
    for key, value in ADDED_LATER.items():
        group, name = key.split(".")
        saved.setdefault(group, {}).setdefault(name, value)
    return ConfigDict(saved)


def refuse_other(config: ConfigDict, workdir: pathlib.Path) -> None:
    """UserError with the differing keys when `workdir` belongs to a run of another config."""
    if not (pathlib.Path(workdir) / "config.json").exists():
        return
    old, new = flatten(load(workdir).to_dict()), flatten(json.loads(config.to_json()))
    differ = [
        key for key in sorted(old.keys() | new.keys()) if key not in FREE_TO_CHANGE and old.get(key) != new.get(key)
    ]
    if differ:
        shown = ", ".join(f"{key} was {old.get(key)!r}, is {new.get(key)!r}" for key in differ)
        raise UserError(f"{workdir} holds a run of another config: {shown}; use another --workdir or that config")


def without_folders(config: ConfigDict) -> ConfigDict:
    """A copy with the names of files and folders alone, to be shown or given away."""
    config = config.copy_and_resolve_references()
    config.data.path, config.model.pretrained = map(files.name_of, (config.data.path, config.model.pretrained))
    config.data.cache_dir = ""
    config.teacher.runs = tuple(map(files.name_of, config.teacher.runs))
    return config
