"""From the words of a command line to the module that does the work."""

from __future__ import annotations

import importlib.util
import runpy
import sys

from fer_jax import cli, errors
from fer_jax.commands import COMMANDS, EXAMPLES, GROUPS


def main() -> None:
    """Run the subcommand that the command line names, in this process: one process runs one tool."""
    with cli.quiet_pipe():
        _main()


def _main() -> None:
    words = sys.argv[1:]
    if not words or words[0] in ("-h", "-help", "--help", "help"):
        print(usage())
        return
    if words[0] in ("--version", "version"):
        import importlib.metadata

        print(importlib.metadata.version("fer_jax"))
        return
    name = words[0]
    if name not in COMMANDS:
        fail(f"fer-jax has no command {name!r}{errors.did_you_mean(name, COMMANDS)}: fer-jax --help lists those it has")
    del sys.argv[1]
    try:
        runpy.run_module(module_of(name), run_name="__main__", alter_sys=True)
    except ModuleNotFoundError as error:
        if remedy := cli.missing_extra(error):
            fail(remedy)
        raise
    except ImportError as error:
        if remedy := cli.missing_library(error):
            fail(remedy)
        raise


def module_of(name: str) -> str:
    """The dotted name of a subcommand's module here: the tools are in the package once it is installed."""
    module = COMMANDS[name].module
    installed = f"fer_jax.{module}"
    return installed if module.startswith("tools.") and _exists(installed) else module


def usage() -> str:
    """What `fer-jax --help` prints."""
    width = max(map(len, COMMANDS))
    lines = ["Facial expressions: train recognisers, run them on pictures, videos, cameras."]
    lines += [f"  {example}" for example in EXAMPLES]
    lines.append("")
    for title, commands in GROUPS.items():
        lines += [f"{title}:", *(f"  {name:{width}}  {command.summary}" for name, command in commands.items())]
    return "\n".join([*lines, "fer-jax COMMAND --help tells a command's flags."])


def fail(message: str) -> None:
    """Print one line and exit as for every mistake of a user."""
    print(f"error: {message}", file=sys.stderr)
    sys.exit(errors.EXIT_USER_ERROR)


def _exists(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False
