"""Class priors: probabilities of a network for other shares of the classes than it was trained on.

A network trained on p_train(y) gives p(y | x) for faces of those shares. Where the shares are p_target(y) and faces of
a class look the same, Bayes' rule gives p'(y | x) ~ p(y | x) p_target(y) / p_train(y): log p_target - log p_train is
added to the logits, after temperature and before softmax. Saerens, Latinne and Decaestecker, "Adjusting the Outputs of
a Classifier to New a Priori Probabilities" (2002).
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fer_jax import labels
from fer_jax.errors import UserError, did_you_mean

FLAT = "flat"
ROUNDING = 0.01  # how far the given shares of all classes may be from 1, as printed percentages are


@dataclasses.dataclass(frozen=True)
class Prior:
    """A correction from the shares that a network was trained on to others.

    Attributes:
      names: the classes in order.
      trained: float64 (classes,), the shares in training, above 0 and summing to 1.
      target: float64 (classes,), the shares to be expected, above 0 and summing to 1.
    """

    names: tuple[str, ...]
    trained: np.ndarray
    target: np.ndarray

    @property
    def shift(self) -> np.ndarray:
        """float32 (classes,): what is added to logits / temperature."""
        return (np.log(self.target) - np.log(self.trained)).astype(np.float32)

    def to_json(self) -> dict[str, dict[str, float]]:
        """{"trained", "target"}, each {name: share}."""
        return {
            key: dict(zip(self.names, map(float, getattr(self, key)), strict=True)) for key in ("trained", "target")
        }


def trained_shares(names: Sequence[str], provenance: Mapping[str, Any], what: object) -> np.ndarray:
    """float64 (classes,): the shares of the classes that a network learned to expect.

    They are those of its training examples, or equal ones under balanced sampling. A class without examples counts as
    having one.

    Args:
      names: the classes in order.
      provenance: with "class_counts" {name: examples of the training split} and, where it matters, "config".
      what: has this provenance, for the message.

    Raises:
      UserError: there are no counts, or not of these classes.
    """
    counts = provenance.get("class_counts")
    if not counts or not any(counts.values()):
        raise UserError(
            f"{what} does not say how many training examples each class had, which --prior needs: export it again from "
            "its run, or leave --prior out"
        )
    if missing := [name for name in names if name not in counts]:
        raise UserError(f"{what}: its training counts lack {', '.join(missing)}: export it again from its run")
    config = provenance.get("config") or {}
    numbers = np.maximum([float(counts[name]) for name in names], 1)
    if (config.get("data") or {}).get("sampling") == "balanced":
        numbers = np.ones(len(names))
    return numbers / numbers.sum()


def parse(text: str, names: Sequence[str], trained: np.ndarray) -> Prior:
    """The prior that --prior asks for.

    Args:
      text: "flat", every class as frequent; or shares in 0..1 such as "happy:0.3,neutral:0.4", by any name of an
        expression (`labels.canonical`). Classes that are not named divide the rest as in training.
      names: the classes in order.
      trained: float64 (classes,), see `trained_shares`.

    Raises:
      UserError: an unknown class or one named twice, a share that is none, or shares that do not fit.
    """
    if text == FLAT:
        return Prior(tuple(names), trained, np.full(len(names), 1 / len(names)))
    given: dict[int, float] = {}
    for part in text.split(","):
        name, colon, share = part.partition(":")
        [column] = labels.columns([name.strip()], names)
        if not colon or column < 0:
            expected = f"expected flat, or shares of {', '.join(names)} such as {names[0]}:0.3"
            meant = did_you_mean(name, [FLAT, *names]) if column < 0 else ", which has no share"
            raise UserError(f"--prior has {part!r}{meant}: {expected}")
        if column in given:
            raise UserError(f"--prior names {names[column]} twice: give each class one share")
        given[column] = _share(share, part)
    total = sum(given.values())
    rest = [i for i in range(len(names)) if i not in given]
    if (not rest and abs(total - 1) > ROUNDING) or (rest and total >= 1):
        limit = "less than 1, for the others are not 0" if rest else "1"
        raise UserError(f"--prior={text}: the shares sum to {total:g}, expected {limit}")
    target = np.zeros(len(names))
    target[list(given)] = list(given.values())
    target[rest] = (1 - total) * trained[rest] / trained[rest].sum() if rest else 0
    return Prior(tuple(names), trained, target / target.sum())


def _share(text: str, part: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 < share < 1:
        raise UserError(
            f"--prior has {part!r}: expected a share above 0 and below 1; a class that never occurs is 1e-6"
        )
    return share
