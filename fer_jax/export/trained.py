"""A trained network with what a bundle and its card say of it, its origin and terms, and what writers are given."""

import dataclasses
import datetime
import importlib.metadata
import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
from ml_collections import ConfigDict

from fer_jax import config as configs
from fer_jax import environment, templates
from fer_jax.bundle import manifest
from fer_jax.data import sources
from fer_jax.evaluation import evaluator
from fer_jax.export import graph
from fer_jax.models import registry
from fer_jax.result import RunResult

RESEARCH_FACES = (
    "The code that made this bundle is Apache-2.0. The weights come from faces of real people that were "
    "published for research: {terms}. Use them for research and teaching; anything else needs the "
    "agreement of those who hold rights in the faces."
)
FREE = "Apache-2.0, code and weights: trained on {terms}."
UNKNOWN_LICENSE = (
    "The code that made this bundle is Apache-2.0. The terms of the weights are not known to it: those "
    "of the training data apply."
)


@dataclasses.dataclass(frozen=True)
class Trained:
    """A trained network, with what a bundle says of it.

    Attributes:
      config: of the run; kept as provenance.
      variables: {"params", "batch_stats"?} of the network that `config.model` names.
      label_names: in the order of the logits.
      training_data: what the weights were trained on, for people.
      license: of the weights, for people; see `license_note`.
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

    def provenance(self) -> dict[str, Any]:
        """The field "provenance" of bundle.json.

        Of paths in the config the names alone are kept, for a bundle is made to be given away.
        """
        packages = ("jax2onnx", "onnx", "onnxruntime", "safetensors")
        return {
            "licence": self.license,
            "training_data": self.training_data,
            "result": essentials(self.result),
            "config": json.loads(configs.without_folders(self.config).to_json()),
            "versions": environment.versions() | {name: importlib.metadata.version(name) for name in packages},
            "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        } | ({"class_counts": dict(self.class_counts)} if self.class_counts else {})

    def card(self, stored: str = "") -> str:
        """The bundle's README.md: what it is, where it comes from, how well it does and what it is not for.

        Scores come from the run's result, each with its binomial standard error. `stored` is how model.onnx stores its
        weights, "" for float32.
        """
        config, result = self.config, self.result
        return templates.render(
            "card.md",
            {
                "name": self.title,
                "labels": self.label_names,
                "input": self.input,
                "model": self.model | ({"stored": stored} if stored else {}),
                "result": result,
                "command": environment.without_folders(result.command) if result else "",
                "training_data": self.training_data,
                "license": self.license,
                "note": self.note,
                "views": evaluator.IN_WORDS,
                "teachers": config.teacher.runs,
                "teacher_weight": config.teacher.weight,
                "words": sources.data_set(config.data.source).words,
                "ceiling": result and any("noise_ceiling" in split for split in result.splits.values()),
                "standard_error": lambda share, count: math.sqrt(share * (1 - share) / count) if count else math.nan,
            },
        )


def license_note(source: str) -> str:
    """The note on the weights trained on a data source, a key of `config.data.source`."""
    known = sources.data_set(source)
    if not known.terms:
        return UNKNOWN_LICENSE
    return (RESEARCH_FACES if known.real_people else FREE).format(terms=known.terms)


def training_data_note(config: ConfigDict, result: RunResult | None) -> str:
    """Describe what a run was trained on, from its config and, if it is finished, its result."""
    if result is None:
        return f"{config.data.source}, split {config.data.train_split}; the run was not finished"
    return f"{result.data}, of which the split {config.data.train_split}"


def essentials(result: RunResult | None) -> dict[str, Any] | None:
    """Extract what says how good the weights are and how they were chosen; None of None."""
    if result is None:
        return None
    scores = ("examples", "accuracy", "macro_f1")
    return {
        "selected_on": result.selected_on,
        "best_epoch": result.best_epoch,
        "splits": {name: {key: split[key] for key in scores} for name, split in result.splits.items()},
    }
