"""Trained bundles that come with the package, each in a folder of its own, whose name is the model's.

A folder with what `fer-jax export --compact` writes, and a line in `USES`, is all that another model takes.
"""

import os
import pathlib

from fer_jax import files
from fer_jax.errors import UserError, did_you_mean

HOME = pathlib.Path(__file__).parent
DEFAULT = HOME / "mini_xception_wild"  # what is used when no bundle is named
# When to take each, for `fer-jax models` and docs/how-to/choose-a-model.md
USES = {
    "mini_xception_wild": "faces come from a camera, photographs or films, many of them neutral",
    "mini_xception_wide": "faces are like FER2013's: posed or strong expressions, cut out closely",
    "mini_xception": "a small file matters, or faces come from other sources, where it has done better",
    "mini_xception_ferplus": "people mostly look neutral, as in meetings and videos; contempt is wanted",
}


def names() -> list[str]:
    """Names of the models, the default one first, the others in alphabetical order."""
    found = sorted(path.parent.name for path in HOME.glob("*/bundle.json"))
    return sorted(found, key=lambda name: name != DEFAULT.name)


def find(given: str | os.PathLike) -> pathlib.Path:
    """The path as given or, where nothing is there, the folder of the model of this name."""
    path = files.expand(given)
    return path if path.exists() or path.is_symlink() or given not in names() else HOME / given


def resolve(given: str | os.PathLike) -> pathlib.Path:
    """The folder of a bundle: of `hf:user/name` or at a path or, where there is none, of the model of this name.

    Raises:
      UserError: a single word that is neither; see `fer_jax.zoo.hub.fetch`.
    """
    word = os.fspath(given)
    if word.startswith("hf:"):
        from fer_jax.zoo import hub

        return hub.fetch(word)
    path = find(given)
    if path.exists() or path.name != word or path.is_symlink():
        return path
    raise UserError(
        f"no bundle at {word} and no model of that name{did_you_mean(word, names())}: expected a folder with "
        f"bundle.json, as fer-jax export writes it, or one of {', '.join(names())}"
    )
