"""The notebooks of examples/, executed with the wheel at small size, each in an empty folder, and what they keep."""

import os
import re
import subprocess
import sys

import nbformat
import pytest
from nbclient import NotebookClient

from tests.conftest import REPOSITORY

NOTEBOOKS = sorted((REPOSITORY / "examples").glob("*.ipynb"))
TINY = {
    "epochs": 1,
    "input.size": 16,
    "model.args": {"block_features": (8,)},
    "data.args.examples": 350,
    "data.cache_dir": "cache",
    "data.pipeline": "device",
}
SMALL = {
    "analyze_pictures": 'PICTURE = ""',
    "analyze_video": 'VIDEO = ""',
    "fine_tune": 'FACES, CHANGES = "", {"model.pretrained": "mini_xception", "epochs": 1}',
    "seeds_and_a_table": (
        f'SEEDS, CHANGES = [0], {{"as it is": {{}}, "without mirror images": {{"augment.flip": 0.0}}}}\nSHORT = {TINY}'
    ),
    "train_look_export": f'RECIPE, DATA, WORKDIR, CHANGES = "quickstart", "", "run", {TINY}',
}


@pytest.fixture(scope="session")
def installed(wheel, shared):
    """The folder that holds the installed wheel, without what it needs."""
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    return shared("installed", lambda folder: subprocess.run([*pip, f"--target={folder}", wheel], check=True))


def cells(notebook, tag):
    return [cell for cell in notebook.cells if tag in cell.metadata.get("tags", ())]


def outputs(notebook):
    return [output for cell in notebook.cells for output in cell.get("outputs", ())]


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_notebook_runs(path, installed, tmp_path, monkeypatch, user_environment):
    for name in os.environ.keys() - user_environment.keys():  # JAX's own, such as this process' eight devices
        monkeypatch.delenv(name)
    for name, value in user_environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PYTHONPATH", str(installed))
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    notebook = nbformat.read(path, as_version=4)
    [parameters] = cells(notebook, "parameters")
    parameters.source = f"{SMALL[path.stem]}\nimport fer_jax; assert fer_jax.__file__.startswith({str(installed)!r})"
    notebook.cells = [cell for cell in notebook.cells if cell not in cells(notebook, "install")]
    done = NotebookClient(notebook, timeout=500, resources={"metadata": {"path": tmp_path}}).execute()
    assert all(cell.execution_count for cell in done.cells if cell.cell_type == "code")
    assert {"image/png", "image/svg+xml"} & {kind for output in outputs(done) for kind in output.get("data", ())}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_notebook_keeps_its_outputs_and_is_small(path):
    notebook = nbformat.read(path, as_version=4)
    assert not cells(notebook, "install")[0].outputs
    assert outputs(notebook) and not [output for output in outputs(notebook) if output.output_type == "error"]
    assert path.stat().st_size < 500_000
    text = path.read_text(encoding="utf-8")
    assert not re.search("/(tmp|home|root|Users)/", text), "a path of the machine that ran it"
