"""result.json: what is written is read again, and what is none is refused in one line."""

import json

import pytest

from fer_jax import result as results
from fer_jax.errors import UserError
from tests.results import SCORES, folds_result, run_result, seeds_result


@pytest.mark.parametrize("made", [run_result, seeds_result, folds_result])
def test_what_is_written_is_read_again(tmp_path, made):
    assert results.read(tmp_path) is None
    made().write(tmp_path)
    assert results.read(tmp_path) == made()


def test_an_evaluation_is_no_result_of_training(tmp_path):
    about = {"data": "4 faces", "label_names": ("happy", "sad"), "versions": {}, "predictor": "a bundle"}
    scored = {"selected_on": "PublicTest", "best_epoch": None, "splits": {"PublicTest": SCORES}}
    evaluation = results.Evaluation(**about, **scored)
    assert results.from_json(json.loads(json.dumps(evaluation.to_json())), "x") == evaluation
    (tmp_path / "result.json").write_text(json.dumps(evaluation.to_json()), encoding="utf-8")
    with pytest.raises(UserError, match="holds an evaluation, not the result of training"):
        results.read(tmp_path)


def test_a_record_without_a_kind_is_of_a_run_or_an_evaluation():
    value = run_result().to_json()
    del value["kind"]
    assert results.from_json(value, "x") == run_result()
    with pytest.raises(UserError, match="expected the result of an evaluation"):
        results.from_json({"predictor": "a bundle"}, "x")


CUT = json.dumps(run_result().to_json())[:200]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty, expected the result.json of a run: if a run left it so, remove it"),
        (b" \n", "the result.json of a run that is damaged"),
        (CUT.encode(), "the result.json of a run that is damaged"),
        (b"\x1f\x8b\x08\x00\xff", "the result.json of a run that is damaged"),
        (b"[" * 100_000, "the result.json of a run that is damaged"),
        (b"[1, 2]", "JSON of a list, expected the result.json of a run"),
        (b'{"accuracy": 0.5}', "no 'data' in it: expected the result of a run"),
        (b'{"kind": "plan"}', "is of kind 'plan': expected one of run, seeds, folds, evaluation"),
        (b'{"kind": ["run"]}', "is of kind \"['run']\""),
    ],
)
def test_a_file_that_is_none_is_one_line(tmp_path, content, message):
    (tmp_path / "result.json").write_bytes(content)
    with pytest.raises(UserError) as error:
        results.read(tmp_path)
    assert message in str(error.value) and str(tmp_path / "result.json") in str(error.value)
    assert "\n" not in str(error.value) and len(str(error.value)) < 500


@pytest.mark.parametrize(
    ("made", "place", "value", "message"),
    [
        (run_result, ["label_names"], "happy", "label_names is 'happy', expected a list in the result of a run: "),
        (run_result, ["label_names", 0], 3, "label_names.0 is 3, expected text"),
        (run_result, ["epochs"], 2.5, "epochs is 2.5, expected a whole number"),
        (run_result, ["splits"], [], "splits is [], expected an object"),
        (run_result, ["splits", "PublicTest", "accuracy"], "0.5", "splits.PublicTest.accuracy is '0.5', expected a "),
        (
            run_result,
            ["splits", "PublicTest", "examples"],
            True,
            "splits.PublicTest.examples is True, expected a whole",
        ),
        (
            run_result,
            ["splits", "PublicTest", "confusion", 1],
            4,
            "splits.PublicTest.confusion.1 is 4, expected a list",
        ),
        (run_result, ["calibration", "temperature"], None, "calibration.temperature is None, expected a number"),
        (seeds_result, ["per_seed", 0, "splits", "PublicTest"], {}, "per_seed.0.splits.PublicTest.examples is None, "),
        (folds_result, ["per_fold", 1, "best_epoch"], "2", "per_fold.1.best_epoch is '2', expected a whole number"),
    ],
)
def test_a_value_of_another_type_is_one_line(made, place, value, message):
    content = json.loads(json.dumps(made().to_json()))
    inner = content
    for name in place[:-1]:
        inner = inner[name]
    inner[place[-1]] = value
    with pytest.raises(UserError) as error:
        results.from_json(content, "result.json")
    assert str(error.value).startswith(f"result.json: {message}")
    assert str(error.value).endswith("remove it and run the same command again")


def test_the_runs_inside_a_folder(tmp_path):
    assert results.runs_of(tmp_path) == [tmp_path]
    for name in ("seed_3", "seed_4", "fold_01", "seed_5", "report"):
        (tmp_path / name).mkdir()
    for name in ("seed_3", "seed_4", "fold_01", "report"):  # the other never began
        (tmp_path / name / "config.json").write_text("{}", encoding="utf-8")
    assert results.runs_inside(tmp_path) == ["fold_01", "seed_3", "seed_4"]
    assert results.runs_of(tmp_path) == [tmp_path / name for name in ("fold_01", "seed_3", "seed_4")]
    assert seeds_result().folders == ("seed_3", "seed_4")
    assert folds_result().folders == ("fold_01", "fold_02")
    assert run_result().folders == ()
