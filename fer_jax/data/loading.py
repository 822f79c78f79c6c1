"""From a config to examples: read (once, then from the cache), split, cleaned."""

import dataclasses

import numpy as np
from absl import logging
from ml_collections import ConfigDict

from fer_jax import labels
from fer_jax.data import cache, classes, clean, ferplus_votes, sources, splits
from fer_jax.data.examples import UNSPLIT, Examples
from fer_jax.data.sources import ferplus
from fer_jax.errors import UserError


def load(config: ConfigDict) -> Examples:
    """Every example the config speaks of: images uint8 (N, input.size, input.size, input.channels).

    The same examples in the same order for the same config and files. Logs what was read and the order of the labels.
    Raises UserError for whatever is wrong with the data or with the keys of `config.data`.
    """
    return cleaned(config, splits.assign(read(config), config.data, config.seed), config.seed)


def read(config: ConfigDict) -> Examples:
    """Every example that the source reads, neither split nor cleaned; logs what they are."""
    examples = cache.read(config.data, config.input)
    logging.info("%s", examples.description)
    return examples


def cleaned(config: ConfigDict, examples: Examples, seed: int) -> Examples:
    """Prepare examples that have splits for training; logs the order of the labels, and what the splits lack."""
    examples = clean.apply(examples, config.data, seed)
    if np.count_nonzero(examples.class_counts()) < 2:
        name = examples.label_names[examples.labels[0]]
        raise UserError(f"{examples.description}: all are {name}, expected at least two classes: add images of another")
    logging.info("%s", labels.in_order(examples.label_names))
    for warning in splits.warnings(examples, config.data):
        logging.warning("%s", warning)
    return examples


def load_split(config: ConfigDict, split: str, path: str = "", label_names: tuple[str, ...] = ()) -> Examples:
    """One split, of the config's own data or of other data with the same labels.

    Args:
      config: a run's config; its input geometry is used for other data too.
      split: the split's name, or what people call the splits of these roles: train, validation, test. Other data
        without splits is taken whole, whatever the name.
      path: FER2013's csv (FER+'s labels where its votes lie beside it and the config's source is ferplus), FER+'s csv,
        a folder with one subfolder a class, a csv or tsv that lists images, JAFFE, CK+, RAF-DB, AffectNet or ExpW as
        distributed: nothing is cleaned away, but classes are merged as the config says. "" is the config's own data,
        cleaned as in training.
      label_names: the names and order to number the labels by, those of the trained model; () keeps the data's own.
        The same expression may be called otherwise ("anger" is "angry"). Examples of an expression the model does not
        know, such as contempt, are left out, and counted in the description.

    Raises:
      UserError: there is no such split, or the data has a class that is no expression known here.
    """
    if path:
        config = config.copy_and_resolve_references()
        config.data.path = path
        sources.settle(config.data, preferred=config.data.source)
        examples = cache.read(config.data, config.input)
        if "merge_angry_disgust" in config.data.clean and "disgust" in map(labels.canonical, examples.label_names):
            examples = clean.merge_angry_disgust(examples, config.data, config.seed)
    else:
        examples = load(config)
    if label_names:
        examples = _without_other_expressions(examples, label_names).renumbered(label_names)
    if path and examples.split_names == (UNSPLIT,):
        return examples
    return examples.of_split(split if split in examples.split_names else split_named(config.data, split))


def split_named(data: ConfigDict, name: str) -> str:
    """The split of `config.data` that people call `name`: "test", "val" and the like go by their role, others as is."""
    if name in (data.train_split, data.select_split, data.test_split):
        return name
    return classes.split_named(name, data)


def noise_ceilings(config: ConfigDict) -> dict[str, float]:
    """Agreement of other people with FER2013's label, for each split: a share in 0..1 (`ferplus.agreement`).

    {} unless the data is FER2013 with the votes of FER+ beside it; votes of other rows are only warned of.
    """
    given = config.data.args.get("votes_path")
    if config.data.source != "fer2013" or not (given or ferplus_votes.beside(config.data.path).is_file()):
        return {}
    try:
        return ferplus.agreement(config.data, cache.read(config.data, config.input))
    except UserError as error:
        logging.warning("no noise ceiling: %s", error)
        return {}


def _without_other_expressions(examples: Examples, label_names: tuple[str, ...]) -> Examples:
    unknown = set(labels.EXPRESSIONS) - set(map(labels.canonical, label_names))
    counted = zip(examples.label_names, examples.class_counts().tolist(), strict=True)
    others = {name: count for name, count in counted if count and labels.canonical(name) in unknown}
    if not others:
        return examples
    left_out = "left out " + ", ".join(f"{count} of {name}" for name, count in others.items())
    logging.warning("%s: the model knows %s", left_out, ", ".join(label_names))
    kept = ~np.isin(examples.labels, [examples.label_names.index(name) for name in others])
    return dataclasses.replace(examples.take(kept), description=f"{examples.description}, {left_out}")
