"""Real runs in processes of their own: on free ports, with their logs kept when a test fails, and ended after it."""

import contextlib
import hashlib
import importlib.metadata
import json
import os
import pathlib
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import tomllib

import numpy as np
import pytest
from packaging.requirements import Requirement

from tests import warm
from tests.conftest import FAST_COMPILE, run_python

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
TINY = (
    "--config=configs/default.py",
    "--config.data.source=synthetic",
    "--config.data.args.examples=140",
    "--config.data.pipeline=device",
    "--config.input.size=16",
    "--config.model.args={'block_features': (8,)}",
    "--config.batch_size=8",
    "--config.epochs=6",
    "--config.parallel.steps_per_dispatch=2",
)
SLOWLY = "--config.checkpoint.every_minutes=0"  # a checkpoint a chunk: time to be interrupted, and the same result
NOT_SOURCE = (".git", ".venv*", "build", "dist", "runs", "*.egg-info", "__pycache__", ".*_cache", ".hypothesis")
NOT_SOURCE += ("shared",)
PATIENCE = 240  # seconds before a wait counts as failed: a loaded machine is no mistake


class Process:
    """A started command with its output in a file: `python -m` in a fork of a warm Python."""

    def __init__(self, command, log, env):
        self.log = log
        if command[:2] == [sys.executable, "-m"]:
            self._started = warm.start(command[2], command[3:], env, REPOSITORY, log, log)
            log.touch()
        else:
            with log.open("w", encoding="utf-8") as file:
                self._started = subprocess.Popen(
                    command, cwd=REPOSITORY, env=env, stdout=file, stderr=subprocess.STDOUT, start_new_session=True
                )
        self.pid = self._started.pid

    @property
    def output(self):
        return self.log.read_text(errors="replace", encoding="utf-8")

    def until(self, condition):
        """Wait for a text in the output, or for a function to hold; fails when the process ends before."""
        holds = condition if callable(condition) else lambda: condition in self.output
        deadline = time.monotonic() + PATIENCE
        while not holds():
            ended = self.poll() is not None
            assert not ended or holds(), f"ended with {self.poll()} before {condition}:\n{self.output}"
            assert time.monotonic() < deadline, f"no {condition} in {PATIENCE} s:\n{self.output}"
            time.sleep(0.005)  # between two looks; what is waited for is the condition
        return self

    def send(self, number):
        if self.poll() is None:
            os.kill(self.pid, number)
        return self

    def poll(self):
        """Its exit code, negative for a signal; None while it runs."""
        return self._started.poll() if isinstance(self._started, subprocess.Popen) else self._started.exitcode

    def wait(self):
        """Its exit code, negative for a signal."""
        if isinstance(self._started, subprocess.Popen):
            return self._started.wait(PATIENCE)
        self._started.join(PATIENCE)
        assert self._started.exitcode is not None, f"no end in {PATIENCE} s:\n{self.output}"
        return self._started.exitcode

    def end(self):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._started.kill()
        self.wait()


class Runs:
    """Starts commands for one test."""

    def __init__(self, folder, cache, environment):
        self.folder, self.cache, self.environment, self._started = folder, cache, environment, []

    def command(self, *command, devices=1, **env):
        """Start any command; `devices` is the number of CPU devices JAX shows it."""
        clean = self.environment | {"JAX_NUM_CPU_DEVICES": str(devices), "PYTHONUNBUFFERED": "1"}
        log = self.folder / f"log{len(self._started)}.txt"
        process = Process([str(part) for part in command], log, clean | env)
        self._started.append(process)
        return process

    def train(self, workdir, *flags, devices=1, **env):
        """Start a tiny training run."""
        return self.command(sys.executable, "-m", "fer_jax.main", *self.flags(workdir), *flags, devices=devices, **env)

    def flags(self, workdir):
        return (*TINY, f"--workdir={workdir}", f"--config.data.cache_dir={self.cache / 'data'}")

    def cluster(self, workdir, *flags, processes=2, devices=2):
        """Start a run of several processes."""
        flags = (f"--coordinator=127.0.0.1:{free_port()}", f"--num_processes={processes}", *flags)
        return [self.train(workdir, f"--process_id={i}", *flags, devices=devices) for i in range(processes)]

    def end(self):
        for process in self._started:
            process.end()

    def logs(self):
        return "\n".join(f"---- {p.log} (exit code {p.poll()})\n{p.output}" for p in self._started)


def link_dependencies(site):
    """Link the package's dependencies without extras into a folder, with what they need, and nothing else."""
    wanted = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    seen = set()
    while wanted:
        requirement = Requirement(wanted.pop())
        needed = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        if needed and requirement.name.lower() not in seen:
            seen.add(requirement.name.lower())
            distribution = importlib.metadata.distribution(requirement.name)
            wanted.extend(distribution.requires or ())
            for top in {file.parts[0] for file in distribution.files if file.parts[0] not in ("..", "__pycache__")}:
                if not (site / top).exists():
                    (site / top).symlink_to(distribution.locate_file(top))


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def rows(workdir):
    """What a run wrote down, without the times."""
    lines = (workdir / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [
        {k: v for k, v in json.loads(line).items() if not k.startswith(("seconds", "train_share", "input_wait_share"))}
        for line in lines
    ]


def checkpoints(workdir):
    """{step: sha256 of all arrays of the state}, without what the checkpoint's files are called."""
    import orbax.checkpoint as ocp

    sums = {}
    with ocp.Checkpointer(ocp.StandardCheckpointHandler()) as checkpointer:
        for folder in sorted((workdir / "checkpoints").glob("[0-9]*")):
            import jax

            leaves = jax.tree_util.tree_leaves_with_path(checkpointer.restore(folder.absolute() / "arrays"))
            digest = hashlib.sha256()
            for path, leaf in leaves:
                digest.update(str(path).encode() + np.asarray(leaf).tobytes())
            sums[int(folder.name)] = digest.hexdigest()
    return sums


def same_end(a, b):
    """Whether two runs ended with the same weights, rows and predictions, bit for bit."""
    last = max(checkpoints(a))
    assert max(checkpoints(b)) == last
    assert checkpoints(a)[last] == checkpoints(b)[last], "the last weights differ"
    assert rows(a) == rows(b)
    for name in ("PublicTest", "PrivateTest"):
        first, second = (np.load(run / f"predictions/{name}.npz")["logits"] for run in (a, b))
        assert np.array_equal(first, second)
    return True


@pytest.fixture(scope="session")
def user_environment(shared):
    """Environment of a user whose caches are new; compiled programs are shared by all tests of the session.

    Programs are compiled with few optimizations, for they run a few steps: a quarter of a small run's time.
    """
    cache = shared("user_cache", lambda folder: None)
    plain = {k: v for k, v in os.environ.items() if not k.startswith(("JAX_", "XLA_"))}
    plain |= {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.05", "XLA_FLAGS": FAST_COMPILE}
    return plain | {"XDG_CACHE_HOME": str(cache), "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}


@pytest.fixture(scope="session")
def command(user_environment, tmp_path_factory):
    """`command("fer_jax.main", "--config=...")` runs `python -m` to its end and returns the completed process.

    It is a fork of a warm Python, or with `cold` a Python of its own; `env` comes on top of the user's environment.
    """

    def run(module, *args, check=True, env=None, cold=False):
        words, env = list(map(str, args)), user_environment | (env or {})
        if cold:
            done = run_python("-m", module, *words, cwd=REPOSITORY, env=env)
        else:
            outputs = [tmp_path_factory.mktemp("command") / name for name in ("out", "errors")]
            process = warm.start(module, words, env, REPOSITORY, *outputs)
            process.join(560)
            if process.exitcode is None:
                process.kill()
                pytest.fail(f"no end in 560 s: {module} {words}")
            texts = [path.read_text(encoding="utf-8") for path in outputs]
            done = subprocess.CompletedProcess([module, *words], process.exitcode, *texts)
        assert not check or done.returncode == 0, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    return run


@pytest.fixture(scope="session")
def mistakes(command):
    """`mistakes("train --config=x", ...)` runs commands that go wrong: the one line that each says with exit code 2."""

    def run(*lines, **environment):
        said = []
        for line in lines:
            done = command("fer_jax", *shlex.split(line), check=False, env=environment)
            assert done.returncode == 2, done
            assert "Traceback" not in done.stderr
            errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
            assert len(errors) == 1, done.stderr
            assert done.stderr.splitlines()[-1] == errors[0]
            said += errors
        return said

    return run


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(item):
    report = yield
    if report.when == "call":
        item.failed_in_call = report.failed
    return report


@pytest.fixture(scope="session")
def run_cache(shared):
    """Data shared by all runs of a session."""
    return shared("cache", lambda folder: None)


@pytest.fixture
def runs(request, tmp_path, run_cache, user_environment):
    made = Runs(tmp_path, run_cache, user_environment)
    yield made
    made.end()
    if getattr(request.node, "failed_in_call", False):
        print(made.logs())
    else:
        shutil.rmtree(tmp_path, ignore_errors=True)


@pytest.fixture(scope="session")
def whole(shared, run_cache, user_environment):
    """The workdir of a tiny run that nobody interrupted."""

    def make(folder):
        made = Runs(folder, run_cache, user_environment)
        process = made.train(folder / "run")
        try:
            assert process.wait() == 0, process.output
        finally:
            made.end()

    return shared("whole", make) / "run"


@pytest.fixture(scope="session")
def source(tmp_path_factory):
    """A copy of the source, without what is built or kept beside it."""
    folder = tmp_path_factory.mktemp("source") / "fer_jax"
    return shutil.copytree(REPOSITORY, folder, ignore=shutil.ignore_patterns(*NOT_SOURCE))


@pytest.fixture(scope="session")
def built(source, shared):
    """The folder with the wheel and the sdist that were built of the source."""

    def make(folder):
        # sdist first, and the wheel of what is in it: what is missing in the sdist is missing in the wheel
        done = run_python("-m", "build", "--no-isolation", f"--outdir={folder}", source)
        assert done.returncode == 0, done.stdout + done.stderr

    return shared("built", make)


@pytest.fixture(scope="session")
def wheel(built):
    (path,) = built.glob("*.whl")
    return path
