"""A run goes on with its own data or not at all, and is never scored on what it was trained on."""

import dataclasses
import json
import pathlib
import shutil

import numpy as np
import pytest

from fer_jax import labels
from fer_jax.data import identity
from fer_jax.data.examples import UNSPLIT, Examples
from fer_jax.errors import UserError
from fer_jax.experiments import rundata
from tests import datasets


@pytest.fixture
def workdir(tmp_path, config):
    """What a run leaves of its data."""
    folder = tmp_path / "run"
    rundata.of_config(config).identity.save(folder)
    record = json.loads((folder / "data.json").read_text(encoding="utf-8"))
    assert record["label_names"] == ["angry", "happy", "sad"]
    assert sum(split["examples"] for split in record["splits"].values()) == 30
    (folder / "checkpoints" / "00000001").mkdir(parents=True)
    return folder


def test_a_run_that_was_begun_keeps_its_splits(config, workdir, monkeypatch):
    own = rundata.for_training(config, workdir)
    monkeypatch.setattr(rundata.splits, "assign", None)  # they are not drawn again
    again = rundata.for_training(config, workdir)
    np.testing.assert_array_equal(again.examples.split, own.examples.split)
    assert again.examples.fingerprint == own.identity.fingerprint != ""


def test_data_may_move(config, workdir, tmp_path):
    moved = tmp_path / "moved"
    shutil.move(config.data.path, moved)
    kept = identity.load(workdir)
    found = rundata.of_run(config, workdir, kept, str(moved))
    assert kept.difference(found.identity) == ""


def test_more_images_are_refused_with_both_numbers(config, workdir):
    datasets.write_folder(pathlib.Path(config.data.path), counts={"": 14}, size=16)
    names = ("angry", "happy", "sad")
    for ask in (
        lambda: rundata.for_training(config, workdir),
        lambda: rundata.to_score(config, [workdir], "PublicTest", "", names),
        lambda: rundata.to_export(config, workdir, names),
    ):
        with pytest.raises(rundata.OtherData) as error:
            ask()
        assert str(error.value) == (
            f"{workdir} was trained on other data than is at {config.data.path} now: it had 30 images, the data has "
            "42; give the old data, or another --workdir"
        )


def test_other_classes_are_refused_by_name(config, workdir, tmp_path):
    config.data.path = str(tmp_path / "animals")
    for number, name in enumerate(("cat", "dog", "mouse")):
        datasets.write_folder(tmp_path / str(number), ["happy"], size=16)
        shutil.move(tmp_path / str(number) / "happy", tmp_path / "animals" / name)
    with pytest.raises(rundata.OtherData, match="its classes are angry, happy, sad, those of the data cat, dog, mouse"):
        rundata.for_training(config, workdir)


def test_a_folder_without_a_checkpoint_belongs_to_nobody(config, workdir, tmp_path):
    (workdir / "checkpoints" / "00000001").rmdir()
    config.data.path = str(datasets.write_folder(tmp_path / "others", ["happy", "sad"], size=16))
    assert rundata.for_training(config, workdir).examples.label_names == ("happy", "sad")


def test_a_run_without_a_record_is_warned_of(config, workdir, caplog):
    (workdir / identity.RECORD).unlink()
    assert len(rundata.for_training(config, workdir).examples) == 30
    assert "keeps no record of its data" in caplog.text


class TestToScore:
    NAMES = ("angry", "happy", "sad")

    def test_its_own_split_by_the_config_s_name_or_people_s(self, config, workdir):
        kept = identity.load(workdir)
        for name in ("PublicTest", "val", "Validation"):
            found = rundata.to_score(config, [workdir], name, "", self.NAMES)
            assert found.split_names == ("PublicTest",)
            assert not np.isin(identity.digests(found), kept.trained).any()

    def test_the_same_data_by_its_path_has_the_run_s_splits(self, config, workdir):
        own = rundata.to_score(config, [workdir], "test", "", self.NAMES)
        by_path = rundata.to_score(config, [workdir], "PrivateTest", config.data.path, self.NAMES)
        np.testing.assert_array_equal(own.images, by_path.images)

    def test_of_other_data_what_was_trained_on_is_left_out(self, config, workdir, tmp_path, caplog):
        grown = shutil.copytree(config.data.path, tmp_path / "grown")
        datasets.write_folder(tmp_path / "new", counts={"": 2}, size=16)
        for name in self.NAMES:
            for i in range(2):
                image = 255 - datasets.faces([name], 16, seed=7 + i)[0]
                datasets.cv2.imwrite(str(grown / name / f"new{i}.png"), image)
        found = rundata.to_score(config, [workdir], "PublicTest", str(grown), self.NAMES)
        kept = identity.load(workdir)
        trained = int((kept.read == "Training").sum())
        assert found.split_names == (UNSPLIT,) and len(found) == 36 - trained
        assert not np.isin(identity.digests(found), kept.trained).any()
        assert f"left out {trained} that were trained on" in found.description and "trained on" in caplog.text

    def test_a_bundle_that_is_scored_on_its_training_split_is_warned_of(self, config, caplog):
        assert len(rundata.to_score(config, [], "PublicTest", config.data.path, self.NAMES)) == 30
        assert "too good" not in caplog.text
        csv = datasets.write_fer2013(pathlib.Path(config.data.path).parent / "fer2013.csv")
        config.data.source = "fer2013"
        rundata.to_score(config, [], "Training", str(csv), labels.FER2013)
        assert "the split that such models train on: the score is too good" in caplog.text

    def test_a_bundle_wants_the_data_by_its_path(self, config):
        with pytest.raises(UserError, match="a bundle does not say where its data lies: give --data"):
            rundata.to_score(config, [], "PublicTest", "", self.NAMES)

    def test_a_member_without_a_record_is_warned_of(self, config, workdir, tmp_path, caplog):
        rundata.to_score(config, [workdir, tmp_path / "other"], "PublicTest", "", self.NAMES)
        assert f"{tmp_path / 'other'} keeps no hashes of its training images" in caplog.text

    def test_a_member_of_an_ensemble_that_was_trained_on_the_split_is_refused(self, config, workdir, tmp_path):
        config.seed += 1
        other = rundata.of_config(config).identity
        other.save(tmp_path / "other")
        config.seed -= 1
        with pytest.raises(UserError, match=r"other was trained on \d+ of \d+ images of PublicTest that are held out"):
            rundata.to_score(config, [workdir, tmp_path / "other"], "PublicTest", "", self.NAMES)
        assert len(rundata.to_score(config, [workdir, workdir], "PublicTest", "", self.NAMES))


class TestToExport:
    NAMES = ("sad", "happy", "angry")

    def test_its_splits_in_the_order_of_the_logits(self, config, workdir):
        evaluation, calibration, counts = rundata.to_export(config, workdir, self.NAMES, training=True)
        assert (evaluation.split_names, calibration.split_names) == (("PublicTest",), ("Training",))
        assert evaluation.label_names == self.NAMES
        assert counts == dict(zip(self.NAMES, calibration.class_counts().tolist(), strict=True))
        assert rundata.to_export(config, workdir, self.NAMES)[1] is None

    def test_without_the_data_only_where_nothing_depends_on_it(self, config, workdir, tmp_path):
        shutil.rmtree(config.data.path)
        assert rundata.to_export(config, workdir, self.NAMES) == (None, None, None)
        for needed in ({"training": True}, {"path": str(tmp_path / "elsewhere")}):
            with pytest.raises(UserError, match=r"faces|elsewhere"):
                rundata.to_export(config, workdir, self.NAMES, **needed)


def test_class_counts_are_sums_of_targets_where_these_are_soft():
    images, split = np.zeros((3, 4, 4, 1), np.uint8), np.array(["Training", "Training", "PublicTest"])
    examples = Examples(images, np.array([1, 1, 0], np.int32), split, ("sad", "happy"))
    assert rundata.class_counts(examples, "Training") == {"sad": 0, "happy": 2}
    votes = np.array([[0.25, 0.75], [0.5, 0.5], [1, 0]], np.float32)
    soft = dataclasses.replace(examples, votes=votes)
    assert rundata.class_counts(soft, "Training") == {"sad": 0.8, "happy": 1.2}
