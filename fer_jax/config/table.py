"""The one table of config keys: default, allowed values or range, and meaning; and arguments that belong to a choice.

`configs/default.py`, the checks of `fer_jax.config.rules` and docs/reference/config.md are made from it. Choices that
belong to a registry are looked up there when they are needed, so that reading a config file imports neither JAX nor
TensorFlow.
"""

import difflib
import importlib
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ml_collections import ConfigDict

from fer_jax.errors import UserError
from fer_jax.fields import MAX_INT, Field

MAX_SIDE = 1024  # pixels


def _keys_of(module: str, registry: str, *more: str) -> Callable[[], tuple[str, ...]]:
    """The keys of a registry, a dict or a tuple in a module of this package, imported when a value is checked."""
    return lambda: (*getattr(importlib.import_module(f"fer_jax.{module}"), registry), *more)


SCORES = ("accuracy", "macro_f1", "loss")


def _count(default: int, doc: str, low: int = 0, **options: Any) -> Field:
    return Field(default, doc, low=low, high=MAX_INT, **options)


def _amount(default: float, doc: str, low: float = 0.0, **options: Any) -> Field:
    return Field(default, doc, low=low, **options)


def _fraction(default: float, doc: str, **options: Any) -> Field:
    return Field(default, doc, **{"low": 0, "high": 1, **options})


TABLE: dict[str, Field] = {
    "name": Field("default", "Name of the recipe; the default folder of a run is runs/NAME."),
    "seed": _count(0, "Seed of everything random: initial weights, order, augmentation, drawn splits."),
    "epochs": _count(40, "Passes over the training split.", low=1),
    "batch_size": _count(128, "The global batch: all devices of all hosts together.", low=1),
    "dtype": Field(
        "auto", "Type of the computation; auto is bfloat16 on accelerators.", choices=("auto", "float32", "bfloat16")
    ),
    "log": Field(
        ("tensorboard",),
        "Where metrics go besides metrics.jsonl and metrics.csv; each is imported only when it is named.",
        choices=_keys_of("training.metric_log", "LOGGERS"),
        free=True,
    ),
    "data.source": Field(
        "fer2013",
        "What reads the data: a module of fer_jax/data/sources; auto goes by its layout.",
        choices=_keys_of("data.sources", "SOURCES", "auto"),
    ),
    "data.path": Field("", "The file or folder of the data set.", free=True),
    "data.args": Field({}, "Arguments of the source and of the cleaning steps, see below."),
    "data.cache_dir": Field("", "Folder of the cache; empty is the user's cache folder.", free=True),
    "data.cache": Field(
        True, "Decode the set once and keep it; false decodes an image whenever a batch needs it.", free=True
    ),
    "data.pipeline": Field(
        "tf",
        "tf streams, device keeps the whole set on the device, auto chooses. All give the same batches.",
        choices=_keys_of("data.pipelines", "PIPELINES", "auto"),
        free=True,
    ),
    "data.sampling": Field(
        "uniform",
        "uniform trains on every example once in an epoch; balanced gives every class the same number of positions.",
        choices=_keys_of("data.sampler", "SAMPLINGS"),
    ),
    "data.split": Field(
        "given", "How the splits are made, see fer_jax/data/splits.py.", choices=_keys_of("data.splits", "SPLITS")
    ),
    "data.train_split": Field("Training", "Name of the training split."),
    "data.select_split": Field("PublicTest", "Name of the split that chooses the epoch."),
    "data.test_split": Field("PrivateTest", "Name of the split that is scored once, after the choice; may be absent."),
    "data.holdout": Field(
        0.1, "Fraction of the examples that becomes the select split where the data has none.", low=0.0001, high=0.99
    ),
    "data.holdout_test": Field(
        0.1,
        "Fraction that becomes the test split where the data has none; 0 makes no test split.",
        low=0,
        high=0.99,
    ),
    "data.folds": _count(10, "Folds of --mode=crossval.", low=2),
    "data.fold_split": Field(
        "",
        "The only split that --mode=crossval deals into folds; the epoch is then chosen on data.select_split. Empty "
        "deals all examples.",
    ),
    "data.clean": Field(
        (), "Cleaning steps of fer_jax/data/clean.py, in order.", choices=_keys_of("data.clean", "STEPS")
    ),
    "input.size": Field(48, "Height and width of an image, in pixels.", low=8, high=MAX_SIDE),
    "input.channels": Field(1, "1 is gray, 3 is RGB, for which gray is repeated.", choices=(1, 3)),
    "input.crop": Field(
        0,
        "Side of the square that the network sees, in pixels: random in training, central in evaluation; "
        "0 is the whole image.",
        low=0,
        high=MAX_SIDE,
    ),
    "input.scaling": Field(
        "signed",
        "Range of the network's input: signed is [-1, 1], unit is [0, 1].",
        _keys_of("preprocess.scaling", "SCALINGS"),
    ),
    "input.resize": Field(
        "area", "How images of another size are brought to input.size.", _keys_of("preprocess.images", "INTERPOLATIONS")
    ),
    "augment.flip": _fraction(0.5, "Probability of a mirror image."),
    "augment.rotation": _amount(0.0, "Degrees, uniform in +- rotation.", high=180),
    "augment.shift": _fraction(0.0, "Fraction of the side, uniform in +- shift, drawn for each axis."),
    "augment.zoom": _amount(0.0, "Scale, uniform in 1 +- zoom, drawn for each axis.", high=0.9),
    "augment.interpolation": Field(
        "bilinear", "Of rotation, shift and zoom; bicubic blurs less.", choices=("bilinear", "bicubic")
    ),
    "augment.no_warp_fraction": _fraction(
        0.0, "Fraction of the training, at its end, without rotation, shift and zoom, whose interpolation blurs."
    ),
    "augment.erase": _fraction(0.0, "Probability of random erasing."),
    "augment.brightness": _fraction(0.0, "Added to the image: fraction of the full range, uniform in +- brightness."),
    "augment.contrast": _fraction(0.0, "Factor about the image's mean, uniform in 1 +- contrast."),
    "augment.camera": _fraction(
        0.0, "Probability of each fault of a camera: gamma, side light, blur or low resolution, noise, JPEG."
    ),
    "augment.mixup": _amount(0.0, "Parameter of mixup's Beta distribution; 0 is off."),
    "model.name": Field(
        "mini_xception", "The network: a key of fer_jax.models.registry.", choices=_keys_of("models.registry", "MODELS")
    ),
    "model.args": Field({}, "The network's own arguments, see below."),
    "model.pretrained": Field("", "Weights to start from: a model of fer-jax models, a bundle or a file."),
    "loss.label_smoothing": _fraction(0.0, "Probability taken from the label and spread over all classes.", high=0.99),
    "teacher.runs": Field(
        (),
        "Folders of finished runs with the same labels and input, or of folds: then each image has its targets from "
        "the fold that held it out. () disables distillation.",
    ),
    "teacher.weight": _fraction(0.7, "Weight of the teachers' probabilities in the target; the label has the rest."),
    "teacher.tta": Field(
        "flip",
        "Views of a face over which a teacher's logits are averaged.",
        choices=_keys_of("evaluation.evaluator", "VIEWS"),
    ),
    "optim.name": Field("adam", "The optimizer.", choices=_keys_of("training.optim", "OPTIMIZERS")),
    "optim.learning_rate": _amount(1e-3, "Peak learning rate.", low=1e-12),
    "optim.schedule": Field(
        "cosine",
        "Of the learning rate after the warm-up; plateau lowers it when eval.select_by stops improving.",
        choices=_keys_of("training.optim", "SCHEDULES"),
    ),
    "optim.warmup_epochs": _amount(0.0, "Epochs of linear warm-up from 0."),
    "optim.plateau_factor": _fraction(0.1, "plateau: factor of each reduction."),
    "optim.plateau_patience": _count(10, "plateau: evaluations without improvement before a reduction.", low=1),
    "optim.momentum": _fraction(0.9, "sgd: Nesterov momentum."),
    "optim.weight_decay": _amount(
        0.0,
        "Not applied to biases and BatchNorm; of muon neither to kernels with one input channel: depthwise ones, and "
        "the first of gray images.",
    ),
    "optim.accumulate_steps": _count(1, "Batches whose gradients make one update.", low=1),
    "optim.trainable_from": Field(
        "", "Beginning of a layer's name, before which all are frozen; last is the last stage; empty trains all."
    ),
    "optim.backbone_learning_rate": _amount(
        0.0, "Peak for trained layers other than the head; 0 is optim.learning_rate."
    ),
    "optim.averaging": Field(
        "none",
        "Average of the weights that is evaluated in their place: ema is exponential.",
        choices=_keys_of("training.optim", "AVERAGINGS"),
    ),
    "eval.every_epochs": _count(1, "Epochs between two evaluations.", low=1),
    "eval.select_by": Field(
        "accuracy",
        "The score that chooses the best checkpoint, and that early stopping and the plateau schedule watch.",
        choices=SCORES,
    ),
    "eval.tta": Field(
        (), "Views by which the final scores are computed too.", choices=_keys_of("evaluation.evaluator", "VIEWS")
    ),
    "eval.early_stop": _count(0, "Evaluations without improvement before the training ends; 0 is off."),
    "parallel.api": Field(
        "pmap", "How the step is spread over devices.", choices=_keys_of("distributed.parallel", "APIS"), free=True
    ),
    "parallel.sync_batchnorm": Field(
        True, "BatchNorm's statistics are those of the global batch, whatever the number of devices."
    ),
    "parallel.steps_per_dispatch": _count(
        32, "Largest number of steps in one dispatch; fewer where an epoch is shorter.", low=1
    ),
    "checkpoint.every_minutes": _amount(
        10.0, "Minutes between checkpoints, besides the best and the last; 0 saves after every dispatch.", free=True
    ),
}

GROUPS = tuple(dict.fromkeys(key.partition(".")[0] for key in TABLE if "." in key))
ARGUMENTS = ("data.args", "model.args")  # keys that hold the arguments of one source, step or network
FLAGS = {"seeds": "--seeds", "profile": "--profile"}  # of fer-jax train, often looked for in the config


def default() -> ConfigDict:
    """A config with every default, locked but for the arguments of sources and networks."""
    config = ConfigDict()
    for key, field in TABLE.items():
        group, _, name = key.rpartition(".")
        if group and group not in config:
            config[group] = ConfigDict()
        (config[group] if group else config)[name] = (
            ConfigDict(field.default) if isinstance(field.default, dict) else field.default
        )
    config.lock()
    for key in ARGUMENTS:
        get(config, key).unlock()
    return config


def get(config: ConfigDict, key: str) -> Any:
    """The value of a dotted key."""
    for part in key.split("."):
        config = config[part]
    return config


def flatten(config: Mapping[str, Any]) -> dict[str, Any]:
    """Nested mapping to dotted keys."""
    return dict(_flat(config, ""))


def _flat(config: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{key}.")
        elif not isinstance(value, Mapping):
            yield f"{prefix}{key}", value


def keys_of(config: Mapping[str, Any]) -> set[str]:
    """Dotted keys of a nested mapping, but for the arguments of sources and networks."""
    return {key for key in flatten(config) if not key.startswith(tuple(f"{group}." for group in ARGUMENTS))}


def arguments_of_data(data: ConfigDict) -> dict[str, Field]:
    """{name: Field} of `config.data.args`, by `config.data.source` and `config.data.clean`."""
    from fer_jax.data import clean, sources

    known = {} if data.source == "auto" else dict(getattr(sources.find(data.source), "ARGUMENTS", {}))
    for step in data.clean:
        known |= clean.ARGUMENTS.get(step, {})
    return known


def arguments_of_model(name: str) -> dict[str, Field]:
    """{name: Field} of `config.model.args` for a network; counts are not negative, dropout leaves something."""
    from fer_jax.models import registry

    known = {}
    for key, default in registry.arguments(name).items():
        if isinstance(default, tuple | int) and not isinstance(default, bool):
            known[key] = Field(default, "", low=0 if default == 0 else 1, high=2**20)
        else:
            known[key] = Field(default, "", low=0, high=0.99 if "dropout" in key else math.inf)
    return known


def check_arguments(group: str, given: Mapping[str, Any], known: Mapping[str, Field], owner: str) -> None:
    """UserError for an argument of `config.<group>.args` that `owner` does not take, or a value it does not allow."""
    if unknown := sorted(set(given) - set(known)):
        raise UserError(
            f"config.{group}.args has {', '.join(unknown)}: {owner} takes {', '.join(sorted(known)) or 'no arguments'}"
        )
    for name, value in given.items():
        if problem := known[name].problem(value):
            raise UserError(f"config.{group}.args.{name} {problem}")


def unknown_key(key: str) -> str:
    """One sentence about a dotted key that is not in the table."""
    if key in FLAGS:
        return f"the config has no key {key!r}: fer-jax train takes {FLAGS[key]}"
    if key in GROUPS:
        return f"config.{key} is a group of keys, not a value: give one of its keys, {', '.join(_members(key))}"
    return f"the config has no key {key!r}: {near(key)}; docs/reference/config.md lists all keys"


def near(key: str) -> str:
    """The known keys that resemble `key`, or else those of its group."""
    leaf = key.rpartition(".")[2]
    leaves = {known.rpartition(".")[2]: known for known in TABLE}
    same_leaf = [known for known in TABLE if known.rpartition(".")[2] == leaf]
    close = difflib.get_close_matches(key, TABLE, 3, 0.75) or [
        leaves[name] for name in difflib.get_close_matches(leaf, leaves, 3, 0.75)
    ]
    if found := list(dict.fromkeys(same_leaf + close)):
        return f"the nearest is {' or '.join(f'config.{name}' for name in found)}"
    group = key.partition(".")[0]
    if group in GROUPS:
        return f"config.{group} has {', '.join(_members(group))}"
    return f"expected one of {', '.join(key for key in TABLE if '.' not in key)}, or a key of {', '.join(GROUPS)}"


def _members(group: str) -> list[str]:
    return [key.partition(".")[2] for key in TABLE if key.startswith(f"{group}.")]
