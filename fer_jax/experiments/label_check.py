"""A check of labels by what networks say about images that they were not trained on."""

import collections
import os
import pathlib

import numpy as np
from ml_collections import ConfigDict
from scipy.special import softmax

from fer_jax import config as configs
from fer_jax import files, templates
from fer_jax import result as results
from fer_jax.data import doubtful, identity, loading, sources
from fer_jax.data.examples import Examples
from fer_jax.errors import UserError
from fer_jax.experiments import rundata
from fer_jax.report.faces import Face

TABLE, PAGE = "doubtful.csv", "doubtful.html"
SHOWN = 100  # faces on the page


def check(workdir: str | os.PathLike, out: str | os.PathLike) -> tuple[int, int]:
    """Write likely wrong labels into `out`: doubtful.csv, which cleaning steps read, and the page doubtful.html.

    Returns the numbers of the labels that were checked and of those that are likely wrong.

    Args:
      workdir: the folder of a cross-validation, each fold of which says what it thinks of the images it holds out; or
        of a run, of which the test split is checked.
      out: a folder.

    Raises:
      UserError: a run is not finished, or its data is no longer the same.
    """
    out = pathlib.Path(out)
    members = results.runs_of(workdir)
    config = configs.load(members[0])
    parts = [_held_out(member, config.data.test_split) for member in members]
    examples = [part for part, _ in parts]
    labels = np.concatenate([part.labels for part in examples])
    probabilities = softmax(np.concatenate([logits for _, logits in parts]).astype(np.float64), axis=1)
    digests = np.concatenate([identity.digests(part) for part in examples])
    places, suggested = doubtful.find(probabilities, labels)
    where, names = _places(config), examples[0].label_names
    rows = [
        doubtful.Row(
            image=f"{digests[place]:016x}",
            label=names[labels[place]],
            suggested=names[other],
            probability_of_label=float(probabilities[place, labels[place]]),
            probability_of_suggested=float(probabilities[place, other]),
            place=where[int(digests[place]), names[labels[place]]],
        )
        for place, other in zip(places, suggested, strict=True)
    ]
    doubtful.write(out / TABLE, rows)
    _write_page(out / PAGE, examples, places, rows, files.name_of(workdir))
    return len(labels), len(rows)


def _write_page(
    path: pathlib.Path, parts: list[Examples], places: np.ndarray, rows: list[doubtful.Row], name: str
) -> None:
    """The most doubtful faces with their labels; `places` count through all `parts`."""
    ends = np.cumsum([len(part) for part in parts])
    faces = []
    for place, row in zip(places[:SHOWN].tolist(), rows, strict=False):
        which = int(np.searchsorted(ends, place, "right"))
        image = parts[which].images[place - ends[which]]  # counted from the part's end
        label = f"{row.label} {100 * row.probability_of_label:.0f} %"
        suggested = f"{row.suggested} {100 * row.probability_of_suggested:.0f} %"
        faces.append(Face(image, (label, suggested, pathlib.PurePath(row.place).name)))
    shown = {"title": "Doubtful labels", "name": name, "table": TABLE, "faces": faces}
    templates.write(path, "doubtful.html", shown | {"labels": int(ends[-1]), "doubtful": len(rows)})


def _held_out(workdir: pathlib.Path, split: str) -> tuple[Examples, np.ndarray]:
    """The examples of a split that a run was not trained on, and its logits."""
    path = workdir / "predictions" / f"{split}.npz"
    if not path.is_file():
        raise UserError(f"{workdir} has no predictions of {split}: run its command to the end")
    logits = files.read_npz(path, "a run's predictions", f"delete {workdir}")["logits"]
    examples = rundata.of_run(configs.load(workdir), workdir, identity.load(workdir)).examples.of_split(split)
    if len(logits) != len(examples):
        raise UserError(f"{path} has {len(logits)} predictions, expected {len(examples)}: train the run again")
    return examples, logits


def _places(config: ConfigDict) -> dict[tuple[int, str], str]:
    """The place of each image by its digest and label: its file, or the number of its row; "" if neither is known."""
    everything, source = loading.read(config), sources.find(config.data.source)
    if hasattr(source, "image_files"):
        where = list(map(str, source.image_files(config.data)))
    else:
        where = [f"row {number}" for number in range(len(everything))]
    names = np.array(everything.label_names)[everything.labels].tolist()
    return collections.defaultdict(
        str, zip(zip(identity.digests(everything).tolist(), names, strict=True), where, strict=True)
    )
