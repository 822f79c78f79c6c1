"""Scores of finished runs: ensembles go by the names of their classes."""

import types

import numpy as np
import pytest

from configs import default
from fer_jax.errors import UserError
from fer_jax.experiments import scoring
from fer_jax.training.loop import Progress


def fake_run(workdir, names, size=48):
    """A run whose logit of class x is the place of x in the alphabet."""
    config = default.get_config()
    config.input.size = size
    logits = np.array([[float(ord(name)) for name in names]], np.float32)
    return types.SimpleNamespace(
        workdir=workdir, config=config, label_names=tuple(names), progress=Progress(), logits=lambda images: logits
    )


@pytest.fixture
def runs(monkeypatch):
    found = {
        "a": fake_run("a", "xyz"),
        "b": fake_run("b", "zxy"),
        "c": fake_run("c", "xyw"),
        "d": fake_run("d", "xyz", 40),
    }
    monkeypatch.setattr(scoring, "load_run", lambda workdir, checkpoint: found[workdir])


def test_members_of_another_order_are_brought_into_the_first_ones(runs):
    images = np.zeros((1, 48, 48, 1), np.uint8)
    together = scoring.of_runs(["a", "b"]).logits(images)
    np.testing.assert_allclose(together, scoring.of_runs(["a", "a"]).logits(images))
    assert scoring.of_runs(["b", "a"]).label_names == ("z", "x", "y")


@pytest.mark.parametrize("other", ["c", "d"])
def test_members_of_other_classes_or_input_are_refused(runs, other):
    with pytest.raises(UserError, match=f"{other} has other labels or another input than a"):
        scoring.of_runs(["a", other])


def test_an_unknown_view_is_named(runs):
    with pytest.raises(UserError, match="--tta has 'five_crop': expected flip or ten_crop"):
        scoring.score(scoring.of_runs(["a"]), "PublicTest", augmentations=("five_crop",))
