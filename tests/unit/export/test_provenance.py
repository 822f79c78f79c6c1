"""What a bundle says about its origin, without paths of the machine that wrote it."""

from configs import default
from fer_jax.export import provenance
from fer_jax.export.trained import Trained
from tests.results import SCORES, run_result


def test_weights_of_people_are_for_research_and_those_of_synthetic_faces_free():
    for source in ("fer2013", "ferplus", "jaffe", "ckplus"):
        assert "Use them for research and teaching" in provenance.license_note(source)
    assert provenance.license_note("synthetic").startswith("Apache-2.0, code and weights")
    assert "not known" in provenance.license_note("folder")


def test_of_paths_the_names_alone_are_kept():
    config = default.get_config()
    config.data.path, config.data.cache_dir = "/home/me/fer2013.csv", "/home/me/cache"
    config.model.pretrained, config.teacher.runs = "/home/me/a.bundle", ("/home/me/runs/teacher", "b")
    written = provenance.of(Trained(config, {}, ("a", "b"), "faces", "none"))
    assert "/home/me" not in str(written)
    kept = written["config"]
    assert (kept["data"]["path"], kept["model"]["pretrained"]) == ("fer2013.csv", "a.bundle")
    assert kept["teacher"]["runs"] == ["teacher", "b"]
    assert config.data.path == "/home/me/fer2013.csv"
    assert "class_counts" not in written
    assert provenance.of(Trained(config, {}, (), "", "", class_counts={"happy": 3}))["class_counts"] == {"happy": 3}
    assert written["result"] is None and written["config"]["seed"] == config.seed
    assert {"jax", "flax", "onnxruntime", "python"} <= set(written["versions"])


def test_a_result_is_reduced_to_what_says_how_good_it_is():
    assert provenance.essentials(run_result()) == {
        "selected_on": "PublicTest",
        "best_epoch": 2,
        "splits": {"PublicTest": {key: SCORES[key] for key in ("examples", "accuracy", "macro_f1")}},
    }


def test_the_training_data_is_what_the_run_read():
    config = default.get_config()
    assert provenance.training_data_note(config, run_result(data="FER2013, 28,709 faces")) == (
        "FER2013, 28,709 faces, of which the split Training"
    )
    assert provenance.training_data_note(config, None) == "fer2013, split Training; the run was not finished"
