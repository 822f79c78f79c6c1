"""The folder that any web host serves."""

import json
import re

import pytest

from fer_jax.errors import UserError
from fer_jax.web import static

YUNET = b"graph" + 2 * static.DECLARED_SIZE + b"weights"


@pytest.fixture
def write(classifier, tmp_path, monkeypatch):
    """`write(folder)` writes the page with stand-ins for what comes from elsewhere."""
    (tmp_path / "yunet.onnx").write_bytes(YUNET)
    monkeypatch.setattr(static, "_runtime", lambda name, sha256: name.encode())
    return lambda folder: static.write(folder, classifier, str(tmp_path / "yunet.onnx"))


def test_the_folder_is_whole(write, classifier, tmp_path):
    folder = write(tmp_path / "site")
    files = {path.name for path in folder.iterdir()}
    page = (folder / "index.html").read_text(encoding="utf-8")
    assert "connect-src 'self'" in page
    assert "Choose a picture<" in page and "video/*" not in page
    scripts = [path for path in folder.iterdir() if path.suffix == ".js" and path.name != "ort.js"]
    named = set(re.findall(r'(?:href|src)="([^"]+)"', page))
    for script in scripts:
        text = script.read_text(encoding="utf-8")
        named |= set(re.findall(r'(?:from "\./|import\("\./|new URL\(")([\w.]+)"', text))
    assert named <= files, named - files
    kept = re.search(r"FILES = (\[.*?\]);", (folder / "offline.js").read_text(encoding="utf-8"))
    assert kept
    assert set(json.loads(kept[1])) == files - {"offline.js", "NOTICE.txt", "MODEL.md"} | {"./"}
    model = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    assert (model["labels"], model["detectors"], model["input"]["size"]) == (
        list(classifier.labels),
        ["yunet", "none"],
        8,
    )
    assert (folder / "model.onnx").read_bytes() == classifier.bundle.file("onnx").read_bytes()
    assert (folder / "yunet.onnx").read_bytes() == b"graph" + b"".join(static.NAMED_SIZES) + b"weights"


def test_the_folder_is_replaced_and_another_one_is_not(write, tmp_path):
    write(tmp_path / "site")
    write(tmp_path / "site")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").touch()
    with pytest.raises(UserError, match="other holds something else, which would be lost: name a new folder"):
        write(tmp_path / "other")
    assert [path.name for path in (tmp_path / "other").iterdir()] == ["thesis.txt"]


def test_another_detector_is_refused(classifier, tmp_path, monkeypatch):
    monkeypatch.setattr(static, "_runtime", lambda name, sha256: name.encode())
    (tmp_path / "haar.onnx").write_bytes(b"another graph")
    with pytest.raises(UserError, match="the detector is no face_detection_yunet"):
        static.write(tmp_path / "site", classifier, str(tmp_path / "haar.onnx"))
    assert not (tmp_path / "site").exists()


def test_the_runtime_is_that_of_npm_or_of_the_cache_and_no_other(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("fer_jax.files.user_cache", lambda: tmp_path / "cache")
    digest = static.hashlib.sha256(b"runtime").hexdigest()
    for folder in ("node_modules/onnxruntime-web/dist", f"cache/onnxruntime-web-{static.RUNTIME_VERSION}"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "ort.mjs").write_bytes(b"runtime")
        assert static._runtime("ort.mjs", digest) == b"runtime"
        (tmp_path / folder / "ort.mjs").write_bytes(b"another version")
        with pytest.raises(UserError, match=r"is not fetched, since FER_JAX_OFFLINE is set: run npm install .*@1"):
            static._runtime("ort.mjs", digest)
