"""`fer-jax`: its subcommands, what it says of words it does not know, and completion."""

import os
import shutil
import subprocess
import sys

import pytest

from fer_jax import cli
from fer_jax.cli import completion
from fer_jax.errors import UserError
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
