"""Flags that several commands share, how all of them are parsed, and the text of --help."""

from __future__ import annotations

import inspect
import math
import re
import shutil
import textwrap
from types import ModuleType
from typing import TYPE_CHECKING

from absl import flags

from fer_jax import files, zoo
from fer_jax.bundle import formats
from fer_jax.errors import UserError
from fer_jax.faces import registry

if TYPE_CHECKING:
    from ml_collections import ConfigDict

flags.disclaim_key_flags()  # a flag belongs to the command that calls one of these functions

HELP_COLUMN = 26  # where the flags' descriptions begin
_SYNONYMS: dict[str, str] = {}  # other spellings of this command's flags
_outputs: list[tuple[flags.FlagHolder[str], bool]] = []


class _PathParser(flags.ArgumentParser):
    """A path with ~ replaced; "" stays empty."""

    syntactic_help = "a path"

    def parse(self, argument: str) -> str:
        """The path as text."""
        return str(files.expand(argument)) if argument else argument


class _BundleParser(_PathParser):
    """The folder of a bundle, or the name of a model that comes with the package."""

    def parse(self, argument: str) -> str:
        """The folder's path as text."""
        return str(zoo.resolve(argument)) if argument else argument


class ConfigFlag:
    """The flags --config and --config.KEY of a command."""

    def __init__(self, help_text: str, required: bool = False):
        self._file = flags.DEFINE_string("config", None, help_text, required=required)
        self._changes = flags.DEFINE_multi_string(
            "config-set", [], "KEY=VALUE, the same as --config.KEY=VALUE; docs/reference/config.md lists the keys"
        )

    @property
    def given(self) -> bool:
        """Return whether there is a config file."""
        return self._file.value is not None

    def read(self, source: str | None = None, path: str | None = None) -> ConfigDict:
        """The checked config, with what a command's own --source and --path say; see `fer_jax.config.read`.

        Without --config the source is recognized by what lies at --path, unless it is given.
        """
        from fer_jax import config

        given = {"data.source": source, "data.path": path}
        changes = [f"{key}={value}" for key, value in given.items() if value]
        recognized = ["data.source=auto"] if path and not self.given else []
        return config.read(self._file.value or "default", [*recognized, *self._changes.value, *changes])


def define_path(name: str, default: str | None, help: str, required: bool = False) -> flags.FlagHolder[str]:
    """Define a flag that takes a path, in which ~ is the home folder."""
    return flags.DEFINE(_PathParser(), name, default, help, required=required)


def define_paths(name: str, default: list[str] | None, help: str, required: bool = False) -> flags.FlagHolder:
    """Define a flag that takes a path and may be given several times."""
    return flags.DEFINE_multi(_PathParser(), flags.ArgumentSerializer(), name, default, help, required=required)


def define_output(
    name: str, default: str | None, help: str, *, folder: bool, required: bool = False
) -> flags.FlagHolder[str]:
    """Define a flag that takes the path of a file or folder to write; `check_outputs` tries it before the work."""
    flag = define_path(name, default, help, required)
    _outputs.append((flag, folder))
    return flag


def define_bundle(default: str | None = str(zoo.DEFAULT), note: str = "") -> flags.FlagHolder:
    """Define --bundle of the commands that run one; --model is the same flag.

    Args:
      default: its value where it is not given; None is none.
      note: what to say of it in the help, in place of the default.
    """
    _SYNONYMS["model"] = "bundle"
    note = note or "Default: the mini-Xception that comes with the package"
    help = f"a model by its name in fer-jax models, a bundle's folder, or hf:user/name of a hub. {note}"
    return flags.DEFINE(_BundleParser(), "bundle", default, help)


def define_tta() -> flags.FlagHolder[str | None]:
    """Define --tta of the commands that classify what a bundle is shown."""
    return flags.DEFINE_enum(
        "tta",
        "auto",
        ["auto", "flip", "none"],
        "test-time augmentation: flip averages the logits of each face and of its mirror image; auto does so for "
        "pictures alone",
    )


def define_device() -> flags.FlagHolder[str]:
    """Define --device of the commands that serve a bundle."""
    return flags.DEFINE_enum(
        "device",
        "auto",
        formats.DEVICES,
        "where ONNX Runtime runs the network; auto is what the installed ONNX Runtime was made for, else the CPU",
    )


def define_prior() -> flags.FlagHolder[str]:
    """Define --prior of the commands that classify."""
    return flags.DEFINE_string(
        "prior",
        "",
        "shares of the expressions to be expected in place of the training data's: flat, or of some of them, such as "
        "happy:0.3,neutral:0.4; the others divide the rest as in training",
    )


def define_detector(searching: bool = False) -> tuple[flags.FlagHolder[str | None], flags.FlagHolder[str]]:
    """Define --detector and --detector-model of the commands that look for faces.

    Args:
      searching: whether the detector "none", which takes each frame for a face, is left out.
    """
    names = [name for name, entry in registry.DETECTORS.items() if entry.searches or not searching]
    whole = "" if searching else "; none takes every picture for a face"
    name = flags.DEFINE_enum(
        "detector",
        None,
        names,
        f"what finds faces{whole}. Default: yunet, whose file (0.2 MB) is fetched once; haar where that fails or "
        "FER_JAX_OFFLINE=1 forbids it",
    )
    return name, define_path("detector-model", "", "YuNet's ONNX file")


def parse(argv: list[str]) -> list[str]:
    """Parse a command line into absl's flags; returns the arguments that are no flags, after the command's name.

    Raises:
      UserError: an unknown or missing flag, or a value that its flag does not take.
    """
    given = with_config_set(flags.FLAGS.read_flags_from_files(argv, force_gnu=False))
    try:
        rest = flags.FLAGS(_with_known_spellings(given))
    except flags.Error as error:
        if missing := re.findall(r"Flag (--[\w-]+) must have a value other than None", str(error)):
            raise UserError(f"{' and '.join(missing)} must be given; see --help") from None
        raise UserError(f"{str(error).removesuffix('.')}; see --help") from None
    for name in flags.FLAGS:
        value = flags.FLAGS[name].value
        if isinstance(value, float) and math.isnan(value):  # absl's bounds let it pass
            raise UserError(f"--{name}=nan: expected a number")
    return rest


def check_outputs() -> None:
    """Try to write where the output flags point, before the command's work; see `fer_jax.files.check_output`."""
    for flag, folder in _outputs:
        if flag.present and flag.value == "":  # such as of a variable of the shell that is not set
            raise UserError(f"--{flag.name} is empty: name a file or folder, or leave the flag out")
        if flag.value and flag.value != "-":  # standard output
            files.check_output(flag.value, folder=folder)


def with_config_set(argv: list[str]) -> list[str]:
    """The command line with --config-set=KEY=VALUE for --config.KEY=VALUE, --config.KEY VALUE and --noconfig.KEY."""
    changed, rest = [], list(argv)
    while rest:
        found = re.fullmatch(r"--?(no)?config\.([\w.]+)(?:=(.*))?", argument := rest.pop(0), re.DOTALL)
        if not found:
            changed.append(argument)
            continue
        no, key, value = found.groups()
        if no:
            value = "false"
        elif value is None:
            value = rest.pop(0) if rest and not rest[0].startswith("-") else "true"
        changed.append(f"--config-set={key}={value}")
    return changed


def _with_known_spellings(argv: list[str]) -> list[str]:
    """The arguments with every flag by the name that it is defined with: - and _ are one letter in a name."""
    known = {name.replace("_", "-"): name for name in flags.FLAGS} | _SYNONYMS
    renamed = list(argv)
    for i, argument in enumerate(argv[1:], 1):
        if argument == "--":
            break
        word, equals, value = argument.partition("=")
        name = word.lstrip("-").replace("_", "-")
        for no in ("", "no-", "no") if word.startswith("-") else ():
            if name.startswith(no) and (flag := known.get(name.removeprefix(no))):
                renamed[i] = f"--{no.rstrip('-')}{flag}{equals}{value}"
                break
    return renamed


def help_of(module: ModuleType) -> str:
    """The docstring of a command's module, then its flags."""
    head = inspect.cleandoc(module.__doc__ or "")
    found = sorted(flags.FLAGS.get_key_flags_for_module(module.__name__), key=lambda flag: flag.name)
    return "\n".join([head, "", "flags:", *map(_described, found), "", "--helpfull shows the flags of libraries too."])


def _described(flag: flags.Flag) -> str:
    """A flag's name, meaning and default, as wide as the terminal."""
    name = f"--[no]{flag.name}" if flag.boolean else f"--{flag.name}"
    shown = isinstance(flag.default, str | int | float) and flag.default not in ("", False)
    default = f" [{flag.default}]" if shown and flag.name != "bundle" else ""
    return textwrap.fill(
        " ".join(f"{flag.help}{default}".split()),
        min(shutil.get_terminal_size().columns, 120),
        initial_indent=f"  {name:{HELP_COLUMN - 3}} ",
        subsequent_indent=" " * HELP_COLUMN,
        break_on_hyphens=False,
    )
