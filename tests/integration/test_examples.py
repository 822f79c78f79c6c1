"""The notebooks of examples/, executed at small size, each in an empty folder."""

import json

import nbformat
import pytest
from nbclient import NotebookClient

from tests.conftest import REPOSITORY

NOTEBOOKS = sorted((REPOSITORY / "examples").glob("*.ipynb"))
PARAMETERS = {
    "train_look_export": (
        'RECIPE, DATA, WORKDIR = "quickstart", "", "run"\n'
        'CHANGES = {"epochs": 1, "data.args.examples": 350, "data.cache_dir": "cache", "data.pipeline": "device"}'
    ),
    "analyze_pictures": 'PICTURE = ""',
}


@pytest.mark.parametrize(
    "path",
    [pytest.param(path, id=path.stem, marks=pytest.mark.slow if "train" in path.stem else ()) for path in NOTEBOOKS],
)
def test_the_notebook_runs(path, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    notebook = nbformat.read(path, as_version=4)
    notebook.cells = [cell for cell in notebook.cells if "install" not in cell.metadata.get("tags", ())]
    (parameters,) = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", ())]
    parameters.source = PARAMETERS[path.stem]
    done = NotebookClient(notebook, timeout=500, resources={"metadata": {"path": tmp_path}}).execute()
    assert all(cell.execution_count for cell in done.cells if cell.cell_type == "code")
    outputs = [output for cell in done.cells for output in cell.get("outputs", ())]
    assert any("image/png" in output.get("data", ()) for output in outputs)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_notebook_is_kept_without_results(path):
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        assert not cell.get("outputs")
        assert not cell.get("execution_count")
