"""The tools that look at data and make it, as a user runs them."""

import json

import cv2

from fer_jax.data.sources import synthetic
from tests import datasets


def test_audit_of_a_folder_with_a_leak(command, tmp_path):
    root = datasets.write_folder(tmp_path / "faces", counts={"train": 5, "test": 3})
    leak = cv2.imread(str(root / "test" / "sad" / "001.png"), cv2.IMREAD_GRAYSCALE)
    cv2.imwrite(str(root / "train" / "sad" / "leak.png"), leak[:, ::-1])
    done = command("tools.audit_data", "--source=folder", f"--path={root}", f"--out={tmp_path / 'audit'}")
    assert "Training images with a copy in PrivateTest, exact or near: 1\n" in done.stdout
    summary = json.loads((tmp_path / "audit" / "summary.json").read_text(encoding="utf-8"))
    assert summary["exact_and_near_duplicates"]["groups_across_splits"] == 1


def test_audit_of_a_configs_data_as_it_is_split_there(command, tmp_path):
    root = datasets.write_ckplus(tmp_path / "ckplus")
    done = command(
        "tools.audit_data", "--config=configs/ckplus.py", f"--config.data.path={root}", f"--out={tmp_path / 'audit'}"
    )
    splits = json.loads((tmp_path / "audit" / "summary.json").read_text(encoding="utf-8"))["classes"]
    assert len(splits) == 3 and sum(map(sum, (counts.values() for counts in splits.values()))) == 105
    assert "exact duplicates: 0 groups" in done.stdout


def test_mistakes_are_one_line(mistakes, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").touch()
    (tmp_path / "photographs").mkdir()
    audit = f"audit --out={tmp_path}/audit"
    extract = f"extract-faces --source={tmp_path}/photographs --out={tmp_path}/full"
    without, nowhere, full = mistakes(audit, f"{audit} --source=folder --path=nowhere", extract)
    assert without == "error: expected one of --config, --source (with --path) and --workdir"
    assert "config.data.path is 'nowhere', no folder" in nowhere
    assert "is there already and not empty" in full
    assert not (tmp_path / "audit").exists()


def test_extracted_faces_and_the_report_about_the_rest(command, tmp_path):
    for number, name in enumerate(("angry", "happy")):
        (tmp_path / "photographs" / name).mkdir(parents=True)
        picture = synthetic.draw([number * 3], 200, 3, zoom=0.75)[0]
        cv2.imwrite(str(tmp_path / "photographs" / name / "1.jpg"), picture)
    cv2.imwrite(str(tmp_path / "photographs" / "happy" / "2.jpg"), picture[:60, :60] // 8)
    places = f"--source={tmp_path / 'photographs'}", f"--out={tmp_path / 'faces'}"
    done = command("tools.extract_faces", *places, "--align", "--size=48")
    assert "2 faces of 2 photographs are in" in done.stdout
    assert "1 files without a face: happy/2.jpg; see extracted.csv" in done.stdout
    made = sorted(path.relative_to(tmp_path / "faces").as_posix() for path in (tmp_path / "faces").rglob("*.*"))
    assert made == ["angry/1.png", "extracted.csv", "happy/1.png"]
