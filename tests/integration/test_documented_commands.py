"""Every command line of README.md and docs/ is run, in order, in one folder, at small size: they fit together."""

import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest

from benchmarks import command as benchmarks
from fer_jax import cli, labels
from fer_jax.data.sources import synthetic
from tests import datasets
from tests.conftest import run_commands

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
# README.md and results.md first: their runs and bundles are used by the pages after them
ROOMS = ("start", "how-to", "reference", "measured", ".")
PAGES = ["README.md", "docs/measured/results.md"]
for room in ROOMS:
    found = sorted(page.relative_to(REPOSITORY).as_posix() for page in (REPOSITORY / "docs" / room).glob("*.md"))
    PAGES += [page for page in found if page not in PAGES]
COMMAND = re.compile(r"^(?: {4})?((?:fer-jax|python3?|\.venv/bin/\S+|pip) .*)$")
SPAN = re.compile(r"`((?:fer-jax|python -m) [^`]*)`")

# The beginning of a command, or a part of it, and why it is not run.
NOT_RUN = {
    "python3 -m venv": "installs; .ci/run does",
    "pip install": "installs; .ci/run does",
    "fer-jax webcam": "needs a camera; test_webcam.py runs it",
    "fer-jax web": "runs until it is ended; test_web.py runs it",
    "http.server": "runs until it is ended",
    "detector yunet": "downloads; the command has tests with a server of their own",
    "hf:user/name": "needs a hub; the commands have tests with a server of their own",
    "--device=cuda": "needs a GPU and another ONNX Runtime; test_runtime.py runs it with a fake one",
    "fer2013_mini_XCEPTION": "reads the authors' file; test_import_keras.py runs it with one of its own",
    "--peer=": "needs Keras or PyTorch; tests of benchmarks run it with a peer of its own",
    "benchmark aot": "compiles for accelerators, minutes; tests of benchmarks run it",
    "benchmark scaling": "starts many processes; tests of benchmarks run it",
    "benchmark startup": "starts many processes; tests of benchmarks run it",
    "benchmark serve": "needs YuNet's weights; tests of benchmarks run it",
    "--measure-peak": "minutes of measuring; tests of benchmarks run it",
    "docs.pictures.make": "needs Chromium",
    "launch/": "starts clusters; test_launch.py and test_slurm.py run them",
}
TINY = ["--config.epochs=1", "--config.batch_size=14", "--config.optim.warmup_epochs=0"]


def documented():
    """(page, command) of every line of a page that is a command, continued lines joined, once each."""
    found = {}
    for page in PAGES:
        text = (REPOSITORY / page).read_text(encoding="utf-8").replace("\\\n", " ")
        for line in text.splitlines():
            if match := COMMAND.match(line):
                found.setdefault(" ".join(shlex.split(match[1], comments=True)), (page, match[1]))
    return list(found.values())


def why_not_run(command):
    return next((reason for part, reason in NOT_RUN.items() if part in command), None)


def test_every_documented_command_is_known():
    found = documented()
    assert len(found) > 40
    for page, command in found:
        if why_not_run(command):
            continue
        program, *words = shlex.split(command, comments=True)
        assert program in ("fer-jax", "python"), f"{page}: {command}"
        if program == "fer-jax":
            assert words[0] in cli.COMMANDS, f"{page}: {command}"
        else:
            assert words[0] == "-m", f"{page}: {command}"


def test_commands_that_are_not_run_have_flags_that_exist():
    """Those of code blocks and those in the running text and in tables."""
    spans = {span for page in PAGES for span in SPAN.findall((REPOSITORY / page).read_text(encoding="utf-8"))}
    lines = sorted(spans | {line for _, line in documented() if why_not_run(line)})
    given = {}
    for line in lines:
        program, *words = shlex.split(line, comments=True)
        if program == "fer-jax" and words and words[0] in cli.COMMANDS:
            name, *words = words
        elif words[:1] == ["-m"] and words[1].partition(".")[0] in ("fer_jax", "tools"):
            name, *words = [command_of(words[1]), *words[2:]]
        else:
            continue
        if name == "benchmark":  # it has its own parser
            benchmarks.parse([word for word in words if not word.startswith("--config.")])
            continue
        flags = {word.removeprefix("--").partition("=")[0].partition(".")[0] for word in words if word.startswith("--")}
        given.setdefault(name, set()).update(flag.replace("_", "-") for flag in flags)
    assert len(given) > 10
    asked = {name: names for name, names in given.items() if names}
    for done in run_commands(*(f"completion flags {name}" for name in asked)):
        names, known = asked[done.args.split()[-1]], {flag.strip("-=") for flag in done.stdout.split()}
        assert done.returncode == 0 and names <= known | {"help"}, f"{done.args} has not {names - known}"


def command_of(module):
    """The command behind a door of a checkout, such as tools.prepare_data."""
    text = (REPOSITORY / f"{module.replace('.', '/')}.py").read_text(encoding="utf-8")
    found = re.search(r'cli\.main\("([\w-]+)"\)', text)
    return found[1] if found else module.rpartition(".")[2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A checkout's folder with everything that the commands name: data, photographs, a video, a recipe."""
    folder = tmp_path_factory.mktemp("documented")
    for name in ("benchmarks", "tools", "launch", "fer_jax", "docs", "peers"):
        (folder / name).symlink_to(REPOSITORY / name)
    shutil.copytree(REPOSITORY / "configs", folder / "configs")
    for changes in (folder / "configs" / "ablations").glob("*.json"):  # their own need more data
        changes.write_text('{"sgd": {"optim.name": "sgd"}}', encoding="utf-8")
    shutil.copy(REPOSITORY / "configs" / "quickstart.py", folder / "mine.py")
    datasets.write_fer2013(folder, votes=True)
    datasets.write_jaffe(folder / "jaffe", people=10)
    photograph(folder / "photo.jpg", 3)
    for name in ("angry", "happy", "sad"):
        for number in range(6):
            photograph(folder / "photographs" / name / f"{number}.jpg", labels.FER2013.index(name), number)
    listed = [f"photographs/{name}/{number}.jpg,{name}" for name in ("angry", "happy", "sad") for number in range(6)]
    (folder / "faces.csv").write_text("\n".join(["file,label", *listed, ""]), encoding="utf-8")
    photograph(folder / "holiday" / "a.jpg", 3)
    photograph(folder / "scans" / "b.png", 4)
    video = cv2.VideoWriter(str(folder / "talk.mp4"), cv2.VideoWriter.fourcc(*"mp4v"), 5, (240, 240))
    for _ in range(3):
        video.write(cv2.imread(str(folder / "photo.jpg")))
    video.release()
    return folder


def photograph(path, expression, seed=0):
    """One drawn head on a background."""
    head = synthetic.draw([expression], 180, 3, seed, zoom=0.75)[0]
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.pad(head, ((30, 30), (30, 30), (0, 0)), mode="edge"))


def small(words):
    """The command's words at small size, with the data that its page supposes to be the recipe's own."""
    name = words[0]
    trains = name in ("train", "fer_jax.main", "ablation", "tools.ablation")
    if trains and "--mode=summary" not in words:
        words = [*words, *TINY]
        if not any("config.data.path" in word or "quickstart" in word or "mine.py" in word for word in words):
            words.append("--config.data.path=" + ("jaffe" if any("jaffe" in word for word in words) else "fer2013.csv"))
        if any("quickstart" in word or "mine.py" in word for word in words):
            words.append("--config.data.args.examples=140")
        if any("jaffe" in word for word in words):
            words.append("--config.data.folds=2")
    # The name is that of the file, which is made small here; test_ablation.py finds files by name.
    words = [word.replace("--changes=optimizers", "--changes=configs/ablations/optimizers.json") for word in words]
    replaced = {"--seeds=5": "--seeds=2", "--seeds=3": "--seeds=1", "--images=1500": "--images=20"}
    replaced["--config.data.folds=5"] = "--config.data.folds=2"
    replaced |= {"--start=60": "--start=0.2", "--end=120": "--end=0.6"}  # of a video of three frames
    words = [replaced.get(word, word) for word in words]
    if name in ("benchmark", "tools.benchmark"):
        words = [re.sub(r"--(batch|steps)=\d+", r"--\1=2", word) for word in words]
        if words[1] == "profile":
            words += ["--batch=2", "--steps=2"]
        if words[1] in ("step", "input"):
            words += ["--seconds=0.05", "--runs=1"]
    return words


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_every_documented_command_runs_after_the_one_before_it(folder, user_environment):
    failed = []
    for page, line in documented():
        if why_not_run(line):
            continue
        program, *words = shlex.split(line, comments=True)
        module = ["-m", "fer_jax"] if program == "fer-jax" else ["-m", words.pop(0) and words.pop(0)]
        words = small(words if program == "fer-jax" else [module[1], *words])
        command = [sys.executable, *module, *(words if program == "fer-jax" else words[1:])]
        prepare(folder, line)
        started = time.monotonic()
        done = subprocess.run(
            command,
            cwd=folder,
            env=user_environment | {"PYTHONPATH": str(REPOSITORY)},
            capture_output=True,
            text=True,
            check=False,
            encoding="utf-8",
        )
        print(f"{time.monotonic() - started:6.1f} s, exit code {done.returncode}  {page}: {line}", flush=True)
        if done.returncode:
            failed.append(f"{page}: {line}\n{shlex.join(command)}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    assert not failed, "\n\n".join(failed)


def prepare(folder, line):
    """What the text around a command supposes: two runs to compare, and that a recipe begins in folders of its own."""
    if "drop_leaks" in line:  # measured/results.md has made runs of these names by other words
        for name in ("vgg_wide_folds", "xception_wide"):
            shutil.rmtree(folder / "runs" / name, ignore_errors=True)
    if "runs/a" in line:
        for name in ("a", "b"):
            shutil.copytree(folder / "runs" / "xception_distilled", folder / "runs" / name, dirs_exist_ok=True)
