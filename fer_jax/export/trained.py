"""A trained network with what a bundle says of it, and what the writers of its files are given."""

import dataclasses
import json
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from fer_jax.bundle import formats, manifest
from fer_jax.export import graph
from fer_jax.models import registry
from fer_jax.result import RunResult


@dataclasses.dataclass(frozen=True)
class Trained:
    """A trained network, with what a bundle says of it.

    Attributes:
      config: of the run; kept as provenance.
      variables: {"params", "batch_stats"?} of the network that `config.model` names.
      label_names: in the order of the logits.
      training_data: what the weights were trained on, for people.
      license: of the weights, for people; see `provenance.license_note`.
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
    license: str
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
        """The images that the network takes."""
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

    @property
    def metadata(self) -> dict[str, str]:
        """Describe model.onnx to a reader who has nothing but it."""
        return {
            "labels": json.dumps(list(self.label_names)),
            "name": self.title,
            "input": "uint8 (batch, height, width, channels), raw pixels",
        }

    def infer(self) -> Callable[[jax.Array], dict[str, jax.Array]]:
        """The function that every graph holds, see `graph.inference`."""
        config = self.config.model
        model = registry.create(config.name, len(self.label_names), config.args, implementation="plain")
        return graph.inference(model, self.variables, self.input)


@dataclasses.dataclass(frozen=True)
class Source:
    """Source of the files that the writers of `bundle.formats` make.

    Attributes:
      infer: the function, see `graph.inference`.
      input: its images.
      metadata: for the file, where its format takes words.
      folder: of the bundle; what the rows before wrote lies there.
      faces: uint8 (N, size, size, channels), of the training data, for formats that fit something to them: what is
        scored later must not set it. None where no format does.
    """

    infer: Callable[[jax.Array], dict[str, jax.Array]]
    input: manifest.Input
    metadata: Mapping[str, str]
    folder: pathlib.Path
    faces: np.ndarray | None = None

    def file(self, role: str) -> pathlib.Path:
        """Path of the graph of another row."""
        return self.folder / formats.FILES[role]
