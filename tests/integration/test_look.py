"""The commands that let one look at a run: its report, several side by side, and what its network sees."""

import json

import cv2
import numpy as np
import pytest

from fer_jax import config as configs
from fer_jax.data.sources import synthetic


class TestReport:
    def test_a_finished_run_with_its_faces(self, command, whole, tmp_path):
        done = command("tools.report", f"--workdir={whole}", f"--out={tmp_path / 'again'}")
        assert done.stdout.strip() == str(tmp_path / "again" / "index.html")
        pictures = ("learning_curves.png", "confusion.png", "reliability.png", "faces.png", "augmented.png")
        for name in ("index.html", *pictures):  # as the run itself left them
            size = (whole / "report" / name).stat().st_size
            assert (tmp_path / "again" / name).stat().st_size == pytest.approx(size, rel=0.01)

    def test_without_its_data_there_are_no_faces(self, command, whole, tmp_path):
        config = configs.load(whole)
        config.data.source, config.data.path = "fer2013", str(tmp_path / "gone.csv")
        configs.save(config, tmp_path)
        done = command("tools.report", f"--workdir={tmp_path}")
        assert "no faces in the report" in done.stderr and "gone.csv" in done.stderr
        assert [path.name for path in (tmp_path / "report").iterdir()] == ["index.html"]

    def test_two_runs_compared(self, command, whole, tmp_path):
        command("tools.report", f"--workdir={whole}", f"--workdir={whole}", f"--out={tmp_path}")
        assert "2 runs compared" in (tmp_path / "index.html").read_text(encoding="utf-8")


class TestExplain:
    def test_a_run_over_its_split(self, command, whole, tmp_path):
        done = command("tools.explain", f"--workdir={whole}", "--faces=3", f"--out={tmp_path}")
        assert len(done.stdout.splitlines()) == 2
        assert cv2.imread(str(tmp_path / "faces.png")) is not None
        agreement = json.loads((tmp_path / "agreement.json").read_text(encoding="utf-8"))
        assert agreement["faces"] == 3
        assert set(agreement["spearman_with_occlusion"]) == {"class_activation", "grad_cam"}

    def test_faces_of_a_picture(self, command, whole, tmp_path):
        faces = synthetic.draw(np.arange(7, dtype=np.int32), 160)[..., 0]
        cv2.imwrite(str(tmp_path / "crowd.png"), np.hstack([np.pad(face, 40, mode="edge") for face in faces]))
        command(
            "tools.explain",
            f"--workdir={whole}",
            f"--source={tmp_path / 'crowd.png'}",
            "--faces=2",
            "--methods=class_activation",
            f"--out={tmp_path / 'out'}",
        )
        assert [path.name for path in (tmp_path / "out").iterdir()] == ["faces.png"]


def test_mistakes_are_one_line(mistakes, whole, tmp_path):
    cv2.imwrite(str(tmp_path / "gray.png"), np.full((200, 200), 128, np.uint8))
    explain = f"explain --out={tmp_path}/out"
    said = {
        f"report --workdir={whole} --workdir={whole}": "give --out=FOLDER",
        f"report --workdir={whole}/nothing": "no run's folder",
        explain: "Give either --bundle=BUNDLE or --workdir=RUN",
        f"{explain} --workdir={whole} --source=0 --split=PublicTest": "two places to take faces from",
        f"{explain} --workdir={whole} --split=Nowhere": "no examples of split 'Nowhere'",
        f"{explain} --workdir={whole} --source={tmp_path}/gray.png": "gray.png: no face found; --detector=none takes",
    }
    for error, words in zip(mistakes(*said), said.values(), strict=True):
        assert words in error
    assert not (tmp_path / "out").exists()
