"""From a config to examples: read (once, then from the cache), split, cleaned."""

from __future__ import annotations

import pathlib

from absl import logging
from ml_collections import ConfigDict

from fer_jax import labels
from fer_jax.data import cache, clean, images, splits
from fer_jax.data.examples import UNSPLIT, Examples
from fer_jax.errors import UserError


def load(config: ConfigDict) -> Examples:
    """Every example the config speaks of: images uint8 (N, input.size, input.size, input.channels).

    The same examples in the same order for the same config and files. Logs what was read and the order of the labels.
    Raises UserError for whatever is wrong with the data or with the keys of `config.data`.
    """
    examples = cache.read(config.data, config.input)
    logging.info("%s", examples.description)
    examples = splits.assign(examples, config.data, config.seed)
    examples = clean.apply(examples, config.data, config.seed)
    logging.info("labels in order: %s", ", ".join(f"{i} {name}" for i, name in enumerate(examples.label_names)))
    return examples


def load_split(config: ConfigDict, split: str, path: str = "", label_names: tuple[str, ...] = ()) -> Examples:
    """One split, of the config's own data or of other data with the same labels.

    Args:
      config: a run's config; its input geometry is used for other data too.
      split: the split's name. Other data without splits is taken whole, whatever the name.
      path: FER2013's csv (with FER+'s beside it where the config's source is ferplus) or a folder with one subfolder a
        class, of which nothing is cleaned away but whose classes are merged as the config says; "" is the config's own
        data, cleaned as in training.
      label_names: the names and order to number the labels by, those of the trained model; () keeps the data's own.
        The same expression may be called otherwise ("anger" is "angry").

    Raises:
      UserError: there is no such split, or the data has a class that is not in `label_names`.
    """
    if path:
        config = config.copy_and_resolve_references()
        config.data.path = path
        config.data.source = _source_of(pathlib.Path(path).expanduser(), config.data.source)
        examples = cache.read(config.data, config.input)
        if "merge_angry_disgust" in config.data.clean and "disgust" in map(labels.canonical, examples.label_names):
            examples = clean.merge_angry_disgust(examples, config.data, config.seed)
    else:
        examples = load(config)
    if label_names:
        examples = examples.renumbered(label_names)
    return examples if path and examples.split_names == (UNSPLIT,) else examples.of_split(split)


def _source_of(path: pathlib.Path, source: str) -> str:
    """The source that reads `path`: a csv or its folder, or a folder of class folders."""
    if not path.exists():
        raise UserError(f"{path}: no such file or folder, expected FER2013's csv or a folder of class folders")
    if path.is_dir() and any(entry.is_dir() for entry in images.visible(path)):
        return "folder"
    return "ferplus" if source == "ferplus" and path.is_dir() else "fer2013"
