"""A trained network becomes a bundle: every format written, compared with Flax, scored and timed, or nothing at all."""

import dataclasses
import os
import pathlib
from collections.abc import Collection, Sequence

import jax
import numpy as np
from absl import logging

from fer_jax import files
from fer_jax.bundle import manifest, weights
from fer_jax.bundle.formats import FILES, GRAPHS, function
from fer_jax.data.examples import Examples
from fer_jax.data.sources import synthetic
from fer_jax.errors import UserError
from fer_jax.evaluation.evaluator import Evaluator
from fer_jax.export import comparison, quantize
from fer_jax.export.graph import Source
from fer_jax.export.trained import Trained
from fer_jax.faces import cropping
from fer_jax.models import registry

RELATIVE_TOLERANCE = 1e-5  # beside the absolute one of a format, for networks whose logits are large
CALIBRATION_FACES = 500
SYNTHETIC_FACES = 256  # that stand in where the run's data is not at hand


@dataclasses.dataclass(frozen=True)
class Exported:
    """A bundle that was written, and how its formats compare, Flax first."""

    bundle: manifest.Bundle
    formats: tuple[comparison.Format, ...]


def export(
    out: str | os.PathLike,
    trained: Trained,
    *,
    evaluation: Examples | None,
    calibration: Examples | None = None,
    formats: Collection[str] = (),
    compact: str = "",
) -> Exported:
    """Write a bundle, whole or not at all.

    Args:
      out: the folder; what is there already is replaced if it is a bundle and nothing else.
      trained: the network.
      evaluation: faces of the run's own data, not trained on, over which every format is compared with Flax and
        scored. None where they are not at hand: synthetic faces are compared, and nothing is scored.
      calibration: training faces, for formats that need them.
      formats: graphs to add to those that every bundle has, keys of `bundle.formats.GRAPHS`.
      compact: one of `quantize.STORED`: write no graph but model.onnx, its weights stored so, and float16 weights to
        fine-tune from.

    Raises:
      UserError: `out` holds something else, a format is unknown or lacks training faces, or `compact` is asked for
        beside others.
      RuntimeError: a format differs from Flax by more than it may, which is a defect of this package.
    """
    manifest.refuse_other_content(out)
    roles = _roles(formats, compact)
    faces = None
    if needing := [role for role in roles if GRAPHS[role].needs_faces]:
        if calibration is None:
            raise UserError(
                f"{needing[0]} fits its ranges to training faces and there are none: give the run's data by --data"
            )
        count = min(CALIBRATION_FACES, len(calibration))  # the same each time: the same run gives the same file
        faces = calibration.images[np.random.default_rng(0).choice(len(calibration), count, replace=False)]
    if evaluation is None:
        images = synthetic.draw(np.arange(SYNTHETIC_FACES) % 7, trained.input.size, trained.input.channels)
    else:
        images = evaluation.images
    measured = [comparison.reference(_flax_logits(trained, images), evaluation)]
    with files.atomic_path(out) as tmp:
        tmp.mkdir()
        source = Source(trained.infer(), trained.input, trained.metadata, tmp, faces)
        for role in roles:
            logging.info("writing %s and running it over %d faces", FILES[role], len(images))
            function(GRAPHS[role].writer)(tmp / FILES[role], source)
            measured.append(comparison.measure(tmp / FILES[role], role, images, evaluation, measured[0]))
            _refuse_disagreement(measured[-1], measured[0])
        if compact:
            quantize.compact(tmp / FILES["onnx"], compact)
            measured = [measured[0], comparison.measure(tmp / FILES["onnx"], "onnx", images, evaluation, measured[0])]
        weights.save(tmp / FILES["weights"], trained.variables, half=bool(compact))
        _write_words(tmp, trained, measured, compact)
    return Exported(manifest.read(out), tuple(measured))


def _roles(formats: Collection[str], compact: str) -> list[str]:
    """The graphs to write, in the table's order."""
    if unknown := sorted(set(formats) - set(GRAPHS)):
        raise UserError(f"unknown format {unknown[0]!r}: expected some of {', '.join(GRAPHS)}")
    if compact and compact not in quantize.STORED:
        raise UserError(f"unknown compact {compact!r}: expected one of {', '.join(quantize.STORED)}")
    if compact and formats:
        raise UserError(f"--compact writes model.onnx alone: leave --{next(iter(formats))} out, or export twice")
    return ["onnx"] if compact else [role for role, row in GRAPHS.items() if not row.optional or role in formats]


def _write_words(folder: pathlib.Path, trained: Trained, measured: Sequence[comparison.Format], stored: str) -> None:
    """The card and the manifest."""
    (folder / FILES["card"]).write_text(trained.card(stored), encoding="utf-8")
    manifest.write(
        folder,
        name=trained.title,
        labels=trained.label_names,
        input=trained.input,
        crop=cropping.CROP,
        temperature=trained.temperature,
        uncertain_below=trained.uncertain_below,
        model=trained.model | ({"stored": stored} if stored else {}),
        provenance=trained.provenance() | {"formats": comparison.record(measured)},
    )


@jax.default_matmul_precision("highest")
def _flax_logits(trained: Trained, images: np.ndarray) -> np.ndarray:
    """The reference: the network as training evaluates it, but in float32 on every device."""
    config = trained.config
    model = registry.create(config.model.name, len(trained.label_names), config.model.args)
    return Evaluator(model, config, len(images)).logits(trained.variables, images)


def _refuse_disagreement(found: comparison.Format, flax: comparison.Format) -> None:
    tolerance = GRAPHS[found.role].tolerance
    if tolerance is not None and not np.allclose(found.logits, flax.logits, RELATIVE_TOLERANCE, tolerance):
        difference = found.largest_difference
        raise RuntimeError(f"{found.file} differs from Flax by {difference:.1e} in a logit: no bundle was written")
