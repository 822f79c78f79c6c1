"""`fer-jax`: its subcommands, what it says of words it does not know, and completion."""

import importlib.util
import os
import shutil
import subprocess
import sys

import pytest

from fer_jax import commands
from fer_jax.commands import completion, dispatch
from fer_jax.errors import UserError

SCREEN = (30, 80)  # lines and columns


def test_usage_fits_a_screen_and_names_every_command():
    lines = dispatch.usage().splitlines()
    assert len(lines) <= SCREEN[0]
    assert max(map(len, lines)) <= SCREEN[1]
    for name in commands.COMMANDS:
        assert any(line.startswith(f"  {name} ") for line in lines), name


@pytest.mark.parametrize("name", commands.COMMANDS)
def test_every_command_has_its_module(name):
    assert importlib.util.find_spec(dispatch.module_of(name))


def test_a_mistyped_command_names_its_neighbour(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["fer-jax", "evalaute"])
    with pytest.raises(SystemExit) as ended:
        dispatch.main()
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert error == (
        "error: fer-jax has no command 'evalaute' (did you mean 'evaluate'?): fer-jax --help lists those it has\n"
    )


def test_a_command_that_needs_an_extra_says_which(monkeypatch, capsys):
    def missing(*_, **__):
        raise ModuleNotFoundError("No module named 'jax'", name="jax.numpy")

    monkeypatch.setattr(dispatch.runpy, "run_module", missing)
    monkeypatch.setattr(sys, "argv", ["fer-jax", "train"])
    with pytest.raises(SystemExit) as ended:
        dispatch.main()
    assert ended.value.code == 2
    assert capsys.readouterr().err == "error: this needs jax, which is not installed: pip install 'fer_jax[train]'\n"


def test_a_module_that_no_extra_brings_keeps_its_traceback(monkeypatch):
    def missing(*_, **__):
        raise ModuleNotFoundError("No module named 'fer_jax.gone'", name="fer_jax.gone")

    monkeypatch.setattr(dispatch.runpy, "run_module", missing)
    monkeypatch.setattr(sys, "argv", ["fer-jax", "train"])
    with pytest.raises(ModuleNotFoundError):
        dispatch.main()


@pytest.mark.parametrize("name", commands.COMMANDS)
def test_help_fits_a_screen_of_80_columns(name):
    shown = subprocess.run(
        [sys.executable, "-m", commands.COMMANDS[name].module, "--help"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "COLUMNS": "80"},
    ).stdout
    assert sum(max(-(-len(line) // 80), 1) for line in shown.splitlines()) <= SCREEN[0]
    assert "flags:" in shown


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_completion_scripts_are_valid_and_complete_commands(shell):
    script = completion.script(shell).removeprefix("autoload -U +X bashcompinit && bashcompinit\n")
    words = 'COMP_WORDS=(fer-jax we); COMP_CWORD=1; _fer_jax; echo "${COMPREPLY[@]}"'
    done = subprocess.run(
        ["bash", "-c", f"{script}\n{words}"], capture_output=True, text=True, check=True, encoding="utf-8"
    )
    assert done.stdout.split() == ["webcam", "web"]


@pytest.mark.skipif(not shutil.which("fish"), reason="fish is not installed")
def test_fish_completes_commands_and_flags(tmp_path):
    (tmp_path / "fer-jax").write_text(f'#!/bin/sh\nexec {sys.executable} -m fer_jax.commands "$@"\n')
    (tmp_path / "fer-jax").chmod(0o755)
    (tmp_path / "script.fish").write_text(completion.script("fish"))
    lines = {"fer-jax we": ["web", "webcam"], "fer-jax webcam --rec": ["--reconnect=", "--record="]}
    asked = "; ".join(f"complete -C '{line}'; echo" for line in lines)
    done = subprocess.run(
        ["fish", "--no-config", "-c", f"source {tmp_path}/script.fish; {asked}"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "HOME": str(tmp_path)},
    )
    assert [block.split() for block in done.stdout.split("\n\n")[:2]] == list(lines.values())


def test_completion_for_an_unknown_shell_is_refused():
    with pytest.raises(UserError, match="expected one of bash, zsh, fish"):
        completion.script("cmd")


def test_flags_of_a_command_are_listed_for_completion():
    listed = subprocess.run(
        [sys.executable, "-m", "fer_jax.commands", "completion", "flags", "webcam"],
        capture_output=True,
        text=True,
        check=True,
        encoding="utf-8",
    ).stdout.split()
    assert {"--source=", "--headless", "--bundle="} <= set(listed)
    assert not any(flag.startswith("--help") for flag in listed)
