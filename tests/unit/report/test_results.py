"""The page of results: every figure from a record, and what is missing said."""

import json
import pathlib

import numpy as np
import pytest

from fer_jax.errors import UserError
from fer_jax.evaluation import metrics
from fer_jax.experiments import ablation
from fer_jax.experiments.run import scores_of_views
from fer_jax.report import results
from fer_jax.result import Evaluation
from tests.results import run_result

NAMES = ("happy", "disgust")


def record(folder, name, right, data="FER2013", label_names=NAMES, **splits):
    labels = np.arange(10) % 2
    predicted = np.where(np.arange(10) < right, labels, 1 - labels)
    logits = np.eye(2)[predicted]
    scores = scores_of_views({"": logits, "flip": np.eye(2)[labels]}, labels, NAMES) | {"noise_ceiling": 0.75}
    (folder / "results").mkdir(parents=True, exist_ok=True)
    made = run_result(
        config=name,
        data=f"{data}: 10 faces",
        label_names=tuple(label_names),
        seed=1,
        epochs=3,
        splits={"PublicTest": scores, **splits},
        train_seconds=120.0,
        train_examples_per_second=900.4,
        calibration={"expected_calibration_error": {"before": 0.03, "after": 0.0125, "unavoidable": 0.011}},
        command=f"python -m fer_jax.main --config=configs/{name}.py",
    )
    (folder / "results" / f"{name}.json").write_text(json.dumps(made.to_json()), encoding="utf-8")


def test_the_page_has_a_row_a_record_the_best_first(tmp_path):
    record(tmp_path, "weak", 6)
    record(tmp_path, "strong", 9, PrivateTest=metrics.scores(np.eye(2), np.array([0, 1]), NAMES))
    (tmp_path / "pending.json").write_text(
        json.dumps([{"what": "VGG", "bar": "73.7 %", "command": "python -m x"}]), encoding="utf-8"
    )
    text = results.page(tmp_path)
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    assert [row.split("`")[1] for row in rows] == ["strong", "weak"]
    assert "58,423 | **90.00** ± 9.49 | 100.00 |  | 0.899 | 80.0 | 0.013 (0.011) | 100.00 ± 0.00 | 2 min" in rows[0]
    assert results.MISSING in rows[1]
    assert "--config=configs/strong.py\npython -m fer_jax.main --config=configs/weak.py\n" in text
    assert "75.0 % of PublicTest" in text
    assert "| VGG | 73.7 % | `python -m x` |" in text


def test_later_evaluations_stand_beside_the_run_they_are_of(tmp_path):
    record(tmp_path, "ours", 9)
    record(tmp_path, "of_report", 6)
    scores = json.loads((tmp_path / "results" / "ours.json").read_text(encoding="utf-8"))["splits"]["PublicTest"]
    scores["tta"]["ten_crop"] = scores["tta"]["flip"]
    for name, accuracy in (("private", 0.6846), ("peer", 0.6565)):
        made = Evaluation(
            data="10 faces",
            label_names=NAMES,
            versions={},
            predictor=name,
            selected_on="PublicTest",
            best_epoch=None,
            splits={"PrivateTest": scores | {"accuracy": accuracy}},
        )
        (tmp_path / "results" / f"{name}.json").write_text(json.dumps(made.to_json()), encoding="utf-8")
    confident = {"mean_confidence": 0.912, "expected_calibration_error": 0.2345, "unavoidable": 0.0123}
    corrected = made.to_json() | {
        "prior": [{"trained": dict.fromkeys(NAMES, 0.75), "target": dict.fromkeys(NAMES, 0.25)}],
        "command": "fer-jax evaluate --prior=flat --json=docs/records/results/ours.json",
        "splits": {"PublicTest": scores | {"calibration": confident, "loss": 2.0}},
    }
    (tmp_path / "results" / "corrected.json").write_text(json.dumps(corrected), encoding="utf-8")
    networks = {
        "evaluations": {"ours": ["private"]},
        "private_test": [
            {"what": "ours", "evaluation": "private", "source": "measured"},
            {"what": "another", "accuracy": 0.6878, "source": "as published"},
            {"what": "a new one", "source": "ours"},
        ],
        "cross_data": [{"what": "other faces", "evaluations": ["private", "peer"]}],
        "reports": [
            {"recipe": "small", "run": "of_report", "published": "98.4"},
            {"recipe": "large", "published": "99.07"},
        ],
        "calibration": [
            {"model": "a", "what": "old", "evaluation": "private"},
            {"model": "b", "what": "new", "evaluation": "corrected"},
        ],
        "priors": [{"what": "ours", "to": "flat", "evaluation": "private", "corrected": "corrected"}],
    }
    (tmp_path / "networks.json").write_text(json.dumps(networks), encoding="utf-8")
    text = results.page(tmp_path)
    link = "[record](records/results/private.json)"
    assert f"| ours | 68.46 ± 9.49 | 100.00 | 100.00 | 0.899 | 80.0 | measured ({link}) |\n| another" in text
    assert "| another | 68.78 | | | | | as published |\n| a new one | not measured yet | | | | | ours |" in text
    assert "| other faces | 10 | 68.46 ± 9.49 | 100.00 | 65.65 ± 9.49 | 100.00 |" in text
    assert (
        "| small | 98.4 | 60.00 ± 15.49 | 10 | 2 of 3 | [of_report](records/results/of_report.json) |\n| large" in text
    )
    assert "| large | 99.07 | not measured yet | | | |" in text
    [row] = [line for line in text.splitlines() if line.startswith("| `ours`, seed 1")]
    assert "| 68.46 ± 9.49 |" in row
    assert "| `a` | old | 10 | 68.46 | not kept | not kept |" in text
    assert f"| `b` | new | 10 | {100 * scores['accuracy']:.2f} | 91.2 | 0.234 (0.012) | 2.000 |" in text
    assert "On new, `b` is surer than it is right" in text and "On old" not in text
    assert f"| {NAMES[0]} | 75.0 | 25.0 | " in text
    assert "    fer-jax evaluate --prior=flat\n" in text
    networks["priors"][0]["corrected"] = "private"
    (tmp_path / "networks.json").write_text(json.dumps(networks))
    with pytest.raises(UserError, match="private: its prior was not corrected"):
        results.page(tmp_path)
    (tmp_path / "results" / "peer.json").unlink()
    with pytest.raises(UserError, match="no 'peer' in it or among the records"):
        results.page(tmp_path)


def test_runs_that_differ_in_their_seed_have_a_mean(tmp_path):
    for seed, right in ((2, 9), (0, 6), (1, 9)):
        record(tmp_path, f"ours{seed}", right)
        path = tmp_path / "results" / f"ours{seed}.json"
        command = f"python -m fer_jax.main --config=xception --config.seed={seed} --workdir=runs/{seed}"
        command += " --config.checkpoint.keep=7" if seed else ""  # of no influence
        path.write_text(json.dumps(json.loads(path.read_text()) | {"seed": seed, "command": command}))
    record(tmp_path, "other", 6)
    text = results.page(tmp_path)
    mean = "seeds 0, 1, 2: PublicTest **80.00** on average, with a standard deviation of 17.32 over the seeds"
    assert f"\nours0, ours1, ours2, {mean}; with mirror images 100.00.\n" in text
    assert text.count("on average") == 1
    assert text.count("| `xception`, seed") == 3 and text.count("| `other`, seed") == 1


def test_the_recall_of_each_class_of_a_report_is_shown_where_it_is_asked_for(tmp_path):
    record(tmp_path, "ours", 9)
    row = {"recipe": "`ours`", "run": "ours", "published": "50", "classes": True}
    published = {"what": "another", "accuracy": 0.5, "source": "as published"}
    networks = {"private_test": [published], "cross_data": [], "reports": [row]}
    (tmp_path / "networks.json").write_text(json.dumps(networks))
    record(tmp_path, "another", 9)
    assert "Recall of each class of `ours`: happy 100.0 %, disgust 80.0 %.\n" in results.page(tmp_path)


def test_other_labels_of_the_same_faces_have_a_section_of_their_own(tmp_path):
    record(tmp_path, "votes", 10, data="FER+", label_names=[f"expression {i}" for i in range(8)])
    record(tmp_path, "labels", 6)
    fer2013, ferplus = results.page(tmp_path).split("## FER")[1:]
    assert fer2013.startswith("2013\n") and "`labels`" in fer2013 and "`votes`" not in fer2013
    assert ferplus.startswith("+\n") and "`votes`" in ferplus and "not to be compared with FER2013's" in ferplus


def test_the_table_of_an_ablation():
    def row(name, accuracies, **more):
        return {
            "name": name,
            "change": {},
            "seeds": [0, 1],
            "accuracy": accuracies,
            "macro_f1": [0.5, 0.6],
            "disgust_recall": [0.25, 0.75],
            **more,
        }

    worse = {"change": {"augment.erase": 0.5}, "difference": {"mean": -0.01, "standard_error": 0.004}}
    better = {"change": {"epochs": 9}, "difference": {"mean": 0.02, "standard_error": 0.003}}
    lines = results.ablation_table(
        {
            "rows": [
                row(ablation.BASE, [0.6, 0.61]),
                row("erasing", [0.59, 0.6], **worse),
                row("longer", [0.62, 0.63], **better),
            ]
        }
    ).splitlines()
    assert lines[2:] == [
        "| as it is | 2 | 60.50 |  | 0.550 | 50.0 |",
        "| longer (`epochs=9`) | 2 | 62.50 | +2.00 ± 0.30 | 0.550 | 50.0 |",
        "| erasing (`augment.erase=0.5`) | 2 | 59.50 | -1.00 ± 0.40 | 0.550 | 50.0 |",
    ]


def test_a_folder_without_records_and_a_file_that_is_none(tmp_path):
    with pytest.raises(UserError, match="no results/"):
        results.page(tmp_path)
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "a.json").write_text("{}", encoding="utf-8")
    with pytest.raises(UserError, match="no 'data' in it"):
        results.page(tmp_path)


def test_the_page_is_what_the_records_make():
    docs = pathlib.Path(__file__).parents[3] / "docs"
    assert (docs / "results.md").read_text(encoding="utf-8") == results.page(docs / "records"), (
        "run python -m tools.results"
    )
    kept = json.loads((docs.parent / "configs/scores.json").read_text(encoding="utf-8"))
    assert kept == results.scores(docs / "records"), "run python -m tools.results"


def test_scores_are_of_recipes_as_they_are(tmp_path):
    (tmp_path / "results").mkdir()
    record = json.loads(
        (pathlib.Path(__file__).parents[3] / "docs/records/results/xception_best.json").read_text(encoding="utf-8")
    )
    command = "python -m fer_jax.main --config=configs/xception.py --config.data.path=fer2013.csv --workdir=runs/a"
    of_runs = {"whole": (1, ""), "short": (2, " --config.epochs=1"), "later": (3, " --config.checkpoint.keep=3")}
    for name, (number, flags) in of_runs.items():
        (tmp_path / f"results/{name}.json").write_text(
            json.dumps(record | {"command": command + flags, "parameters": number}), encoding="utf-8"
        )
    assert {name: score["parameters"] for name, score in results.scores(tmp_path).items()} == {"xception": 3}
