"""What people read beside a bundle."""

import numpy as np

from configs import default
from fer_jax.bundle import manifest
from fer_jax.evaluation import metrics
from fer_jax.export import card

INPUT = manifest.Input(48, 1, "signed", "area")
ARGUMENTS = {
    "name": "small",
    "labels": ("happy", "sad"),
    "input": INPUT,
    "licence": "Research only.",
    "model": {"name": "mini_xception", "parameters": 58423},
    "training_data": "4 drawn faces",
}


def result():
    logits, labels = np.array([[3.0, 0], [2, 0], [2, 1], [1, 2]]), np.array([0, 0, 1, 1])
    return {
        "config": "small",
        "seed": 3,
        "best_epoch": 2,
        "epochs": 5,
        "selected_by": "accuracy",
        "selected_on": "PublicTest",
        "split_note": "",
        "command": "python -m fer_jax.main",
        "splits": {"PublicTest": metrics.scores(logits, labels, ("happy", "sad"))},
        "calibration": {
            "fitted_on": "PublicTest",
            "temperature": 1.25,
            "uncertain_below": 0.4,
            "coverage": 0.9,
            "accuracy_when_certain": 0.8,
            "expected_calibration_error": {"before": 0.051, "after": 0.012},
        },
    }


def test_a_card_has_the_scores_with_their_standard_errors():
    text = card.text(config=default.get_config(), result=result(), **ARGUMENTS)
    lines = text.splitlines()
    assert "| PublicTest | 4 | 75.0 ± 21.7 % | 100.0 % | 75.0 % | 0.733 |" in lines
    assert "| sad | 2 | 100.0 % | 50.0 ± 35.4 % | 0.667 |" in lines
    table = lines.index("| PublicTest | faces | precision | recall | F1 |")
    assert [line.count("|") for line in lines[table : table + 4]] == [6] * 4
    assert "0.051 before and 0.012 after" in text
    assert "Config `small`, seed 3, epoch 2 of 5, chosen by accuracy on PublicTest." in text
    assert "Article 5(1)(f)" in text
    assert "noise ceiling" not in text and "Taught by" not in text


def test_a_card_names_the_noise_ceiling_and_the_teachers():
    config, record = default.get_config(), result()
    config.teacher.runs = ("a", "b")
    record["splits"]["PublicTest"]["noise_ceiling"] = 0.7
    text = card.text(config=config, result=record, **ARGUMENTS)
    assert "| PublicTest | 4 | 75.0 ± 21.7 % | 100.0 % | 75.0 % | 0.733 | 70.0 % |" in text
    assert "Taught by 2 larger networks of the same data" in text


def test_without_a_result_there_are_no_scores():
    text = card.text(config=default.get_config(), result=None, **ARGUMENTS)
    assert "Scores" not in text and "Research only." in text


def test_a_card_says_the_warnings_and_no_temperature_that_was_not_fitted():
    record = result()
    record["calibration"]["fitted_on"], record["warnings"] = None, ["PublicTest has no image of sad"]
    text = card.text(config=default.get_config(), result=record, **ARGUMENTS)
    assert "Warning: PublicTest has no image of sad." in text.splitlines()
    assert "Probabilities are" not in text
