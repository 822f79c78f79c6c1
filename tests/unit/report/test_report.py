import dataclasses
import html.parser
import json
import re

import cv2
import numpy as np
import pytest

from configs import default
from fer_jax import config as configs
from fer_jax import files, labels, report
from fer_jax.data import sampler
from fer_jax.data.examples import Examples
from fer_jax.errors import UserError
from fer_jax.evaluation import metrics
from fer_jax.report import faces, plots, records
from fer_jax.training import metric_log

NAMES = labels.FER2013
SPLITS = {"Training": 64, "PublicTest": 90, "PrivateTest": 80}


def made_examples(channels=1, size=48):
    rng = np.random.default_rng(0)
    n = sum(SPLITS.values())
    return Examples(
        rng.integers(0, 256, (n, size, size, channels), dtype=np.uint8),
        (np.arange(n) % 7).astype(np.int32),
        np.repeat(list(SPLITS), list(SPLITS.values())),
        NAMES,
        description="234 made-up faces",
    )


def made_run(workdir, examples, *, epochs=3, finished=True, predictions=True, skill=2.0, **changes):
    """The records that a run leaves, with drawn logits."""
    config = default.get_config()
    config.update_from_flattened_dict({"epochs": epochs, "name": "made", **changes})
    configs.save(config, workdir)
    for epoch in range(1, epochs + 1):
        row = {
            "epoch": epoch,
            "step": 10 * epoch,
            "examples": 640 * epoch,
            "learning_rate": 0.001 / epoch,
            "train_loss": 2 / epoch,
            "train_accuracy": 1 - 0.7 / epoch,
            "PublicTest_loss": 2.1 / epoch,
            "PublicTest_accuracy": 0.9 - 0.6 / epoch,
            "PublicTest_macro_f1": 0.8 - 0.6 / epoch,
            "seconds_startup": 4.5,
            "seconds_train": 10.25 * epoch,
            "seconds_eval": 1.0 * epoch,
        }
        with (workdir / metric_log.JSONL).open("a") as file:
            file.write(json.dumps(row) + "\n")
    if not finished:
        return
    splits = {}
    for name in ("PublicTest", "PrivateTest"):
        split = examples.of_split(name)
        rng = np.random.default_rng(1)
        logits = (rng.normal(size=(len(split), 7)) + skill * np.eye(7)[split.labels]).astype(np.float32)
        splits[name] = metrics.scores(logits, split.labels, NAMES)
        if predictions:
            (workdir / "predictions").mkdir(exist_ok=True)
            np.savez(workdir / "predictions" / f"{name}.npz", logits=logits, labels=split.labels)
    files.write_json(
        workdir / "result.json",
        {
            "config": "made",
            "seed": 0,
            "data": examples.description,
            "split_note": "Nobody is on both sides.",
            "label_names": NAMES,
            "selected_on": "PublicTest",
            "selected_by": "accuracy",
            "best_epoch": 2,
            "epochs": epochs,
            "splits": splits,
            "train_examples": 640 * epochs,
            "train_examples_per_second": 62.4,
            "train_seconds": 10.25 * epochs,
            "wall_seconds": 50.0,
            "seconds": {"startup": 4.5, "train": 30.5, "eval": 3.0},
            "versions": {"jax": "0.0.1", "device": "1 x tree"},
        },
    )


class Page(html.parser.HTMLParser):
    """What a test wants to know of a page: its text, its pictures, what it would load, and that tags are closed."""

    def __init__(self, path):
        super().__init__()
        self.images, self.addresses, self.words, self.open_tags, self.headings = [], [], [], [], []
        self.feed(path.read_text())
        self.text = " ".join(" ".join(self.words).split())
        assert not self.open_tags

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag not in ("meta", "img", "br"):
            self.open_tags.append(tag)
        if tag == "img":
            self.images.append(attributes["src"])
        self.addresses += [value for name, value in attributes.items() if name in ("src", "href", "xlink:href")]

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        self.handle_endtag(tag)

    def handle_endtag(self, tag):
        assert self.open_tags.pop() == tag

    def handle_data(self, data):
        if self.open_tags and self.open_tags[-1] not in ("style", "script"):
            self.words.append(data)
        if self.open_tags and self.open_tags[-1] == "h2":
            self.headings.append(data.strip())


PICTURES = {"learning_curves.png", "confusion.png", "reliability.png", "faces.png", "augmented.png"}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("runs") / "finished"
    workdir.mkdir()
    made_run(workdir, made_examples())
    return workdir


@pytest.fixture(scope="module")
def page(finished):
    return Page(report.write(finished, made_examples()))


class TestWrite:
    def test_the_pictures_are_there(self, finished, page):
        written = {path.name for path in (finished / "report").iterdir()}
        assert written == {"index.html", *PICTURES}
        for name in PICTURES:
            assert min(cv2.imread(str(finished / "report" / name)).shape[:2]) > 300

    def test_one_file_that_loads_nothing(self, finished, page):
        assert all(address.startswith(("data:", "#")) for address in page.addresses)
        mistakes = int((~records.read(finished).predictions("PrivateTest").correct).sum())
        assert len(page.images) == 3 * faces.SHOWN + min(faces.SHOWN, mistakes)

    def test_says_the_numbers_of_the_records(self, finished, page):
        result = json.loads((finished / "result.json").read_text())
        private = result["splits"]["PrivateTest"]
        assert f"{100 * private['accuracy']:.1f} % ± {100 * private['standard_error']:.1f} on PrivateTest" in page.text
        for words in (
            "Trained on Training (64 faces) of 234 made-up faces",
            "Epoch 2 of 3 was chosen by accuracy on PublicTest",
            "PrivateTest was scored once",
            "Nobody is on both sides.",
            "train 30.5 80.3",
            "62 training images/s",
            "jax 0.0.1",
            "optim.learning_rate 0.001",
            "1 x tree",
        ):
            assert words in page.text
        fear = private["per_class"]["fear"]
        assert f"fear {fear['examples']} {100 * fear['precision']:.1f} {100 * fear['recall']:.1f}" in page.text
        for heading in ("Learning curves", "Time", "Most confident mistakes", "Least certain"):
            assert heading in page.headings

    def test_nothing_is_said_of_what_is_not_recorded(self, page):
        assert "ceiling" not in page.text
        assert "None" not in page.text and "Undefined" not in page.text

    def test_noise_ceiling_and_command_where_recorded(self, tmp_path):
        made_run(tmp_path, made_examples())
        result = json.loads((tmp_path / "result.json").read_text())
        result["splits"]["PublicTest"]["noise_ceiling"] = 0.8642
        result["command"] = "python -m fer_jax.main --config=configs/<made>.py"
        files.write_json(tmp_path / "result.json", result)
        text = Page(report.write(tmp_path)).text
        assert "noise ceiling" in text and "86.4" in text
        assert "--config=configs/<made>.py" in text

    def test_calibration_where_recorded(self, tmp_path):
        made_run(tmp_path, made_examples())
        result = json.loads((tmp_path / "result.json").read_text())
        result["calibration"] = {
            "temperature": 1.437,
            "fitted_on": "PublicTest",
            "uncertain_below": 0.41,
            "coverage": 0.9,
            "accuracy_when_certain": 0.777,
            "expected_calibration_error": {"before": 0.143, "after": 0.021},
        }
        files.write_json(tmp_path / "result.json", result)
        text = Page(report.write(tmp_path)).text
        assert "A temperature of 1.44, fitted on PublicTest, brings it from 14.3 % to 2.1 % there" in text
        assert "of the 90.0 % of faces whose probability is then at least 41.0 %, 77.7 % are right" in text

    def test_warnings_and_a_temperature_that_was_not_fitted(self, tmp_path):
        made_run(tmp_path, made_examples())
        result = json.loads((tmp_path / "result.json").read_text())
        result["warnings"] = ["PublicTest has no image of sad: its scores say nothing about them"]
        result["calibration"] = {"fitted_on": None, "temperature": 1.0, "uncertain_below": 0.0}
        files.write_json(tmp_path / "result.json", result)
        text = Page(report.write(tmp_path)).text
        assert "Warning: PublicTest has no image of sad: its scores say nothing about them." in text
        assert "A temperature of" not in text

    def test_unfinished_without_data(self, tmp_path):
        made_run(tmp_path, made_examples(), finished=False)
        page = Page(report.write(tmp_path))
        assert "Not finished: 3 of 3 epochs" in page.text
        assert page.headings == ["Learning curves", "Time", "To repeat it"]

    def test_before_the_first_epoch(self, tmp_path):
        made_run(tmp_path, made_examples(), epochs=1, finished=False)
        (tmp_path / metric_log.JSONL).unlink()
        page = Page(report.write(tmp_path, out=tmp_path / "elsewhere"))
        assert page.headings == ["To repeat it"]
        assert not (tmp_path / "report").exists()

    def test_one_epoch_colour_no_predictions(self, tmp_path):
        examples = made_examples(channels=3, size=112)
        made_run(tmp_path, examples, epochs=1, predictions=False, **{"input.channels": 3})
        page = Page(report.write(tmp_path, examples))
        assert "Training faces as the network sees them" in page.headings
        assert len(page.images) == faces.SHOWN
        assert not (tmp_path / "report" / "reliability.png").exists()

    def test_other_data_is_refused(self, finished):
        examples = made_examples()
        other = dataclasses.replace(examples, labels=examples.labels[::-1].copy())
        with pytest.raises(UserError, match="not those of the run's 80 predictions"):
            report.write(finished, other)

    def test_a_folder_that_is_no_run(self, tmp_path):
        with pytest.raises(UserError, match="no run's folder"):
            report.write(tmp_path)


def made_crossval(workdir, examples):
    """A cross-validation of two folds: its result and nothing else."""
    configs.save(default.get_config(), workdir)
    mistaken = np.arange(len(examples)) % 4 == 0
    pooled = metrics.scores(np.eye(7)[(examples.labels + mistaken) % 7], examples.labels, NAMES)
    files.write_json(
        workdir / "result.json",
        {
            "config": "made",
            "seed": 0,
            "data": examples.description,
            "split_note": "No person is both.",
            "label_names": NAMES,
            "folds": 2,
            "mean_accuracy": 0.751,
            "std_accuracy": 0.032,
            "pooled": pooled,
            "per_fold": [pooled | {"best_epoch": epoch} for epoch in (11, 12)],
            "train_seconds": 70.0,
            "wall_seconds": 99.0,
            "versions": {"jax": "0.0.1"},
        },
    )


class TestCrossValidation:
    def test_folds_and_pooled_scores(self, tmp_path):
        examples = made_examples()
        made_crossval(tmp_path, examples)
        page = Page(report.write(tmp_path, examples))
        assert "75.1 % ± 3.2 (standard deviation) over 2 folds" in page.text
        assert "No person is both." in page.text
        assert page.headings == ["The folds", "Which expressions, on all 2 folds", "To repeat it"]
        assert [a for a in page.addresses if "fold" in a] == [f"../fold_0{i}/report/index.html" for i in (1, 2)]
        assert (tmp_path / "report" / "confusion.png").exists()

    def test_beside_a_single_run(self, finished, tmp_path):
        made_crossval(tmp_path, made_examples())
        text = Page(report.compare([finished, tmp_path], tmp_path / "out")).text
        assert "all 2 folds accuracy" in text and "PrivateTest accuracy" in text
        assert "training seconds 31 70" in text


class TestCompare:
    def test_side_by_side(self, finished, tmp_path):
        better = tmp_path / "better"
        better.mkdir()
        made_run(better, made_examples(), skill=4.0, **{"optim.learning_rate": 0.01})
        started = tmp_path / "started"
        started.mkdir()
        made_run(started, made_examples(), epochs=1, finished=False)
        page = Page(report.compare([finished, better, started], tmp_path / "out"))
        accuracy = [
            json.loads((run / "result.json").read_text())["splits"]["PrivateTest"]["accuracy"]
            for run in (finished, better)
        ]
        row = re.search(
            r"PrivateTest accuracy ([\d.]+)% ± [\d.]+% ([\d.]+)% ± [\d.]+%"
            r" PrivateTest against finished \+([\d.]+)% ± ([\d.]+)%",
            page.text,
        )
        shown = [float(value) / 100 for value in row.groups()]
        assert shown[:2] == pytest.approx(accuracy, abs=1e-4)
        assert shown[2] == pytest.approx(accuracy[1] - accuracy[0], abs=1e-4)
        correct = [records.read(run).predictions("PrivateTest").correct.astype(float) for run in (finished, better)]
        assert shown[3] == pytest.approx(np.std(correct[1] - correct[0]) / np.sqrt(80), abs=1e-4)
        assert "epochs 3 3 1" in page.text and "optim.learning_rate 0.001 0.01 0.001" in page.text
        assert "batch_size" not in page.text  # is the same
        assert "not finished" in page.text

    def test_folders_of_the_same_name_are_told_apart(self, finished, tmp_path):
        other = tmp_path / finished.name
        other.mkdir()
        made_run(other, made_examples())
        text = Page(report.compare([finished, other], tmp_path / "out")).text
        assert str(finished) in text and str(other) in text
        assert "Nothing." in text


class TestChoiceOfFaces:
    predictions = records.Predictions(
        np.array([[0.9, 0.1], [0.8, 0.2], [0.51, 0.49], [0.3, 0.7], [0.05, 0.95]]), np.array([0, 1, 0, 0, 0])
    )

    def test_mistakes_by_confidence(self):
        assert faces.confident_mistakes(self.predictions).tolist() == [4, 1, 3]

    def test_least_certain_first(self):
        assert faces.least_certain(self.predictions).tolist() == [2, 3, 1, 0, 4]

    def test_sample_spreads_over_the_split(self):
        assert faces.sample(self.predictions).tolist() == [0, 1, 2, 3, 4]
        many = records.Predictions(np.full((1000, 2), 0.5), np.zeros(1000, int))
        chosen = faces.sample(many)
        assert len(chosen) == faces.SHOWN and chosen[0] == 0 and chosen[-1] == 999
        assert np.ptp(np.diff(chosen)) <= 1

    def test_what_is_written_below_a_face(self):
        examples = Examples(
            np.zeros((5, 8, 8, 1), np.uint8), np.array([0, 1, 0, 0, 0], np.int32), np.full(5, "test"), ("sad", "happy")
        )
        right, wrong = faces.predicted(examples, self.predictions, [0, 4])
        assert (right.lines, right.correct) == (("✓ sad 90 %",), True)
        assert (wrong.lines, wrong.correct) == (("✗ happy 95 %", "is sad"), False)


class TestAsTrained:
    def test_is_the_first_batch_of_training(self):
        examples, config = made_examples(), default.get_config()
        config.augment.flip = 0.0
        config.batch_size = 16
        shown, values = faces.as_trained(config, examples)
        train_set = examples.of_split("Training")
        first = sampler.indices(config.seed, 0, 1, 16, 64)[0]
        assert len(shown) == 16
        for face, i in zip(shown, first, strict=True):
            np.testing.assert_array_equal(face.image, train_set.images[i])
            assert face.lines == (NAMES[train_set.labels[i]],)
        assert values == "values from -1.00 to 1.00, mean 0.00"

    def test_mixed_targets_are_named_with_their_shares(self):
        config = default.get_config()
        config.augment.cutmix = 1.0
        shown, _ = faces.as_trained(config, made_examples())
        mixed = [face.lines for face in shown if len(face.lines) == 2]
        assert len(mixed) > 10
        for lines in mixed:
            shares = [int(re.fullmatch(r"\w+ (\d+) %", line)[1]) for line in lines]
            assert shares[0] >= shares[1] and 98 <= sum(shares) <= 101


def test_svg_takes_the_pages_colour_and_leaves_no_global_state():
    import matplotlib

    before = dict(matplotlib.rcParams)
    drawn = plots.svg(plots.curves("x", {"a": ([1, 2], [0.1, 0.2])}))
    assert drawn.startswith("<svg") and "currentColor" in drawn and plots.INK not in drawn
    assert drawn == plots.svg(plots.curves("x", {"a": ([1, 2], [0.1, 0.2])}))
    assert dict(matplotlib.rcParams) == before
