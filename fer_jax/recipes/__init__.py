"""The recipes by name, wherever the package is installed.

A recipe imports the others from here: `from fer_jax.recipes import default, variants` works in the project's own
configs/ and in a file of yours.
"""

import ast
import functools
import importlib
import pathlib
import re
from types import ModuleType

from fer_jax import errors

# Where configs/ lies: in the package once it is installed, beside it in a checkout that is only on Python's path.
HOMES = ("fer_jax.configs", "configs")
NOT_RECIPES = ("default", "variants")


def __getattr__(name: str) -> ModuleType:
    """The module of a recipe, or of `default` and `variants`."""
    if not name.startswith("__") and (folder() / f"{name}.py").is_file():
        return importlib.import_module(f"{_home().__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def folder() -> pathlib.Path:
    """The folder with the recipes' files."""
    return pathlib.Path(next(iter(_home().__path__)))


def names() -> list[str]:
    """Names of the recipes, in alphabetical order."""
    return sorted(path.stem for path in folder().glob("*.py") if path.stem not in (*NOT_RECIPES, "__init__"))


def docstring(name: str) -> str:
    """Return what a recipe says of itself."""
    return ast.get_docstring(ast.parse((folder() / f"{name}.py").read_text(encoding="utf-8"))) or ""


def variants_of(name: str) -> list[str]:
    """The variants that a recipe's docstring shows, such as xception:distilled, in alphabetical order."""
    return [f"{name}:{one}" for one in sorted(set(re.findall(rf"--config={name}:([\w,=-]+)", docstring(name))))]


def ablation(path: pathlib.Path) -> pathlib.Path:
    """The file of an ablation's changes: the path, or where there is none, the file of this name in configs/."""
    kept = folder() / "ablations" / path.with_suffix(".json").name
    belongs_there = path.parent in (pathlib.Path(), pathlib.Path("configs/ablations"))
    return kept if belongs_there and not path.exists() and kept.is_file() else path


def resolve(spec: str) -> str:
    """Return what `--config` takes, FILE or FILE:VARIANT, for a recipe's name or a file, with or without a variant.

    A recipe's name is the packaged one: a file of that name in the working folder may be a stranger's, and would run.

    Raises:
      UserError: neither a file nor a recipe has this name.
    """
    name, colon, variant = spec.partition(":")
    file = pathlib.Path(name)
    if name in (*names(), "default"):
        return f"{folder() / name}.py{colon}{variant}"
    # a drive's letter, as in C:\recipes\mine.py, is no name
    if file.suffix == ".py" or file.is_file() or "/" in name or "\\" in spec or not name:
        return spec
    raise errors.UserError(
        f"--config={spec}: no recipe is called {name!r}{errors.did_you_mean(name, names())}: "
        f"expected a file or one of {', '.join(names())}"
    )


@functools.cache
def _home() -> ModuleType:
    for home in HOMES:
        try:
            return importlib.import_module(home)
        except ModuleNotFoundError as error:
            if error.name != home:
                raise
    raise ModuleNotFoundError(f"the recipes are not installed: neither {' nor '.join(HOMES)} can be imported")
