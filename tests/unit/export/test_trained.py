"""What a bundle and its card say about its origin, without paths of the machine that wrote it."""

import numpy as np

from configs import default
from fer_jax.export import trained
from fer_jax.export.trained import Trained
from tests.results import CALIBRATION, SCORES, run_result


def test_weights_of_people_are_for_research_and_those_of_synthetic_faces_free():
    for source in ("fer2013", "ferplus", "jaffe", "ckplus"):
        assert "Use them for research and teaching" in trained.license_note(source)
    assert trained.license_note("synthetic").startswith("Apache-2.0, code and weights")
    assert "not known" in trained.license_note("folder")


def test_of_paths_the_names_alone_are_kept():
    config = default.get_config()
    config.data.path, config.data.cache_dir = "/home/me/fer2013.csv", "/home/me/cache"
    config.model.pretrained, config.teacher.runs = "/home/me/a.bundle", ("/home/me/runs/teacher", "b")
    written = Trained(config, {}, ("a", "b"), "faces", "none").provenance()
    assert "/home/me" not in str(written)
    kept = written["config"]
    assert (kept["data"]["path"], kept["model"]["pretrained"]) == ("fer2013.csv", "a.bundle")
    assert kept["teacher"]["runs"] == ["teacher", "b"]
    assert config.data.path == "/home/me/fer2013.csv"
    assert "class_counts" not in written
    assert Trained(config, {}, (), "", "", class_counts={"happy": 3}).provenance()["class_counts"] == {"happy": 3}
    assert written["result"] is None and written["config"]["seed"] == config.seed
    assert {"jax", "flax", "onnxruntime", "python"} <= set(written["versions"])


def test_a_result_is_reduced_to_what_says_how_good_it_is():
    assert trained.essentials(run_result()) == {
        "selected_on": "PublicTest",
        "best_epoch": 2,
        "splits": {"PublicTest": {key: SCORES[key] for key in ("examples", "accuracy", "macro_f1")}},
    }


def test_the_training_data_is_what_the_run_read():
    config = default.get_config()
    assert trained.training_data_note(config, run_result(data="FER2013, 28,709 faces")) == (
        "FER2013, 28,709 faces, of which the split Training"
    )
    assert trained.training_data_note(config, None) == "fer2013, split Training; the run was not finished"


def card(result, config=None, note=""):
    config = config or default.get_config()
    variables = {"params": {"classes": {"kernel": np.zeros((3, 2))}}}
    about = ("happy", "sad"), "4 synthetic faces", "Research only."
    return Trained(config, variables, *about, result, name="small", note=note).card()


def test_a_card_has_the_scores_with_their_standard_errors():
    text = card(run_result())
    lines = text.splitlines()
    assert "| PublicTest | 4 | 75.0 ± 21.7 % | 100.0 % | 75.0 % | 0.733 |" in lines
    assert "| sad | 2 | 100.0 % | 50.0 ± 35.4 % | 0.667 |" in lines
    table = lines.index("| PublicTest | faces | precision | recall | F1 |")
    assert [line.count("|") for line in lines[table : table + 4]] == [6] * 4
    assert "0.051 before and 0.012 after" in text
    assert "Config `small`, seed 3, epoch 2 of 5, chosen by accuracy on PublicTest." in text
    assert "Article 5(1)(f)" in text
    assert "noise ceiling" not in text and "Distilled" not in text


def test_a_card_has_a_row_for_each_view_and_what_its_maker_notes():
    record = run_result(splits={"PublicTest": SCORES | {"tta": {"flip": SCORES | {"accuracy": 0.5}}}})
    text = card(record, note="The better of two seeds.")
    plain = text.splitlines().index("| PublicTest | 4 | 75.0 ± 21.7 % | 100.0 % | 75.0 % | 0.733 |")
    assert text.splitlines()[plain + 1].startswith("| PublicTest, with mirror images | 4 | 50.0 ± ")
    assert text.splitlines()[plain + 2] == ""
    assert "\nThe better of two seeds.\n" in text


def test_a_card_says_what_else_there_is_to_know():
    text = card(None)
    assert "Scores" not in text and "Research only." in text
    config = default.get_config()
    config.teacher.runs = ("a", "b")
    text = card(run_result(splits={"PublicTest": SCORES | {"noise_ceiling": 0.7}}), config)
    assert "| PublicTest | 4 | 75.0 ± 21.7 % | 100.0 % | 75.0 % | 0.733 | 70.0 % |" in text
    assert "Distilled from 2 teachers trained on the same data" in text
    unfitted = CALIBRATION | {"fitted_on": None}
    text = card(run_result(calibration=unfitted, warnings=("PublicTest has no image of sad",)))
    assert "Warning: PublicTest has no image of sad." in text.splitlines()
    assert "Probabilities are" not in text


def test_a_card_names_no_folder():
    command = "python -m fer_jax.main --config=configs/small.py --workdir=/home/me/run --config.data.path=../me/a.csv"
    text = card(run_result(command=command))
    assert "    python -m fer_jax.main --config=configs/small.py --workdir=run --config.data.path=a.csv\n" in text
    assert "/me" not in text
