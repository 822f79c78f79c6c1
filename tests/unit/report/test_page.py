"""The page beside a run: what it says, what it leaves out, and that it opens with nothing else."""

import dataclasses

import cv2
import numpy as np
import pytest

from configs import default
from fer_jax import config as configs
from fer_jax import result as results
from fer_jax.errors import UserError
from fer_jax.report import faces, page, records
from fer_jax.training import metric_log
from tests.reports import NAMES, Page, made_examples, made_run
from tests.results import folds_result, seeds_result

PICTURES = {"learning_curves.png", "confusion.png", "reliability.png", "faces.png", "augmented.png"}


@pytest.fixture(scope="module")
def written(finished):
    return Page(page.write(finished, made_examples()))


class TestWrite:
    def test_the_pictures_are_there(self, finished, written):
        assert {path.name for path in (finished / "report").iterdir()} == {"index.html", *PICTURES}
        for name in PICTURES:
            assert min(cv2.imread(str(finished / "report" / name)).shape[:2]) > 300

    def test_one_file_that_loads_nothing(self, finished, written):
        assert all(address.startswith(("data:", "#")) for address in written.addresses)
        mistakes = int((~records.read(finished).predictions("PrivateTest").correct).sum())
        assert len(written.images) == 3 * faces.SHOWN + min(faces.SHOWN, mistakes)

    def test_says_the_numbers_of_the_records(self, finished, written):
        private = results.read(finished).splits["PrivateTest"]
        assert (
            f"{100 * private['accuracy']:.1f} % ± {100 * private['standard_error']:.1f} on PrivateTest" in written.text
        )
        for words in (
            "Trained on Training (64 faces) of 234 made-up faces",
            "Epoch 2 of 3 was chosen by accuracy on PublicTest",
            "PrivateTest was scored once",
            "No person is both trained on and held out.",
            "train 30.5 80.3",
            "62 training images/s",
            "jax 0.0.1",
            "optim.learning_rate 0.001",
            "1 x tree",
        ):
            assert words in written.text
        fear = private["per_class"]["fear"]
        assert f"fear {fear['examples']} {100 * fear['precision']:.1f} {100 * fear['recall']:.1f}" in written.text
        for heading in ("Learning curves", "Time", "Most confident mistakes", "Least certain"):
            assert heading in written.headings

    def test_nothing_is_said_of_what_is_not_recorded(self, written):
        assert "ceiling" not in written.text
        assert "None" not in written.text and "Undefined" not in written.text

    def test_noise_ceiling_command_and_calibration_where_recorded(self, tmp_path, undrawn):
        made_run(tmp_path, made_examples())
        result = results.read(tmp_path)
        result.splits["PublicTest"]["noise_ceiling"] = 0.8642
        fitted = {
            "temperature": 1.437,
            "fitted_on": "PublicTest",
            "uncertain_below": 0.41,
            "coverage": 0.9,
            "accuracy_when_certain": 0.777,
            "expected_calibration_error": {"before": 0.143, "after": 0.021},
        }
        command = "python -m fer_jax.main '--config=configs/<made>.py'"
        dataclasses.replace(result, calibration=fitted, command=command).write(tmp_path)
        text = Page(page.write(tmp_path)).text
        assert "noise ceiling" in text and "86.4" in text
        assert "--config=configs/<made>.py" in text
        assert "A temperature of 1.44, fitted on PublicTest, brings it from 14.3 % to 2.1 % there" in text
        assert "of the 90.0 % of faces whose probability is then at least 41.0 %, 77.7 % are right" in text

    def test_warnings_and_a_temperature_that_was_not_fitted(self, tmp_path, undrawn):
        made_run(tmp_path, made_examples())
        dataclasses.replace(
            results.read(tmp_path),
            warnings=("PublicTest has no image of sad: its scores say nothing about them",),
            calibration={"fitted_on": None, "temperature": 1.0, "uncertain_below": 0.0},
        ).write(tmp_path)
        text = Page(page.write(tmp_path)).text
        assert "Warning: PublicTest has no image of sad: its scores say nothing about them." in text
        assert "A temperature of" not in text

    def test_unfinished_without_data(self, tmp_path):
        made_run(tmp_path, made_examples(), finished=False)
        written = Page(page.write(tmp_path))
        assert "Not finished: 3 of 3 epochs" in written.text
        assert written.headings == ["Learning curves", "Time", "To repeat it"]

    def test_before_the_first_epoch(self, tmp_path):
        made_run(tmp_path, made_examples(), epochs=1, finished=False)
        (tmp_path / metric_log.JSONL).unlink()
        written = Page(page.write(tmp_path, out=tmp_path / "elsewhere"))
        assert written.headings == ["To repeat it"]
        assert not (tmp_path / "report").exists()

    def test_no_folder_is_named(self, tmp_path, undrawn):
        made_run(tmp_path, made_examples(), **{"data.path": "/home/me/a.csv", "teacher.runs": ("/home/me/t",)})
        command = "python -m fer_jax.main --config=/home/me/x.py --workdir=/home/me/w"
        command += " \"--config.teacher.runs=('/home/me/t',)\""
        dataclasses.replace(results.read(tmp_path), command=command).write(tmp_path)
        text = page.write(tmp_path).read_text(encoding="utf-8")
        assert "/home/me" not in text and str(tmp_path) not in text
        assert "--config=x.py" in text and "--workdir=w" in text and "a.csv" in text

    def test_one_epoch_color_no_predictions(self, tmp_path):
        examples = made_examples(channels=3, size=112)
        made_run(tmp_path, examples, epochs=1, predictions=False, **{"input.channels": 3})
        written = Page(page.write(tmp_path, examples))
        assert "Training faces as the network sees them" in written.headings
        assert len(written.images) == faces.SHOWN
        assert not (tmp_path / "report" / "reliability.png").exists()

    def test_other_data_is_refused(self, finished):
        examples = made_examples()
        other = dataclasses.replace(examples, labels=examples.labels[::-1].copy())
        with pytest.raises(UserError, match="not those of the run's 80 predictions"):
            page.write(finished, other)

    def test_a_folder_that_is_no_run(self, tmp_path):
        with pytest.raises(UserError, match="no run's folder"):
            page.write(tmp_path)


class TestRepeated:
    def test_folds_and_pooled_scores(self, tmp_path):
        configs.save(default.get_config(), tmp_path)
        folds_result().write(tmp_path)
        written = Page(page.write(tmp_path, made_examples()))
        assert "75.1 % ± 3.2 (standard deviation) over 2 folds" in written.text
        assert "All 4 test predictions together: 75.00 % ± 21.65" in written.text
        assert "No person is both" in written.text
        assert written.headings == ["The folds", "Which expressions, on all 2 folds", "To repeat it"]
        assert [a for a in written.addresses if "fold" in a] == [f"../fold_0{i}/report/index.html" for i in (1, 2)]
        assert (tmp_path / "report" / "confusion.png").exists()

    def test_seeds_with_their_runs(self, tmp_path):
        configs.save(default.get_config(), tmp_path)
        for seed, skill in ((3, 2.0), (4, 3.0)):
            (tmp_path / f"seed_{seed}").mkdir()
            made_run(tmp_path / f"seed_{seed}", made_examples(), skill=skill, seed=seed)
        unfinished = Page(page.write(tmp_path, out=tmp_path / "out"))
        assert "Not finished: 2 of 2 runs begun are done" in unfinished.text and "seed_3" in unfinished.text
        own = [results.read(tmp_path / f"seed_{seed}").splits for seed in (3, 4)]
        accuracies = [splits["PrivateTest"]["accuracy"] for splits in own]
        of_all = {"mean_accuracy": 0.8125, "std_accuracy": 0.0125, "mean_macro_f1": 0.8, "std_macro_f1": 0.01}
        seeds_result(
            label_names=NAMES,
            splits={"PublicTest": of_all, "PrivateTest": of_all},
            per_seed=tuple(
                {"seed": seed, "best_epoch": 2, "splits": splits} for seed, splits in zip((3, 4), own, strict=True)
            ),
        ).write(tmp_path)
        written = Page(page.write(tmp_path, made_examples()))
        assert "81.2 % ± 1.2 (standard deviation) over 2 seeds, on PrivateTest" in written.text
        assert written.headings == ["The seeds", "Learning curves", "Which expressions, on PrivateTest", "To repeat it"]
        assert [a for a in written.addresses if "seed" in a] == [f"../seed_{i}/report/index.html" for i in (3, 4)]
        for accuracy in accuracies:
            assert f"{100 * accuracy:.2f}" in written.text
        recalls = [splits["PrivateTest"]["per_class"]["fear"]["recall"] for splits in own]
        assert f"{100 * np.mean(recalls):.1f} ± {100 * np.std(recalls, ddof=1):.1f}" in written.text
