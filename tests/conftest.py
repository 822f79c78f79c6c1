"""Fixtures shared by all tests."""

import gc
import importlib.metadata
import os
import pathlib
import signal
import subprocess
import sys

import filelock
import hypothesis
import pytest

JAX = tuple(map(int, importlib.metadata.version("jax").split(".")[:2]))
# Compiles a training step in half the time. JAX 0.12 has one emitter alone.
FAST_COMPILE = "--xla_cpu_use_fusion_emitters=false" if JAX < (0, 12) else ""
# Before JAX is imported: eight CPU devices, so that every test of the SPMD code is one on several devices.
os.environ["XLA_FLAGS"] = (os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8").strip()
if JAX >= (0, 12):
    # fer_jax.models.registry.WHOLE_BFLOAT16: what accelerators compute in bfloat16 is tried on the CPU.
    os.environ["XLA_FLAGS"] += " --xla_cpu_experimental_ynn_fusion_type="

# A shell starts what runs in its background with interrupts ignored, which every process of a test would inherit.
signal.signal(signal.SIGINT, signal.default_int_handler)

os.environ["FER_JAX_OFFLINE"] = "1"  # no test asks the network for the detector

hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None)
hypothesis.settings.load_profile("repeatable")

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent


def run_python(*words, **options):
    """`python` with these words, run to its end: a completed process with its output as text."""
    return subprocess.run(
        [sys.executable, *map(str, words)], capture_output=True, text=True, encoding="utf-8", **options
    )


FORKS = """
import os, shlex, sys
import fer_jax.cli
{before}
for line in sys.argv[1:]:
    if not os.fork():
        sys.argv[1:] = shlex.split(line)
        fer_jax.cli.main()
        sys.exit()
    print(end=f"\\f{{os.waitstatus_to_exitcode(os.wait()[1])}}\\f", flush=True)
    print(end="\\f", file=sys.stderr, flush=True)
"""


def run_commands(*lines, before="", **options):
    """`fer-jax` with the words of each line: completed processes.

    Each runs in a fork of one Python, which has done `before`: imports, which take most of the time of a mistake.
    """
    done = run_python("-c", FORKS.format(before=before), *lines, **options)
    assert done.returncode == 0, done.stderr
    outputs, errors = done.stdout.split("\f"), done.stderr.split("\f")
    of_each = zip(lines, map(int, outputs[1::2]), outputs[::2], errors, strict=False)
    return [subprocess.CompletedProcess(*one) for one in of_each]


@pytest.fixture(scope="module", autouse=True)
def room_for_programs():
    """Forget compiled programs in time: each holds memory maps; beyond vm.max_map_count (65,530) XLA crashes."""
    yield
    maps = pathlib.Path("/proc/self/maps")
    if "jax" in sys.modules and maps.exists() and maps.read_bytes().count(b"\n") > 20_000:
        sys.modules["jax"].clear_caches()
        gc.collect()


@pytest.fixture(scope="session")
def real_data() -> pathlib.Path:
    """The folder of YuNet's weights, the published Keras weights and a group video: none is part of the repository."""
    folder = pathlib.Path(os.environ.get("FER_JAX_REAL_DATA", REPOSITORY.parent / "shared"))
    if not (folder / "models").is_dir():
        pytest.skip(f"no real data at {folder}: set FER_JAX_REAL_DATA")
    return folder


@pytest.fixture(scope="session")
def shared(tmp_path_factory):
    """`shared(name, make)` is a folder that `make(folder)` filled once a session, by whichever worker was first."""
    base = tmp_path_factory.getbasetemp()
    root = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def folder(name, make):
        path = root / "shared" / name
        path.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(path.with_suffix(".lock")):
            if not path.with_suffix(".done").exists():
                make(path)
                path.with_suffix(".done").touch()
        return path

    return folder


@pytest.fixture(scope="session")
def fer2013_csv(tmp_path_factory) -> pathlib.Path:
    """A real fer2013.csv: the one that FER_JAX_FER2013 names, or one made once a session and process group."""
    if given := os.environ.get("FER_JAX_FER2013"):
        return pathlib.Path(given)
    folder = pathlib.Path(os.environ.get("FER_JAX_REAL_DATA", REPOSITORY.parent / "shared"))
    if not (folder / "fer2013").is_dir():
        pytest.skip("no FER2013: set FER_JAX_FER2013 to a fer2013.csv")
    return _made_csv(folder / "fer2013" / "make_csv.py", tmp_path_factory.getbasetemp().parent / "fer2013")


def _made_csv(script: pathlib.Path, folder: pathlib.Path) -> pathlib.Path:
    """The csv that a script writes into `folder`, which xdist's workers share: the first one makes it."""
    folder.mkdir(exist_ok=True)
    with filelock.FileLock(folder / "lock"):
        if not (folder / "done").exists():
            subprocess.run([sys.executable, script, folder], check=True, stdout=subprocess.DEVNULL)
            (folder / "done").touch()
    return folder / "fer2013.csv"
