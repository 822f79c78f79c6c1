"""`fer-jax`: its subcommands, completion, and a user's mistake as one line and exit code 2, whatever raised it."""

import contextlib
import errno
import os
import re
import shutil
import subprocess
import sys
import tomllib

import pytest
from absl import flags

from fer_jax import cli, errors
from fer_jax.cli import completion, options
from fer_jax.errors import Preempted, UserError
from tests.conftest import REPOSITORY, run_commands, run_python

SCREEN = (30, 80)  # lines and columns


def test_usage_fits_a_screen_and_names_every_command():
    lines = cli.usage().splitlines()
    assert len(lines) <= SCREEN[0]
    assert max(map(len, lines)) <= SCREEN[1]
    for name in cli.COMMANDS:
        assert any(line.startswith(f"  {name} ") for line in lines), name


def without(*packages):
    """Code after which these packages are not installed."""
    return f"sys.modules.update(dict.fromkeys({packages}))"


def test_help_is_shown_without_the_packages_of_an_extra():
    lines = [f"{name} --help" for name in cli.COMMANDS]
    before = without("jax", "ml_collections", "tensorflow", "onnx")
    shown = run_commands(*lines, before=before, env=os.environ | {"COLUMNS": "80"})
    assert len(shown) == len(lines)
    for done in shown:
        assert done.returncode == 0, done.stderr
        flags = done.stdout.partition("flags:\n")[2]
        assert flags and max(map(len, flags.splitlines())) <= SCREEN[1], done.args


def test_a_command_that_needs_an_extra_says_which(tmp_path):
    lines = ["train --config=default", "prepare", f"evaluate --workdir={tmp_path}"]
    lines.append(f"ablation --config=default --changes=optimizers --workdir={tmp_path}")
    for done in run_commands(*lines, before=without("jax", "ml_collections")):
        assert done.returncode == 2
        assert done.stderr.startswith("error: this needs ") and done.stderr.count("\n") == 1
        assert done.stderr.endswith(", which is not installed: pip install 'fer_jax[train]'\n")


def test_the_doors_of_a_checkout_are_the_same_command():
    for module in ("fer_jax.main", "tools.prepare_data"):
        done = run_python("-m", module, "--nothing", cwd=REPOSITORY)
        assert (done.returncode, done.stderr.partition("'")[0]) == (2, "error: Unknown command line flag ")


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_completion_scripts_are_valid_and_complete_commands(shell):
    script = completion.script(shell).removeprefix("autoload -U +X bashcompinit && bashcompinit\n")
    words = 'COMP_WORDS=(fer-jax we); COMP_CWORD=1; _fer_jax; echo "${COMPREPLY[@]}"'
    done = subprocess.check_output(["bash", "-c", f"{script}\n{words}"], encoding="utf-8")
    assert done.split() == ["webcam", "web"]


@pytest.mark.skipif(not shutil.which("fish"), reason="fish is not installed")
def test_fish_completes_commands_and_flags(tmp_path):
    (tmp_path / "fer-jax").write_text(f'#!/bin/sh\nexec {sys.executable} -m fer_jax "$@"\n')
    (tmp_path / "fer-jax").chmod(0o755)
    (tmp_path / "script.fish").write_text(completion.script("fish"))
    lines = {"fer-jax we": ["web", "webcam"], "fer-jax webcam --rec": ["--reconnect=", "--record="]}
    asked = "; ".join(f"complete -C '{line}'; echo" for line in lines)
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "HOME": str(tmp_path)}
    command = ["fish", "--no-config", "-c", f"source {tmp_path}/script.fish; {asked}"]
    done = subprocess.check_output(command, env=environment, encoding="utf-8")
    assert [block.split() for block in done.split("\n\n")[:2]] == list(lines.values())


def test_flags_of_a_command_are_listed_for_completion():
    listed = run_python("-m", "fer_jax", "completion", "flags", "webcam", check=True).stdout.split()
    assert {"--source=", "--headless", "--bundle="} <= set(listed)
    assert not any(flag.startswith("--help") for flag in listed)
    with pytest.raises(UserError, match="expected one of bash, zsh, fish"):
        completion.script("cmd")


TOOL = """
import pathlib, sys
from fer_jax import cli
from fer_jax.cli import options
PATH = options.define_path("path", None, "")
OUT = options.define_output("out", None, "", folder=False)

def main(argv):
    print("working", flush=True)
    {work}

cli.execute(sys.modules[__name__], sys.argv)
"""


def run(tmp_path, work, *arguments, **options):
    """A command of its own process that does `work`."""
    script = tmp_path / "tool.py"
    script.write_text(TOOL.format(work=work), encoding="utf-8")
    return run_python(script, *arguments, cwd=tmp_path, **options)


def test_a_wrong_word_is_one_line():
    said = {
        "webcam --reconnect=nan": "--reconnect=nan: expected a number",
        "export": "--out and --workdir must be given; see --help",
        "webcam --heedless": "Unknown command line flag 'heedless'",
        "webcam photo.jpg": "unexpected argument 'photo.jpg': every option is a flag, see --help",
        "evalaute": "fer-jax has no command 'evalaute' (did you mean 'evaluate'?): fer-jax --help lists them",
    }
    for done, line in zip(run_commands(*said), said.values(), strict=True):
        assert done.returncode == 2
        assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
        assert not set(line.split()) - set(done.stderr.split()) - {"'heedless'"}


@pytest.mark.parametrize("given", ["--max_frames=3", "--max-frames=3", "-max-frames=3"])
def test_hyphens_and_underscores_of_a_flag_are_one(given):
    cli.module_of("webcam")
    assert options._with_known_spellings(["webcam", given]) == ["webcam", "--max-frames=3"]
    words = options._with_known_spellings(["webcam", "--no-headless", "--", given])
    assert words == ["webcam", "--noheadless", "--", given]


@pytest.mark.parametrize(
    "reason",
    [
        "libGL.so.1: cannot open shared object file: No such file or directory",
        "DLL load failed while importing cv2: The specified module could not be found.",
        "dlopen(cv2.abi3.so, 0x0002): Library not loaded: libavcodec.dylib\n  Referenced from: cv2",
    ],
)
def test_a_missing_library_of_the_system(tmp_path, reason):
    """As on servers without a screen: a cv2 that does not load takes the place of the real one."""
    (tmp_path / "cv2.py").write_text(f"raise ImportError({reason!r}, name='cv2')", encoding="utf-8")
    lines = ["webcam", f"extract-faces --source=. --out={tmp_path}/out", "web"]
    found = run_commands(*lines, before=f"sys.path.insert(0, {str(tmp_path)!r})")
    assert len(found) == 3
    for done in found:
        assert done.returncode == 2
        assert done.stderr.startswith("error: OpenCV cannot be loaded (")
        assert "apt-get install libgl1 libglib2.0-0" in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_the_extras_are_those_of_the_distribution():
    """Every package that an extra adds is named, so that its absence says how to install it."""
    extras = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    imported = {
        "ml-collections": "ml_collections",
        "orbax-checkpoint": "orbax",
        "scikit-learn": "sklearn",
        "tensorflow-cpu": "tensorflow",
        "tensorflow-datasets": "tensorflow_datasets",
        "jax[k8s]": "kubernetes",
    }
    for extra, names in errors.EXTRAS.items():
        words = (re.split(r"[><=;~ ]", line)[0] for line in extras["optional-dependencies"][extra])
        wanted = {imported.get(word, word) for word in words} - {"fer_jax[train]", "importlib_resources"}
        assert wanted <= set(names), extra
        error = ModuleNotFoundError("", name=f"{names[0]}.x")
        line = f"this needs {names[0]}, which is not installed: pip install 'fer_jax[{extra}]'"
        assert errors.missing_extra(error) == line


GIBIBYTES = MemoryError("Unable to allocate 9 GiB for an array")
RESOURCES = RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes.")


@pytest.mark.parametrize("module", ["fer_jax", "fer_jax.main", "tools.webcam"])
def test_a_python_that_is_too_old_says_so_before_it_misses_a_package(module):
    old = "sys.version_info = (3, 10, 13); sys.version = '3.10.13 (main)'; sys.modules['absl'] = None"
    code = f"import sys; {old}; import {module}"
    done = run_python("-c", code)
    assert done.returncode == 2
    assert done.stderr.startswith("error: fer_jax needs Python 3.11 or newer, this is 3.10.13: make a virtual env")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (UserError("no such thing: take another"), 2, "error: no such thing: take another"),
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "a/b"), 2, "error: a/b: No such file"),
        (PermissionError(errno.EACCES, "Permission denied", "a"), 2, "error: a: Permission denied: give this account"),
        (IsADirectoryError(errno.EISDIR, "Is a directory", b"a"), 2, "error: a: Is a directory"),
        (OSError(errno.ENOSPC, "No space left on device"), 2, "error: No space left on device: free space"),
        (OSError(errno.ELOOP, "Too many levels of symbolic links", "a"), 2, "remove the link"),
        (OSError(errno.ENAMETOOLONG, "File name too long", "a" * 9000), 2, "give a shorter path"),
        (GIBIBYTES, 2, "(Unable to allocate 9 GiB for an array): lower config"),
        (RESOURCES, 2, "(Out of memory allocating 9 bytes):"),
        (ImportError("cannot import name 'a' from 'b'", name="b"), None, ""),
        (RuntimeError("RESOURCE_EXHAUSTED: too many requests"), None, ""),
        (ImportError("cv2.so: failed to map segment from shared object", name="cv2"), 2, "out of memory of this"),
        (Preempted("stopped"), 75, ""),
        (KeyboardInterrupt(), 130, ""),
        (ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"), None, ""),
        (ValueError("a defect"), None, ""),
    ],
)
def test_exit_codes(error, code, words, capsys):
    assert cli.exit_code(error) == code
    line = capsys.readouterr().err
    assert words in line and len(line) <= errors.MAX_LINE + 1


def test_a_platform_that_jax_has_no_plugin_for(monkeypatch, capsys):
    unknown = RuntimeError("Unable to initialize backend 'x': Backend 'x' is not in the list of known backends: []")
    with pytest.raises(AssertionError) as of_jax:
        exec(compile("assert False", "site-packages/jax/_src/xla_bridge.py", "exec"))
    assert cli.exit_code(of_jax.value) is None, "no platform was asked for"
    monkeypatch.setenv("JAX_PLATFORMS", "cuda")
    for error in (unknown, of_jax.value):
        assert cli.exit_code(error) == 2
        assert "JAX has no plugin for JAX_PLATFORMS=cuda: unset it, or install one" in capsys.readouterr().err
    monkeypatch.setenv("JAX_PLATFORMS", "CPU")
    assert cli.exit_code(unknown) == 2
    assert capsys.readouterr().err.endswith("JAX_PLATFORMS=CPU: write cpu\n")
    for error in (AssertionError(), RuntimeError("Unable to initialize backend 'tpu': in use by another process")):
        assert cli.exit_code(error) is None


def test_a_variable_that_jax_does_not_take_is_one_line():
    code = "from fer_jax import cli\nwith cli.one_line_errors():\n    import jax"
    done = run_python("-c", code, env=os.environ | {"JAX_ENABLE_X64": "perhaps"})
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "JAX_ENABLE_X64" in done.stderr and done.stderr.endswith("): correct or unset it\n")


def test_a_line_is_short_and_shows_nothing_binary():
    line = errors.one_line("error: " + "\0\x1b[31m\n" + "x" * 2000 + "\udcff: give another")
    assert len(line) <= errors.MAX_LINE
    assert line.startswith("error: \\x00\\x1b[31m xxx") and line.endswith("\\udcff: give another")


def test_the_home_folder_is_expanded_in_a_flag(tmp_path):
    home = os.environ | {"HOME": str(tmp_path)}
    done = run(tmp_path, "print(PATH.value, OUT.value)", "--path=~/a", "--out=~/b", env=home)
    assert done.stdout.splitlines()[-1] == f"{tmp_path}/a {tmp_path}/b"


def test_an_output_is_tried_before_the_work(tmp_path):
    done = run(tmp_path, "pass", "--out=.")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: . is a folder, expected a file to write to: give another path\n"


def test_an_interrupt_within_an_import_that_would_swallow_it_ends_the_command(tmp_path):
    swallows = "import os\ntry:\n    os.kill(os.getpid(), 2)\nexcept KeyboardInterrupt:\n    pass\n"
    (tmp_path / "swallows.py").write_text(swallows, encoding="utf-8")
    before = f"sys.path.append({str(tmp_path)!r})\nfer_jax.cli.module_of = lambda name: __import__('swallows')"
    [done] = run_commands("models", before=before)
    assert (done.returncode, done.stdout, done.stderr) == (cli.EXIT_INTERRUPTED, "", "")


def test_a_closed_pipe_ends_quietly(tmp_path):
    script = tmp_path / "tool.py"
    script.write_text(TOOL.format(work="[print('x' * 1000) for _ in range(1000)]"), encoding="utf-8")
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == cli.EXIT_BROKEN_PIPE


def test_a_path_that_is_not_utf8_is_one_line(tmp_path):
    done = run(tmp_path, "pass", "--path=caf\udce9")
    assert (done.returncode, done.stdout) == (2, "")
    assert "the name is not UTF-8" in done.stderr and done.stderr.count("\n") == 1


def test_an_encoding_that_lacks_a_letter_shows_an_escape(tmp_path):
    done = run(tmp_path, r"print('\u00b1')", env=os.environ | {"PYTHONIOENCODING": "ascii:strict"})
    assert done.stdout.splitlines()[-1] == r"\xb1"


def test_an_empty_path_stays_empty():
    with contextlib.suppress(flags.DuplicateFlagError):
        options.define_path("test_cli_path", "", "for this test")
    assert flags.FLAGS["test_cli_path"].parser.parse("") == ""


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (["--config.epochs=3"], ["--config-set=epochs=3"]),
        (["-config.epochs=3"], ["--config-set=epochs=3"]),
        (["--config.epochs", "3"], ["--config-set=epochs=3"]),
        (["--config.data.path=a=b c\nd"], ["--config-set=data.path=a=b c\nd"]),
        (["--config.eval.tta="], ["--config-set=eval.tta="]),
        (["--config.data.cache", "--workdir=w"], ["--config-set=data.cache=true", "--workdir=w"]),
        (["--config.data.cache"], ["--config-set=data.cache=true"]),
        (["--noconfig.data.cache"], ["--config-set=data.cache=false"]),
        (["--config.epochs=3", "--config=xception"], ["--config-set=epochs=3", "--config=xception"]),
        (["step", "--config", "xception", "--configure.x=1"], ["step", "--config", "xception", "--configure.x=1"]),
    ],
)
def test_values_of_the_config_are_gathered_in_one_flag(given, found):
    assert options.with_config_set(["command", *given]) == ["command", *found]
