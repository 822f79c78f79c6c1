"""FER+ (Barsoum et al., "Training deep networks for facial expression recognition with crowd-sourced label
distribution", ICMI 2016, arXiv:1608.01041): FER2013's faces with the votes of ten people for eight expressions.

`fer_jax.data.ferplus_votes` reads the votes and has the authors' two rules, majority and distribution.

As the authors do, only Training has distributions; the other splits are scored against the majority.
"""

import pathlib

import numpy as np
from ml_collections import ConfigDict

from fer_jax import fields, files, labels
from fer_jax.data import ferplus_votes
from fer_jax.data.examples import Examples
from fer_jax.data.sources import DataSet, fer2013
from fer_jax.errors import UserError
from fer_jax.fields import Field
from fer_jax.preprocess import images

VERSION = 1
DATA_SET = DataSet(
    labels.FERPLUS,
    terms="FER2013 was gathered by web search for the ICML 2013 challenges, FER+ (MIT) labeled it anew",
    words=fer2013.WEB_SEARCH,
)
ARGUMENTS = {
    "votes": Field(True, "Train against the distribution of votes instead of the majority."),
    "votes_path": ferplus_votes.PATH,
}


def fingerprint(data: ConfigDict) -> list:
    """Both files' paths, sizes and modification times, and whether the votes are asked for."""
    faces, votes = _locate(data)
    return [files.stamp(faces), files.stamp(votes), fields.value(data, ARGUMENTS, "votes")]


def read(data: ConfigDict, input: images.Geometry) -> Examples:
    """The rows of FER2013 that FER+ gives one of `labels.FERPLUS`, in their order.

    `data.path` is the folder of both files or either file. With `data.args.votes`, `Examples.votes` holds the
    distributions (one-hot in the splits other than Training) and the labels are their first maxima; else labels are
    majorities.
    Raises UserError for what `fer2013.parse` refuses and for votes that do not match the csv's rows.
    """
    faces_path, votes_path = _locate(data)
    distributions = fields.value(data, ARGUMENTS, "votes")
    faces, _, usage = fer2013.parse(faces_path)
    targets = np.zeros((len(faces), ferplus_votes.EXPRESSIONS), np.float32)
    for row, (use, counts) in enumerate(ferplus_votes.read(votes_path, usage, faces_path)):
        distributed = distributions and use == "Training"
        target = (ferplus_votes.distribution if distributed else ferplus_votes.majority)(counts)
        if target is not None:
            targets[row] = target
    kept = targets.any(axis=1)
    if not kept.any():
        raise UserError(
            f"{votes_path}: no row's votes name an expression by the authors' rule: download the file again"
        )
    count, votes = int(kept.sum()), targets[kept]
    return Examples(
        images=images.fit_all(faces[kept], count, input),
        labels=votes.argmax(axis=1).astype(np.int32),
        split=usage[kept],
        label_names=labels.FERPLUS,
        votes=votes if distributions else None,
        description=f"FER+: {count} faces from {votes_path.name}, "
        f"{len(faces) - count} others dropped by the authors' rule",
    )


def agreement(data: ConfigDict, faces: Examples) -> dict[str, float]:
    """Share of images whose majority of votes names the expression of FER2013's label: a share in 0..1 for each split.

    Counted are the images with a majority for one of FER2013's expressions: those dropped above and contempt are left
    out. A network that is scored against FER2013's labels can hardly do better than people do.

    Args:
      data: `data.path` is FER2013's, with the votes beside it.
      faces: all rows of FER2013's csv, in their order.

    Raises UserError where the votes are missing or do not match the csv's rows.
    """
    faces_path, votes_path = _locate(data)
    votes = ferplus_votes.read(votes_path, faces.split, faces_path)
    majorities = (ferplus_votes.majority(counts) for _, counts in votes)
    known = {name: number for number, name in enumerate(faces.label_names)}
    meant = [known.get(labels.canonical(name), -1) for name in labels.FERPLUS]
    voted = np.array([-1 if target is None else meant[np.argmax(target)] for target in majorities])
    right = voted == faces.labels
    return {name: float(np.mean(right[(faces.split == name) & (voted >= 0)])) for name in faces.split_names}


def _locate(data: ConfigDict) -> tuple[pathlib.Path, pathlib.Path]:
    """FER2013's csv and FER+'s."""
    given = files.expand(data.path)
    path = str(given.parent) if data.path and given.name == ferplus_votes.FILE_NAME else data.path
    return fer2013.locate(path), ferplus_votes.locate(data)
