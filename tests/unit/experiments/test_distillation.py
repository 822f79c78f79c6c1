"""Targets from a teacher: a finished run that knows the same labels and takes the same input."""

import dataclasses
import shutil

import numpy as np
import pytest

from configs import default
from fer_jax import labels
from fer_jax.data import identity
from fer_jax.data.examples import Examples
from fer_jax.errors import UserError
from fer_jax.evaluation import evaluator
from fer_jax.experiments import distillation, rundata, sweep
from fer_jax.experiments.run import load_run, train_and_score
from fer_jax.experiments.rundata import RunData
from tests import datasets


def small_config(tmp_path):
    config = default.get_config()
    config.data.path, config.data.cache_dir = str(tmp_path / "fer2013.csv"), str(tmp_path / "cache")
    config.epochs, config.batch_size = 1, 16
    config.input.size, config.model.args.block_features = 16, (4,)
    return config


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    folder = tmp_path_factory.mktemp("teacher")
    datasets.write_fer2013(folder, {"Training": 35, "PublicTest": 14})
    train_and_score(small_config(folder), folder / "run")
    return folder / "run"


@pytest.fixture
def distilled_config(teacher):
    config = small_config(teacher.parent)
    config.teacher.runs, config.teacher.weight = (str(teacher),), 0.25
    return config


def data_of(examples):
    found = identity.of(examples, examples.split, "Training", 0)
    return RunData(dataclasses.replace(examples, fingerprint=found.fingerprint), found)


def some_examples(size=16):
    rng = np.random.default_rng(0)
    return Examples(
        rng.integers(0, 256, (9, size, size, 1), np.uint8),
        np.arange(9, dtype=np.int32) % 7,
        np.array(["Training"] * 6 + ["PublicTest"] * 3),
        labels.FER2013,
    )


@pytest.mark.parametrize("view", evaluator.VIEWS)
def test_training_targets_are_mixed_with_the_teacher_s_probabilities(teacher, distilled_config, tmp_path, view):
    examples = some_examples()
    distilled_config.teacher.tta = view
    distilled = distillation.with_teacher_targets(distilled_config, data_of(examples), tmp_path)
    run, faces = load_run(teacher), examples.images[:6]
    logits = np.mean([run.logits(shown) for shown in evaluator.views(view, faces, 0)], axis=0)
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    expected = 0.75 * np.eye(7)[examples.labels[:6]] + 0.25 * probabilities
    np.testing.assert_allclose(distilled.votes[:6], expected, rtol=1e-5)
    np.testing.assert_array_equal(distilled.votes[6:], np.eye(7)[examples.labels[6:]])
    np.testing.assert_array_equal(distilled.labels, examples.labels)


def test_without_a_teacher_nothing_changes(tmp_path):
    data = data_of(some_examples())
    assert distillation.with_teacher_targets(default.get_config(), data, tmp_path) is data.examples
    assert list(tmp_path.iterdir()) == []


def test_probabilities_are_computed_once_for_the_same_teachers_and_data(distilled_config, tmp_path, monkeypatch):
    data = data_of(some_examples())
    first = distillation.with_teacher_targets(distilled_config, data, tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(distillation, "restore_best", None)
        again = distillation.with_teacher_targets(distilled_config, data, tmp_path)
        np.testing.assert_array_equal(again.votes, first.votes)
        distilled_config.teacher.weight = 0.5  # of no influence on them
        distillation.with_teacher_targets(distilled_config, data, tmp_path)
        distilled_config.teacher.tta = "ten_crop"
        with pytest.raises(TypeError):
            distillation.with_teacher_targets(distilled_config, data, tmp_path)
    other = data_of(dataclasses.replace(some_examples(), images=255 - some_examples().images))
    found = distillation.with_teacher_targets(distilled_config, other, tmp_path)
    assert not np.allclose(found.votes[:6], first.votes[:6])
    (tmp_path / distillation.KEPT).write_bytes(b"PK damaged")
    again = distillation.with_teacher_targets(distilled_config, other, tmp_path)
    np.testing.assert_array_equal(again.votes, found.votes)


def test_a_teacher_that_was_trained_on_what_is_held_out_is_refused(teacher, distilled_config, tmp_path):
    config = small_config(teacher.parent)
    own = rundata.of_config(config)
    turned = own.examples.split.copy()
    turned[:3], turned[35:38] = "PublicTest", "Training"
    other = data_of(dataclasses.replace(own.examples, split=turned))
    with pytest.raises(UserError, match="run was trained on 3 of 14 images of PublicTest that are held out here"):
        distillation.with_teacher_targets(distilled_config, other, tmp_path)
    distillation.with_teacher_targets(distilled_config, own, tmp_path)


def test_a_teacher_of_another_kind_is_refused(teacher, distilled_config, tmp_path):
    distilled_config.input.size = 20
    with pytest.raises(UserError, match="takes 16 pixels and 1 channels, expected 20 and 1"):
        distillation.with_teacher_targets(distilled_config, data_of(some_examples(20)), tmp_path)
    distilled_config.teacher.runs = (str(tmp_path),)
    with pytest.raises(UserError, match="is no run's folder"):
        distillation.with_teacher_targets(distilled_config, data_of(some_examples()), tmp_path)


def test_a_teacher_of_another_order_is_asked_by_name(distilled_config, tmp_path):
    examples = some_examples()
    turned = examples.renumbered(labels.FER2013[::-1])
    plain = distillation.with_teacher_targets(distilled_config, data_of(examples), tmp_path).votes
    other = distillation.with_teacher_targets(distilled_config, data_of(turned), tmp_path).votes
    np.testing.assert_allclose(other, plain[:, ::-1], rtol=1e-5)


@pytest.fixture(scope="module")
def folds(teacher, tmp_path_factory):
    """The folder of three folds of the teacher's training split; tests only read it."""
    config = small_config(teacher.parent)
    config.data.fold_split, config.data.folds = "Training", 3
    folder = tmp_path_factory.mktemp("folds") / "folds"
    sweep.folds(config, folder)
    return folder


def test_an_image_has_its_target_from_the_fold_that_has_not_seen_it(folds, distilled_config, tmp_path):
    distilled_config.teacher.runs, distilled_config.teacher.weight = (str(folds),), 1.0
    data = rundata.of_config(distilled_config)
    images = np.asarray(data.examples.images)
    targets = distillation.with_teacher_targets(distilled_config, data, tmp_path / "one").votes
    teaching = []
    for folder in sorted(folds.glob("fold_0[123]")):
        own = ~np.isin(identity.digests(data.examples), identity.load(folder).trained)
        own &= data.examples.split == "Training"
        logits = load_run(folder).logits(images[own])
        flipped = load_run(folder).logits(images[own][:, :, ::-1])
        mean = (logits + flipped) / 2
        expected = np.exp(mean) / np.exp(mean).sum(1, keepdims=True)
        np.testing.assert_allclose(targets[own], expected, rtol=1e-4)
        teaching.append(own.sum())
    assert len(teaching) == 3 and sum(teaching) == 35 and min(teaching) >= 11


def test_an_image_that_all_folds_have_seen_has_its_target_from_all(folds, distilled_config, tmp_path):
    copies = shutil.copytree(folds, tmp_path / "folds")
    everything = np.unique(identity.digests(rundata.of_config(distilled_config).examples)[:35])
    for folder in copies.glob("fold_0[123]"):
        dataclasses.replace(identity.load(folder), trained=everything).save(folder)
    distilled_config.teacher.runs, distilled_config.teacher.weight = (str(copies),), 1.0
    data = rundata.of_config(distilled_config)
    targets = distillation.with_teacher_targets(distilled_config, data, tmp_path).votes[:35]
    alone = []
    for number in (1, 2, 3):
        distilled_config.teacher.runs = (str(copies / f"fold_0{number}"),)
        alone.append(distillation.with_teacher_targets(distilled_config, data, tmp_path).votes[:35])
    np.testing.assert_allclose(targets, np.mean(alone, axis=0), rtol=1e-6)


def test_folds_of_all_splits_are_refused_as_teachers(teacher, distilled_config, tmp_path):
    folds = small_config(teacher.parent)
    folds.data.folds = 2
    sweep.folds(folds, tmp_path / "folds")
    distilled_config.teacher.runs = (str(tmp_path / "folds"),)
    data = rundata.of_config(distilled_config)
    with pytest.raises(UserError, match=r"fold_01 was trained on \d+ of 14 images of PublicTest that are held out"):
        distillation.with_teacher_targets(distilled_config, data, tmp_path)
