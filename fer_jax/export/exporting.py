"""A trained network becomes a bundle: every format written, compared with Flax, scored and timed, or nothing at all."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from absl import logging
from ml_collections import ConfigDict

from fer_jax import files
from fer_jax.bundle import manifest, weights
from fer_jax.bundle import runtime as runtimes
from fer_jax.data.examples import Examples
from fer_jax.data.sources import synthetic
from fer_jax.errors import UserError
from fer_jax.evaluation.evaluator import Evaluator
from fer_jax.export import card, comparison, graph, onnx, provenance, quantize, stablehlo
from fer_jax.faces import cropping
from fer_jax.models import registry
from fer_jax.result import RunResult

# float32 formats must give Flax' logits: absolute, and relative for networks whose logits are large
ABSOLUTE_TOLERANCE, RELATIVE_TOLERANCE = 1e-4, 1e-5
CALIBRATION_FACES = 500
SYNTHETIC_FACES = 256  # that stand in where the run's data is not at hand


@dataclasses.dataclass(frozen=True)
class Trained:
    """A trained network, with what a bundle says of it.

    Attributes:
      config: of the run; kept as provenance.
      variables: {"params", "batch_stats"?} of the network that `config.model` names.
      label_names: in the order of the logits.
      training_data: what the weights were trained on, for people.
      licence: of the weights, for people; see `provenance.licence_note`.
      result: of the run, or None.
      temperature: probabilities are softmax(logits / temperature).
      uncertain_below: see `bundle.Bundle`.
      class_counts: of the training split, see `RunResult`; None where they are not known.
      name: of the model, for people; "" is the config's.
      note: a sentence for the card on how it was made, such as how it was chosen among several runs.
    """

    config: ConfigDict
    variables: Any
    label_names: Sequence[str]
    training_data: str
    licence: str
    result: RunResult | None = None
    temperature: float = 1.0
    uncertain_below: float = 0.0
    class_counts: Mapping[str, float] | None = None
    name: str = ""
    note: str = ""

    @property
    def title(self) -> str:
        """The model's name."""
        return self.name or self.config.name

    @property
    def input(self) -> manifest.Input:
        """What the network takes."""
        spec = self.config.input
        return manifest.Input(spec.size, spec.channels, spec.scaling, spec.resize, spec.crop or None)

    @property
    def model(self) -> dict[str, Any]:
        """The network as a manifest names it."""
        return {
            "name": self.config.model.name,
            "args": self.config.model.args.to_dict(),
            "parameters": sum(array.size for array in jax.tree.leaves(self.variables)),
        }


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
    float16: bool = False,
    int8: bool = False,
    compact: str = "",
) -> Exported:
    """Write a bundle, whole or not at all.

    Args:
      out: the folder; what is there already is replaced if it is a bundle and nothing else.
      trained: the network.
      evaluation: faces of the run's own data, not trained on, over which every format is compared with Flax and
        scored. None where they are not at hand: synthetic faces are compared, and nothing is scored.
      calibration: training faces, for `int8`.
      float16: add the graph in half precision.
      int8: add the graph in 8-bit integers.
      compact: one of `quantize.STORED`: write no graph but model.onnx, its weights stored so, and no archive
        of them.

    Raises:
      UserError: `out` holds something else, `int8` lacks training faces, or `compact` is asked for beside others.
      RuntimeError: a float32 format disagrees with Flax, which is a defect of this package.
    """
    manifest.refuse_other_content(out)
    if int8 and calibration is None:
        raise UserError("int8 fits its ranges to training faces and there are none: give the run's data by --data")
    if compact and (float16 or int8):
        raise UserError("--compact writes model.onnx alone: leave --float16 and --int8 out, or export twice")
    images = _synthetic(trained.input) if evaluation is None else evaluation.images
    formats = [comparison.reference(_flax_logits(trained, images), evaluation)]
    with files.atomic_path(out) as tmp:
        tmp.mkdir()
        if compact:
            _write_compact(tmp, trained, compact, images, formats[0])
        else:
            _write_graphs(tmp, trained, float16, _chosen(calibration) if int8 else None)
            weights.save(tmp / manifest.FILES["weights"], trained.variables)
        for role in runtimes.GRAPHS:
            if (path := tmp / manifest.FILES[role]).exists():
                logging.info("running %s over %d faces", path.name, len(images))
                formats.append(comparison.measure(path, role, images, evaluation, formats[0]))
        if not compact:
            _refuse_disagreement(formats)
        _write_words(tmp, trained, formats, compact)
    return Exported(manifest.read(out), tuple(formats))


def _write_words(folder: pathlib.Path, trained: Trained, formats: Sequence[comparison.Format], stored: str) -> None:
    """The card and the manifest."""
    model = trained.model | ({"stored": stored} if stored else {})
    (folder / manifest.FILES["card"]).write_text(
        card.text(
            name=trained.title,
            labels=trained.label_names,
            input=trained.input,
            model=model,
            config=trained.config,
            result=trained.result,
            training_data=trained.training_data,
            licence=trained.licence,
            note=trained.note,
        ),
        encoding="utf-8",
    )
    manifest.write(
        folder,
        name=trained.title,
        labels=trained.label_names,
        input=trained.input,
        crop=cropping.CROP,
        temperature=trained.temperature,
        uncertain_below=trained.uncertain_below,
        model=model,
        provenance=provenance.of_run(
            trained.config, trained.result, trained.training_data, trained.licence, trained.class_counts
        )
        | {"formats": comparison.record(formats)},
    )


def _write_graphs(folder: pathlib.Path, trained: Trained, float16: bool, calibration: np.ndarray | None) -> None:
    path = {role: folder / file for role, file in manifest.FILES.items()}
    infer = _inference(trained)
    logging.info("writing StableHLO and ONNX")
    stablehlo.save(path["stablehlo"], infer, trained.input)
    onnx.save(path["onnx"], infer, trained.input, _metadata(trained))
    if float16:
        quantize.float16(path["onnx"], path["float16"])
    if calibration is not None:
        logging.info("fitting 8-bit ranges to %d training faces", len(calibration))
        quantize.int8(path["onnx"], path["int8"], calibration)


def _write_compact(
    folder: pathlib.Path, trained: Trained, stored: str, images: np.ndarray, flax: comparison.Format
) -> None:
    """Write model.onnx with its weights `stored` in fewer bits, once the graph in float32 was found right."""
    path, whole = folder / manifest.FILES["onnx"], folder / "whole.onnx"
    logging.info("writing ONNX with weights in %s", stored)
    onnx.save(whole, _inference(trained), trained.input, _metadata(trained))
    logits = runtimes.logits(runtimes.open_graph(whole, "onnx", os.cpu_count() or 1), images)
    _refuse_other_logits("model.onnx in float32", logits, flax.logits)
    quantize.compact(whole, path, stored)
    whole.unlink()


def _inference(trained: Trained) -> Callable[[jax.Array], dict]:
    config = trained.config
    model = registry.create(config.model.name, len(trained.label_names), config.model.args, implementation="plain")
    return graph.inference(model, trained.variables, trained.input)


def _metadata(trained: Trained) -> dict[str, str]:
    """What model.onnx says to a reader who has nothing but it."""
    return {
        "labels": json.dumps(list(trained.label_names)),
        "name": trained.title,
        "input": "uint8 (batch, height, width, channels), raw pixels",
    }


@jax.default_matmul_precision("highest")
def _flax_logits(trained: Trained, images: np.ndarray) -> np.ndarray:
    """The reference: the network as training evaluates it, but in float32 on every device."""
    config = trained.config
    model = registry.create(config.model.name, len(trained.label_names), config.model.args)
    return Evaluator(model, config, len(images)).logits(trained.variables, images)


def _synthetic(spec: manifest.Input) -> np.ndarray:
    return synthetic.draw(np.arange(SYNTHETIC_FACES) % 7, spec.size, spec.channels)


def _chosen(calibration: Examples) -> np.ndarray:
    """The same faces each time, so that the same run gives the same file."""
    count = min(CALIBRATION_FACES, len(calibration))
    return calibration.images[np.random.default_rng(0).choice(len(calibration), count, replace=False)]


def _refuse_disagreement(formats: Sequence[comparison.Format]) -> None:
    by_role = {f.role: f for f in formats}
    for role in ("onnx", "stablehlo"):
        _refuse_other_logits(by_role[role].file, by_role[role].logits, by_role["flax"].logits)


def _refuse_other_logits(file: str, logits: np.ndarray, flax: np.ndarray) -> None:
    if not np.allclose(logits, flax, RELATIVE_TOLERANCE, ABSOLUTE_TOLERANCE):
        difference = np.abs(logits - flax).max()
        raise RuntimeError(f"{file} differs from Flax by {difference:.1e} in a logit: no bundle was written")
