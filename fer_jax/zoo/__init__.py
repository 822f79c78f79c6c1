"""Bundles by name: those that come with the package, and those on a model hub.

A model of the package has a folder of its name. A folder with what `fer-jax export --compact` writes, and a line in
`USES`, is all that another one takes. Of a hub it is `hf:user/name` or `hf:user/name@revision`, by huggingface_hub.
"""

import contextlib
import logging
import os
import pathlib
import re
from collections.abc import Iterable, Iterator

from fer_jax import files
from fer_jax.errors import UserError, did_you_mean

HOME = pathlib.Path(__file__).parent
DEFAULT = HOME / "mini_xception_wild"  # what is used when no bundle is named
# When to take each, for `fer-jax models` and docs/how-to/choose-a-model.md
USES = {
    "mini_xception_wild": "faces come from a camera, photographs or films, many of them neutral",
    "mini_xception_wide": "faces are like FER2013's: posed or strong expressions, cut out closely",
    "mini_xception": "a small file matters: 87 kB as int8, two to three points behind the default in the wild",
    "mini_xception_ferplus": "people mostly look neutral, as in meetings and videos; contempt is wanted",
}

HUB = "hf:"
HUB_FILES = ["bundle.json", "README.md", "model.*", "weights.*"]  # of a bundle; what else a repository has stays there
OFFLINE = "FER_JAX_OFFLINE"  # as of `fer_jax.faces.yunet`
_NAME = re.compile(r"hf:([\w.-]+/[\w.-]+)(?:@([\w./-]+))?")


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
      UserError: a single word that is neither; see `fetch`.
    """
    word = os.fspath(given)
    if word.startswith(HUB):
        return fetch(word)
    path = find(given)
    if path.exists() or path.name != word or path.is_symlink():
        return path
    raise UserError(
        f"no bundle at {word} and no model of that name{did_you_mean(word, names())}: expected a folder with "
        f"bundle.json, as fer-jax export writes it, or one of {', '.join(names())}"
    )


def repository_of(spec: str) -> tuple[str, str | None]:
    """Repository and revision of `hf:user/name@revision`, None for the newest; UserError for what is none."""
    match = _NAME.fullmatch(spec)
    if not match:
        raise UserError(f"{spec}: expected hf:user/name or hf:user/name@revision")
    return match[1], match[2]


def fetch(spec: str) -> pathlib.Path:
    """The folder of a bundle in the user's cache, as it is on the hub now; without a network, as it was last.

    Raises:
      UserError: no such repository or revision, no right to read it, no network and nothing in the cache, or no
        huggingface_hub.
    """
    repository, revision = repository_of(spec)
    folder = files.user_cache() / "hub" / repository.replace("/", "--") / (revision or "main").replace("/", "--")
    offline = os.environ.get(OFFLINE, "") not in ("", "0")
    if not offline or not (folder / HUB_FILES[0]).is_file():
        if offline:
            raise UserError(f"{spec} is not in the cache, and not fetched since {OFFLINE} is set: unset it once")
        with _one_line(spec):
            import huggingface_hub

            logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
            huggingface_hub.HfApi(endpoint=os.environ.get("HF_ENDPOINT")).snapshot_download(
                repository, revision=revision, local_dir=folder, allow_patterns=HUB_FILES
            )
    if not (folder / HUB_FILES[0]).is_file():
        raise UserError(f"{spec} has no {HUB_FILES[0]}: expected a bundle, as fer-jax push uploads it")
    return folder


def push(paths: Iterable[pathlib.Path], spec: str) -> str:
    """Upload files, in one commit, to a repository that is made where there is none; gives the commit's address.

    Raises:
      UserError: no token, no right to write, no network, or no huggingface_hub.
    """
    repository, revision = repository_of(spec)
    with _one_line(spec):
        import huggingface_hub

        if not huggingface_hub.get_token():
            raise UserError(f"no token to write to {spec}: run hf auth login, or set HF_TOKEN")
        api = huggingface_hub.HfApi(endpoint=os.environ.get("HF_ENDPOINT"))
        api.create_repo(repository, exist_ok=True)
        operations = [huggingface_hub.CommitOperationAdd(path.name, str(path)) for path in paths]
        made = api.create_commit(repository, operations, commit_message="Upload a bundle", revision=revision)
        return str(made.commit_url)


@contextlib.contextmanager
def _one_line(spec: str) -> Iterator[None]:
    """Turn what the hub's library raises into a UserError."""
    try:
        yield
    except (ModuleNotFoundError, UserError):
        raise
    except Exception as error:  # its own, those of its HTTP library and the system's share no other base class
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(
            f"{spec}: the hub refuses, or cannot be reached ({reason}): check name, token and network"
        ) from None
