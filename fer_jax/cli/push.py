"""Share a bundle on a model hub: fer-jax push --bundle=mine.bundle --to=hf:user/name

Uploads the files that bundle.json lists, after checking them, in one commit; the bundle's card is the page of the
repository. Others then use it as --bundle=hf:user/name, or --bundle=hf:user/name@revision for one that stays.
"""

from absl import flags

from fer_jax import zoo
from fer_jax.cli import options

_BUNDLE = options.define_bundle(default=None, note="It is checked before it is sent")
_TO = flags.DEFINE_string("to", None, "repository, such as hf:user/name; it is made where there is none", required=True)


def main(argv: list[str]) -> None:
    """Check, upload, and print the address."""
    del argv
    from fer_jax.bundle import manifest
    from fer_jax.errors import UserError

    zoo.repository_of(_TO.value)
    if not _BUNDLE.value:
        raise UserError("--bundle must be given: name the folder to share")
    bundle = manifest.read(_BUNDLE.value)
    if "card" not in bundle.files:
        raise UserError(f"{bundle.path} has no README.md, which is the repository's page: export it again")
    print(zoo.push([bundle.path / manifest.MANIFEST, *bundle.files.values()], _TO.value))
