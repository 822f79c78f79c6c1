"""Scores of finished runs: ensembles go by the names of their classes."""

import types

import numpy as np
import pytest
from scipy.special import softmax

from configs import default
from fer_jax.errors import UserError
from fer_jax.experiments import scoring
from fer_jax.training.checkpoint import Progress


def fake_run(workdir, names, size=48):
    """A run whose logit of class x is the place of x in the alphabet."""
    config = default.get_config()
    config.input.size = size
    logits = np.array([[float(ord(name)) for name in names]], np.float32)
    about = {"workdir": workdir, "config": config, "label_names": tuple(names), "progress": Progress(), "result": None}
    return types.SimpleNamespace(**about, logits=lambda images: logits)


@pytest.fixture
def runs(monkeypatch):
    found = {name: fake_run(name, names) for name, names in (("a", "xyz"), ("b", "zxy"), ("c", "xyw"))}
    found["d"] = fake_run("d", "xyz", 40)
    monkeypatch.setattr(scoring, "load_run", lambda workdir, checkpoint: found[workdir])
    return found


def test_members_of_another_order_are_brought_into_the_first_ones(runs):
    images = np.zeros((1, 48, 48, 1), np.uint8)
    together = scoring.of_runs(["a", "b"]).logits(images)
    alone = softmax(scoring.of_runs(["a"]).logits(images), axis=1)
    np.testing.assert_allclose(together, np.log(alone))
    assert scoring.of_runs(["b", "a"]).label_names == ("z", "x", "y")


def result_of(temperature, **counts):
    return types.SimpleNamespace(calibration={"temperature": temperature}, class_counts=counts)


def test_each_member_is_corrected_by_its_own_temperature_and_shares(runs):
    runs["a"].result, runs["b"].result = result_of(2.0, x=1, y=1, z=2), result_of(4.0, z=8, x=1, y=1)
    images = np.zeros((1, 48, 48, 1), np.uint8)
    places = np.array([ord(name) for name in "xyz"], float)
    corrected = places / 2 - np.log([1, 1, 2]), places / 4 - np.log([1, 1, 8])
    found = scoring.of_runs(["a", "b"], prior="flat")
    expected = np.mean([softmax(logits) for logits in corrected], axis=0)
    np.testing.assert_allclose(softmax(found.logits(images)[0]), expected, rtol=1e-5)
    assert found.temperature == 1.0
    assert [prior.to_json()["trained"]["z"] for prior in found.priors] == pytest.approx([0.5, 0.8])
    alone = scoring.of_runs(["b"], prior="z:0.5,x:0.25,y:0.25")
    expected = softmax(np.roll(corrected[1], 1) + np.log([0.5, 0.25, 0.25]))
    np.testing.assert_allclose(softmax(alone.logits(images)[0]), expected, rtol=1e-5)


def test_without_a_prior_a_run_has_its_fitted_temperature(runs):
    runs["a"].result = result_of(2.0)
    assert scoring.of_runs(["a"]).temperature == 2.0
    assert scoring.of_runs(["a", "b"]).temperature == 1.0
    assert scoring.of_runs(["a"]).priors == ()


@pytest.mark.parametrize(
    ("workdirs", "prior", "words"),
    [
        (["./a", "b", "a"], "", r"--workdir=\./a is given 2 times: an ensemble is of different runs"),
        (["a", "c"], "", "c has other labels or another input than a"),
        (["a", "d"], "", "d has other labels or another input than a"),
        (["a"], "flat", "a does not say how many training examples each class had"),
    ],
)
def test_what_cannot_be_scored(runs, monkeypatch, workdirs, prior, words):
    def gone(*_):
        raise UserError("no data there")

    monkeypatch.setattr(scoring.identity, "load", gone)
    with pytest.raises(UserError, match=words):
        scoring.of_runs(workdirs, prior=prior)
    with pytest.raises(UserError, match="--tta has 'five_crop': expected flip or ten_crop"):
        scoring.score(scoring.of_runs(["b"]), "PublicTest", augmentations=("five_crop",))


def noisy(temperature, count=400):
    rng = np.random.default_rng(0)
    honest = rng.normal(size=(count, 4)) * 1.5
    return honest * temperature, (honest + rng.gumbel(size=honest.shape)).argmax(axis=1)


def test_the_threshold_is_chosen_at_the_bundle_s_temperature_unless_it_is_fitted_too():
    logits, labels = noisy(3.0)
    kept = scoring.Calibrate(0.8).on(logits, labels, 1.0, "all")
    assert kept["temperature"] == 1.0 and kept["coverage"] == pytest.approx(0.8, abs=0.01)
    fitted = scoring.Calibrate(0.8, refit=True).on(logits, labels, 1.0, "all")
    assert fitted["temperature"] == pytest.approx(3.0, rel=0.15)
    assert fitted["uncertain_below"] < kept["uncertain_below"]
    assert fitted["expected_calibration_error"] < kept["expected_calibration_error"]
    with pytest.raises(UserError, match="--refit-temperature: the probabilities are not calibrated: all has 9 images"):
        scoring.Calibrate(0.8, refit=True).on(logits[:9], labels[:9], 1.0, "all")
