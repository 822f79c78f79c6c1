"""A config from a file and the command line: --config=FILE[:variant] --config.KEY=VALUE.

`fer_jax.cli.options` collects every --config.KEY=VALUE, which is read here.
"""

import ast
import inspect
import pathlib
import re
import traceback
import types
from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

from ml_collections import ConfigDict

from fer_jax import files, recipes
from fer_jax.config import rules
from fer_jax.config.table import ARGUMENTS, GROUPS, TABLE, arguments_of_data, arguments_of_model, get, unknown_key
from fer_jax.errors import UserError

DECISIVE = ("data.path", "data.source", "model.pretrained")  # other values follow from these
TRUE, FALSE = ("true", "1", "yes", "on"), ("false", "0", "no", "off")
MAX_SHOWN = 200  # characters of somebody else's error in one line


def read(argument: str, changes: Iterable[str] = ()) -> ConfigDict:
    """The config of a file with changes, checked by `fer_jax.config.rules.validate`.

    Args:
      argument: a recipe's name or the path of a file, with ":variant" where its `get_config` takes one; ~ is expanded.
        configs/NAME.py is the recipe wherever there is no such file.
      changes: "KEY=VALUE" each, as on the command line without "--config.". The last value of a key counts, and those
        of a tuple add up. A tuple is written a,b or as Python writes it.

    Raises:
      UserError: a file that cannot be read, is no config or raises; an unknown key; a value that is refused.
    """
    name, _, variant = recipes.resolve(argument).partition(":")
    path = files.expand(name)
    is_recipe = path.parent == pathlib.Path("configs") and path.stem in (*recipes.names(), "default")
    config = _of_file(recipes.folder() / path.name if is_recipe and not path.exists() else path, variant)
    rules.check_keys(config)
    given: dict[str, list[str]] = {}
    for change in changes:
        key, _, text = change.partition("=")
        given.setdefault(key, []).append(text)
    for key in sorted(set(given) & set(DECISIVE)):
        _set(config, key, given.pop(key))
    _settle(config)
    # Arguments come last: which there are depends on the source and the network.
    for key in sorted(given, key=lambda key: key.startswith(ARGUMENTS)):
        _set(config, key, given[key])
    rules.validate(config)
    return config


def changed(config: ConfigDict, values: Mapping[str, Any]) -> ConfigDict:
    """A checked copy with other values at dotted keys, a list for a tuple; UserError for a wrong key or value."""
    config = config.copy_and_resolve_references()
    first = [key for key in values if key in DECISIVE]
    for keys in first, sorted(set(values) - set(first), key=lambda key: key.startswith(ARGUMENTS)):
        for key in keys:
            value = values[key]
            _put(config, key, tuple(value) if isinstance(value, list) else value, field_of(config, key))
        if keys is first and first:
            _settle(config)
    rules.validate(config)
    return config


def _settle(config: ConfigDict) -> None:
    """Set what follows from data and weights: the source by the layout of the data, the network by its bundle."""
    if config.data.source == "auto" and config.data.path:
        from fer_jax.data import sources

        sources.settle(config.data)
    if config.model.pretrained:
        from fer_jax.models import pretrained

        pretrained.adopt(config)


def field_of(config: ConfigDict, key: str) -> Any:
    """The `Field` of a dotted key, also of an argument of the config's source, steps or network.

    UserError for a key there is not, and for a group.
    """
    group = next((group for group in ARGUMENTS if key.startswith(f"{group}.")), None)
    if group is None:
        if key not in TABLE:
            raise UserError(unknown_key(key))
        return TABLE[key]
    known = arguments_of_data(config.data) if group == "data.args" else arguments_of_model(config.model.name)
    name = key.removeprefix(f"{group}.")
    if name not in known:
        owner = f"the source {config.data.source}" if group == "data.args" else config.model.name
        raise UserError(f"config.{group} has no {name!r}: {owner} takes {', '.join(sorted(known)) or 'no arguments'}")
    return known[name]


def _set(config: ConfigDict, key: str, texts: list[str]) -> None:
    field = field_of(config, key)
    if isinstance(field.default, tuple):
        value = tuple(element for text in texts for element in _elements(key, text, field))
    else:
        value = _parsed(key, texts[-1], field)
    _put(config, key, value, field)


def _put(config: ConfigDict, key: str, value: Any, field: Any) -> None:
    if problem := field.problem(value):
        raise UserError(f"config.{key} {problem}")
    parent, _, name = key.rpartition(".")
    parent = get(config, parent) if parent else config
    if isinstance(field.default, dict):
        parent[name] = ConfigDict(dict(value))
        parent[name].unlock()
    else:
        parent[name] = float(value) if isinstance(field.default, float) else value


def _parsed(key: str, text: str, field: Any) -> Any:
    """One value of a field's type, from text."""
    kind = type(field.default)
    if kind is str:
        return text
    if kind is bool:
        if text.lower() not in TRUE + FALSE:
            raise UserError(f"config.{key} is {text!r}: expected true or false")
        return text.lower() in TRUE
    try:
        return ast.literal_eval(text) if kind is dict else kind(text)
    except (ValueError, SyntaxError):
        expected = {dict: 'arguments as in {"dropout": 0.3}', int: "a whole number", float: "a number"}[kind]
        raise UserError(f"config.{key} is {text!r}: expected {expected}") from None


def _elements(key: str, text: str, field: Any) -> tuple:
    """The elements of a tuple: a,b or ('a', 'b') or [1, 2]; () and nothing are no elements."""
    try:
        literal = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        literal = None
    if isinstance(literal, tuple | list):
        return tuple(literal)
    parts = [part.strip().strip("\"'") for part in text.strip().removeprefix("(").removesuffix(")").split(",")]
    kind = type(field.default[0]) if field.default else str
    try:
        return tuple(kind(part) for part in parts if part)
    except ValueError:
        raise UserError(f"config.{key} is {text!r}: expected numbers, such as {field.default}") from None


def _of_file(path: pathlib.Path, variant: str) -> ConfigDict:
    """The config that `get_config` of a file returns."""
    get_config = getattr(_module(path), "get_config", None)
    if not callable(get_config):
        raise UserError(f"{path}: no function get_config: expected get_config(variant='') that returns a config")
    takes_variant = bool(inspect.signature(get_config).parameters)
    if variant and not takes_variant:
        raise UserError(f"{path}: its get_config takes no variant, and {variant!r} was given: leave it out")
    try:
        config = get_config(variant) if variant else get_config()
    except UserError:
        raise
    except Exception as error:
        _refuse(path, error)
    if not isinstance(config, ConfigDict):
        raise UserError(
            f"{path}: its get_config returns {type(config).__name__}: expected a config; end it with `return config`"
        )
    return config


def _module(path: pathlib.Path) -> types.ModuleType:
    """Run a config file."""
    try:
        source = path.read_text(encoding="utf-8")
    except IsADirectoryError:
        raise UserError(f"--config: {path} is a folder: expected a file such as mine.py") from None
    except OSError as error:
        raise UserError(f"--config: {path}: {error.strerror}; fer-jax recipes lists the project's own") from None
    except UnicodeDecodeError:
        raise UserError(f"--config: {path} is no text: expected a Python file such as mine.py") from None
    module = types.ModuleType("config_file")
    module.__file__ = str(path)
    try:
        exec(compile(source, str(path), "exec"), module.__dict__)  # a config file is a program
    except UserError:
        raise
    except Exception as error:
        _refuse(path, error)
    return module


def _refuse(path: pathlib.Path, error: Exception) -> NoReturn:
    """UserError for what a config file raised; a package that this project itself misses is `fer_jax.cli`'s to say."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    if isinstance(error, ModuleNotFoundError) and last.filename != str(path):
        raise error
    raise UserError(explain(path, error)) from None


def explain(path: pathlib.Path, error: Exception) -> str:
    """One line about what a config file raised: the file, the line, and for a wrong key those near it."""
    if isinstance(error, ModuleNotFoundError) and error.name == "configs":
        return f"{path}: {error}: write `from fer_jax.recipes import ...`, which works in any folder"
    if isinstance(error, SyntaxError):
        return f"{path}, line {error.lineno}: {error.msg}: correct the file"
    lines = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    where = f"{path}, line {lines[-1].lineno}" if lines else str(path)
    reason = " ".join(str(error).split())[:MAX_SHOWN]
    if isinstance(error, AttributeError | KeyError) and (key := _wrong_key(reason, lines[-1].line if lines else "")):
        return f"{where}: {unknown_key(key)}"
    return f"{where}: {type(error).__name__}: {reason}: correct the file"


def _wrong_key(reason: str, line: str | None) -> str:
    """The dotted key that a locked config refused, as far as the line of code tells its group; "" for another error."""
    found = re.match(r"""'?Key "(\w+)" does not exist|["']+(\w+)["']+$""", reason)
    if not found:
        return ""
    name = found[1] or found[2]
    group = re.search(rf"\.({'|'.join(GROUPS)})\.{name}\b", line or "")
    return f"{group[1]}.{name}" if group else name
