"""The examples of a run, verified against the record in its folder."""

import dataclasses
import os
import pathlib
from collections.abc import Sequence

import numpy as np
from absl import logging
from ml_collections import ConfigDict

from fer_jax import config as configs
from fer_jax.data import identity, loading, splits
from fer_jax.data.examples import UNSPLIT, Examples
from fer_jax.data.identity import Identity
from fer_jax.distributed import cluster
from fer_jax.errors import UserError

_NO_HASHES = "%s keeps no hashes of its training images: whether some of those scored are among them is not known"
_NO_RECORD = "%s keeps no record of its data: whether it is still the same is not known"


class OtherData(UserError):
    """The data is not that of the run."""


@dataclasses.dataclass(frozen=True)
class RunData:
    """The examples of a run, split and cleaned, and what is kept of them in its folder."""

    examples: Examples
    identity: Identity


def assigned(config: ConfigDict) -> Examples:
    """The examples of the source, with splits drawn as the config says, not yet cleaned."""
    return splits.assign(loading.read(config), config.data, config.seed)


def of_assigned(config: ConfigDict, examples: Examples, seed: int) -> RunData:
    """The data of a run from examples that have splits; cleaning is drawn by `seed`."""
    read = examples.split
    examples = loading.cleaned(config, examples, seed)
    found = identity.of(examples, read, config.data.train_split, seed)
    return RunData(dataclasses.replace(examples, fingerprint=found.fingerprint), found)


def of_config(config: ConfigDict) -> RunData:
    """The data of a new run."""
    return of_assigned(config, assigned(config), config.seed)


def of_run(config: ConfigDict, workdir: str | os.PathLike, kept: Identity | None, path: str = "") -> RunData:
    """The data of a run that was begun, in the splits it was begun with.

    Args:
      config: the run's.
      workdir: its folder, for messages.
      kept: what its folder holds; None, of a run that keeps no record of its data, compares nothing.
      path: where the data lies now; "" is where the config says.

    Raises:
      OtherData: the data is not that of the run; the message says what differs.
    """
    if path:
        config = config.copy_and_resolve_references()
        config.data.path = path
    if kept is None:
        logging.warning(_NO_RECORD, workdir)
        return of_config(config)
    examples = loading.read(config)
    if len(examples) != len(kept.read):
        classes = set(kept.label_names) <= set(examples.label_names)  # some may have been merged
        names = kept.label_names if classes else examples.label_names
        found = dataclasses.replace(kept, label_names=names, read=examples.split)
        raise OtherData(_refusal(workdir, config, kept.difference(found)))
    try:
        found = of_assigned(config, dataclasses.replace(examples, split=kept.read), kept.seed)
    except UserError as error:  # cleaning that finds no such class
        raise OtherData(_refusal(workdir, config, str(error))) from None
    require_same(kept, found.identity, workdir, config)
    return found


def require_same(kept: Identity, found: Identity, workdir: str | os.PathLike, config: ConfigDict) -> None:
    """UserError that says what differs between what a run keeps and the data that was found."""
    if difference := kept.difference(found):
        raise OtherData(_refusal(workdir, config, difference))


def for_training(config: ConfigDict, workdir: pathlib.Path, given: RunData | None = None) -> RunData:
    """The data to train on in `workdir`: that of the run begun there, else of a new one; all processes must call.

    Args:
      given: the data where it is not drawn by the config: a fold's, or that of several seeds.

    Raises:
      UserError: `workdir` holds a run of other data, or the processes do not see the same data.
    """
    begun = cluster.run_on_primary(lambda: configs.has_checkpoint(workdir))
    kept = cluster.run_on_primary(lambda: identity.load(workdir)) if begun else None
    if begun and kept is None:
        logging.warning(_NO_RECORD, workdir)
    if kept is None:
        data = given or of_config(config)
    elif given is None:
        return of_run(config, workdir, kept)
    else:
        require_same(kept, given.identity, workdir, config)
        return given
    first = cluster.run_on_primary(lambda: data.identity)
    if difference := first.difference(data.identity):
        raise UserError(f"the processes read other data, of the first and of this one {difference}: give all the same")
    return data


def to_score(
    config: ConfigDict,
    workdirs: Sequence[str | os.PathLike],
    split: str,
    path: str,
    label_names: tuple[str, ...],
) -> Examples:
    """The examples of a split that runs are scored on, none of which they were trained on.

    A warning names what keeps no record of its training images, since nothing is known of it.

    Args:
      config: of the first run, or of a bundle.
      workdirs: of the runs; () for a bundle.
      split: its name in the config, or what people call it ("test", "validation", ...).
      path: other data, see `fer_jax.data.loading.load_split`; "" is the first run's own, in the splits it was begun
        with. So is a `path` where the same data lies. Of other data without splits, images that were trained on are
        left out; of a given split they stay, and are counted in a warning.
      label_names: in the order of the logits.

    Raises:
      OtherData: the first run's data is no longer the same.
      UserError: there is no such split, or a run was trained on a part of it.
    """
    split = loading.split_named(config.data, split)
    kept = [identity.load(workdir) for workdir in workdirs]
    if kept and (not path or kept[0] is not None):
        try:
            own = of_run(config, workdirs[0], kept[0], path)
        except UserError:
            if not path:
                raise
        else:
            examples = own.examples.of_split(split)
            for workdir, other in zip(workdirs[1:], kept[1:], strict=True):
                if other is None:
                    logging.warning(_NO_HASHES, workdir)
                refuse_leak(other, workdir, examples, own.identity)
            return examples.renumbered(label_names)
    if not workdirs:
        _require_data_of_bundle(config, split, path)
    examples = loading.load_split(config, split, path, label_names)
    for workdir, one in zip(workdirs, kept, strict=True):
        if one is None:
            logging.warning(_NO_HASHES, workdir)
    return _without_trained(examples, [one.trained for one in kept if one is not None])


def _require_data_of_bundle(config: ConfigDict, split: str, path: str) -> None:
    if not path and config.data.source not in ("synthetic", "tfds"):
        raise UserError("a bundle does not say where its data lies: give --data, a csv or a folder of images")
    if split == config.data.train_split:
        logging.warning("a bundle is scored on %s, the split that such models train on: the score is too good", split)


def to_export(
    config: ConfigDict, workdir: str | os.PathLike, label_names: Sequence[str], path: str = "", training: bool = False
) -> tuple[Examples | None, Examples | None, dict[str, float] | None]:
    """The selection split of a run's data, its training split if asked for, and its class counts, for an export.

    Args:
      config: of the run.
      workdir: its folder.
      label_names: in the order of the logits.
      path: where the data lies now; "" is where it was.
      training: whether the training split is needed.

    Returns:
      (examples to evaluate, examples to calibrate with, `class_counts`); None for what was not asked for, and of all
      where the data cannot be read, nothing depends on it and no `path` was given; a warning says so.

    Raises:
      OtherData: the data is no longer the same.
      UserError: there is no data at `path`, or none and it is needed.
    """
    try:
        examples = of_run(config, workdir, identity.load(workdir), path).examples.renumbered(label_names)
    except OtherData:
        raise
    except UserError as error:
        if path or training:
            raise
        logging.warning("the run's data cannot be read (%s): synthetic faces stand in and nothing is scored", error)
        return None, None, None
    return (
        examples.of_split(config.data.select_split),
        examples.of_split(config.data.train_split) if training else None,
        class_counts(examples, config.data.train_split),
    )


def class_counts(examples: Examples, split: str) -> dict[str, float]:
    """{name: examples of a split}; where targets are soft, their sums to a tenth of an example."""
    if examples.votes is None:
        counts = np.bincount(examples.labels_of(split), minlength=len(examples.label_names)).tolist()
    else:
        counts = examples.votes[examples.split == split].sum(axis=0, dtype=np.float64).round(1).tolist()
    return dict(zip(examples.label_names, counts, strict=True))


def refuse_leak(other: Identity | None, workdir: str | os.PathLike, held_out: Examples, own: Identity) -> None:
    """UserError when another run was trained on held-out examples of this one.

    Images that this run is trained on too, as FER2013 has them on both sides of its splits, are no reason.

    Args:
      other: what the other run keeps of its data; None says nothing.
      workdir: the other run's folder.
      held_out: examples of splits that this run is not trained on.
      own: what this run keeps of its data.
    """
    if other is None:
        return
    hashes = identity.digests(held_out)
    leaked = np.isin(hashes, other.trained) & ~np.isin(hashes, own.trained)
    if leaked.any():
        raise UserError(
            f"{workdir} was trained on {leaked.sum():,} of {len(held_out):,} images of "
            f"{', '.join(held_out.split_names)} that are held out here: give a run of the same splits"
        )


def _without_trained(examples: Examples, sets: Sequence[np.ndarray]) -> Examples:
    """Leave out the images whose hashes are in one of the uint64 (M,) `sets`; a given split is only warned of."""
    if not sets:
        return examples
    hashes = identity.digests(examples)
    trained = np.any([np.isin(hashes, one) for one in sets], axis=0)
    if not trained.any():
        return examples
    if examples.split_names != (UNSPLIT,):
        logging.warning("%d of %d images were trained on: the score is too good", trained.sum(), len(examples))
        return examples
    if trained.all():
        raise UserError(f"all {len(examples):,} images were trained on: give others to score")
    left_out = f"left out {trained.sum():,} that were trained on"
    logging.warning("%s of %d images", left_out, len(examples))
    return dataclasses.replace(examples.take(~trained), description=f"{examples.description}, {left_out}")


def _refusal(workdir: str | os.PathLike, config: ConfigDict, difference: str) -> str:
    where = f"is at {config.data.path} now" if config.data.path else "the config reads now"
    return f"{workdir} was trained on other data than {where}: {difference}; give the old data, or another --workdir"
