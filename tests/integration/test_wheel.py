"""The wheel and the sdist: what is in them, and a new user's way with them, from an empty folder."""

import json
import os
import subprocess
import sys
import venv
import zipfile

import numpy as np
import pytest

import fer_jax
from fer_jax import cli, recipes, zoo
from fer_jax.labels import FER2013
from tests import serving
from tests.conftest import FORKS, run_python
from tests.integration.conftest import REPOSITORY, link_dependencies

MAX_BYTES = 3_500_000  # 2.99 MB with four models


def _environment(folder, packages, *install):
    """Folder of the commands of a new environment; `packages(site)` gives it what the installed needs."""
    venv.create(folder, with_pip=False, symlinks=True)
    (site,) = folder.glob("lib/python*/site-packages")
    packages(site)
    subprocess.run(
        [sys.executable, "-m", "pip", f"--python={folder}", "install", "--quiet", "--no-deps", "--no-index", *install],
        env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"},  # a checkout there counts as installed
        check=True,
    )
    return folder / "bin"


def _everything(site):
    """See the packages of the environment that runs the tests, after the wheel's own."""
    packages = [path for path in sys.path if path.endswith("site-packages")]
    (site / "tests.pth").write_text("\n".join(packages), encoding="utf-8")


@pytest.fixture(scope="module")
def light(tmp_path_factory, wheel):
    return _environment(tmp_path_factory.mktemp("light"), link_dependencies, wheel)


@pytest.fixture(scope="module")
def full(tmp_path_factory, wheel):
    return _environment(tmp_path_factory.mktemp("full"), _everything, wheel)


@pytest.fixture
def use(tmp_path):
    """`use(bin, command, ...)` runs a command in an empty folder, without this checkout in sight."""
    folder = tmp_path / "empty"
    folder.mkdir()
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "FER_JAX", "JAX_", "XLA_"))}

    def run(bin, *command, check=True):
        done = subprocess.run(
            [bin / command[0], *map(str, command[1:])],
            cwd=folder,
            env=clean | {"XDG_CACHE_HOME": str(tmp_path / "cache")},
            text=True,
            capture_output=True,
            encoding="utf-8",
        )
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done

    run.folder = folder
    return run


def test_the_wheel_is_small_and_holds_recipes_commands_and_the_model(wheel):
    assert wheel.stat().st_size <= MAX_BYTES
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {f"fer_jax/configs/{path.name}" for path in (REPOSITORY / "configs").glob("*.py")} <= names
    assert {f"fer_jax/cli/{command.replace('-', '_')}.py" for command in cli.COMMANDS} <= names
    assert "fer_jax/configs/ablations/optimizers.json" in names
    assert "fer_jax/zoo/mini_xception/model.onnx" in names
    assert {"fer_jax/web/page/index.html", "fer_jax/py.typed"} <= names
    assert {name.partition("/")[0] for name in names} == {"fer_jax", f"fer_jax-{fer_jax.__version__}.dist-info"}


def test_wheel_and_sdist_are_fit_to_be_published(built):
    done = run_python("-m", "twine", "check", "--strict", *built.iterdir())
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_light_install_serves_and_says_what_training_needs(light, use, tmp_path):
    absent = "import importlib.util as u; print([u.find_spec(n) for n in ('jax', 'tensorflow', 'ml_collections')])"
    assert use(light, "python", "-c", absent).stdout == "[None, None, None]\n"
    clip = serving.write_clip(tmp_path / "clip.mp4", np.full(10, serving.brightness_of(FER2013.index("happy"))))
    use(light, "fer-jax", "webcam", f"--source={clip}", "--headless", "--detector=none", "--record=out.mp4")
    assert len(serving.frames_of(use.folder / "out.mp4")) == 10
    listed = use(light, "fer-jax", "recipes").stdout
    assert all(name in listed for name in recipes.names())
    models = use(light, "fer-jax", "models").stdout
    assert all(f"{name}\n" in models or f"{name} (the default)\n" in models for name in zoo.names())
    assert "# " in use(light, "fer-jax", "models", zoo.DEFAULT.name).stdout
    use(light, "fer-jax", "webcam", "--bundle=mini_xception", "--prior=flat", f"--source={clip}", "--headless")
    assert use(light, "fer-jax", "--version").stdout.strip() == fer_jax.__version__
    help_of_all = use(light, "python", "-c", "from fer_jax import *; import fer_jax; help(fer_jax)").stdout
    assert "analyze(source" in help_of_all
    assert "train(recipe" not in help_of_all
    helps = use(light, "python", "-c", FORKS.format(before=""), *(f"{command} --help" for command in cli.COMMANDS))
    assert helps.stdout.count("\f0\f") == len(cli.COMMANDS)
    done = use(light, "fer-jax", "train", "--config=quickstart", check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert done.stderr.endswith("which is not installed: pip install 'fer_jax[train]'\n")


def test_an_editable_install_finds_tools_and_recipes_from_anywhere(source, use, tmp_path):
    editable = _environment(tmp_path / "editable", _everything, "--no-build-isolation", "--editable", source)
    assert str(source / "configs/xception.py") in use(editable, "fer-jax", "recipes", "xception").stdout
    done = use(editable, "fer-jax", "train", "--config=xception:distilled", "--mode=summary")
    assert "MiniXception" in done.stdout


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_from_a_recipe_by_name_to_a_bundle_at_work(full, use, tmp_path):
    small = "--config.epochs=1", "--config.data.args.examples=400", "--workdir=run"
    use(full, "fer-jax", "train", "--config=quickstart", *small)
    assert json.loads((use.folder / "run/result.json").read_text(encoding="utf-8"))["splits"]
    use(full, "fer-jax", "export", "--workdir=run", "--out=mine.bundle")
    clip = serving.write_clip(tmp_path / "clip.mp4", np.full(5, 90))
    flags = "--headless", "--detector=none", "--events=-"
    use(full, "fer-jax", "webcam", "--bundle=mine.bundle", f"--source={clip}", *flags)
    (use.folder / "mine.py").write_text(
        "from fer_jax.recipes import quickstart\n\n\ndef get_config():\n    c = quickstart.get_config()\n"
        "    c.name = 'mine'\n    return c\n",
        encoding="utf-8",
    )
    assert "MiniXception" in use(full, "fer-jax", "train", "--config=mine.py", "--mode=summary").stdout
