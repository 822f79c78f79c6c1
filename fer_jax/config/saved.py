"""The config in a run's folder and in a bundle."""

import json
import pathlib
from collections.abc import Mapping
from typing import Any

from absl import logging
from ml_collections import ConfigDict

from fer_jax import files
from fer_jax import result as results
from fer_jax.config.table import ARGUMENTS, TABLE, arguments_of_data, arguments_of_model, default, flatten, get, keys_of
from fer_jax.errors import UserError

FILE = "config.json"
# A folder with one of these belongs to a run; without, the run never got as far as its first checkpoint.
CHECKPOINTS = "checkpoints/[0-9]*"
TRACES = ("result.json", CHECKPOINTS, f"seed_*/{CHECKPOINTS}", f"fold_*/{CHECKPOINTS}")


def save(config: ConfigDict, workdir: pathlib.Path) -> None:
    """Write `workdir`/config.json."""
    files.write_json(pathlib.Path(workdir) / FILE, json.loads(config.to_json()))


def load(workdir: pathlib.Path) -> ConfigDict:
    """The config of a run, for looking at what it trained; UserError when the folder is none.

    Keys that another version of this package added or removed have their defaults or are left out, with a warning.
    """
    config, differing = _read(workdir)
    if differing:
        logging.warning("%s is by another version of fer_jax, which differs in %s", workdir, ", ".join(differing))
    return config


def _read(workdir: pathlib.Path) -> tuple[ConfigDict, list[str]]:
    """A run's config, and the keys that it lacks or has too many."""
    path = files.expand(workdir) / FILE
    if not path.is_file():
        raise UserError(f"{workdir} is no run's folder: it has no {FILE}; give the --workdir of a training run")
    saved = files.read_json(path, "the config that a run wrote there", "train it again")
    try:
        return with_defaults(saved), sorted(keys_of(saved) ^ (set(TABLE) - set(ARGUMENTS)))
    except (TypeError, AttributeError, KeyError) as error:
        raise UserError(f"{path}: {error}: the file was changed; train the run again") from None


def with_defaults(saved: Mapping[str, Any]) -> ConfigDict:
    """`default()` with those of the saved values that have a key: lists of JSON are tuples again, and it is locked."""
    config, flat = default(), flatten(saved)
    for key in TABLE:
        if key in ARGUMENTS:
            group, _, name = key.partition(".")
            args = saved.get(group, {}).get(name, {})
            get(config, key).update({name: tuple(v) if isinstance(v, list) else v for name, v in args.items()})
        elif key in flat:
            value = flat[key]
            config.update_from_flattened_dict({key: tuple(value) if isinstance(value, list) else value})
    return config


def require_inputs(config: ConfigDict, workdir: pathlib.Path) -> None:
    """UserError for weights and teachers that do not exist or do not fit: call it before anything is written.

    A run that has a checkpoint in `workdir` goes on from there and needs no weights to start from.
    """
    if config.model.pretrained and not has_checkpoint(pathlib.Path(workdir)):
        from fer_jax.models import pretrained

        pretrained.refuse_missing(config.model.pretrained, config.model.name)
        pretrained.refuse_other_input(config)
    for run in config.teacher.runs:
        folder = files.expand(run)
        inside = results.runs_inside(folder)
        if inside and results.read(folder) is None:  # images of a missing fold would get the targets of all others
            raise UserError(
                f"config.teacher.runs has {run!r}, whose folds or seeds are not finished: there are "
                f"{', '.join(inside)} and no result of all; run its command to the end"
            )
        for member in results.runs_of(folder):
            if not (member / FILE).is_file() or not any(member.glob(CHECKPOINTS)):
                where = run if member == folder else f"{run}/{member.name}"
                raise UserError(
                    f"config.teacher.runs has {run!r}, but {where} holds no trained run: expected the folder of one "
                    f"model with its {FILE} and checkpoints, or that of folds or seeds; train the teacher first"
                )


def has_checkpoint(workdir: pathlib.Path) -> bool:
    """Return whether a folder, or the folder of one of several runs in it, has a checkpoint."""
    return any(next(workdir.glob(trace), None) for trace in TRACES)


def refuse_other(config: ConfigDict, workdir: pathlib.Path) -> None:
    """UserError with the differing keys when `workdir` belongs to a run of another config.

    A folder without a checkpoint belongs to no run.
    """
    workdir = pathlib.Path(workdir)
    if not (workdir / FILE).exists() or not has_checkpoint(workdir):
        return
    saved, differing = _read(workdir)
    if differing:
        raise UserError(
            f"{workdir} holds a run of another version of fer_jax, which differs in {', '.join(differing)}: go on with "
            "that version, or use another --workdir"
        )
    old, new = _flat(saved), _flat(config)
    differ = [
        key
        for key in sorted(old.keys() | new.keys())
        if not (key in TABLE and TABLE[key].free) and old.get(key) != new.get(key)
    ]
    if differ:
        shown = ", ".join(f"{key} was {old.get(key)!r}, is {new.get(key)!r}" for key in differ)
        raise UserError(f"{workdir} holds a run of another config: {shown}; use another --workdir or that config")


def _flat(config: ConfigDict) -> dict[str, Any]:
    """Dotted keys with the arguments that were left to their defaults."""
    flat = flatten(json.loads(config.to_json()))
    for group, known in (
        ("data.args", arguments_of_data(config.data)),
        ("model.args", arguments_of_model(config.model.name)),
    ):
        for name, field in known.items():
            value = get(config, group).get(name, field.default)
            flat[f"{group}.{name}"] = list(value) if isinstance(value, tuple) else value
    return flat


def without_folders(config: ConfigDict) -> ConfigDict:
    """A copy with the names of files and folders alone, to be shown or given away."""
    config = config.copy_and_resolve_references()
    config.data.path, config.model.pretrained = map(files.name_of, (config.data.path, config.model.pretrained))
    config.data.cache_dir = ""
    config.teacher.runs = tuple(map(files.name_of, config.teacher.runs))
    return config
