"""Write the report of a run again, or a page that compares several.

python -m tools.report --workdir=runs/xception
python -m tools.report --workdir=runs/a --workdir=runs/b --out=compared
"""

from __future__ import annotations

from absl import flags, logging

from fer_jax import cli, environment
from fer_jax.errors import UserError

_WORKDIRS = cli.define_paths(
    "workdir", None, "Folder of a run; given twice or more, the runs are compared.", required=True
)
_OUT = cli.define_output(
    "out", None, "Folder to write into. Default: report/ in the run's folder; a comparison needs one.", folder=True
)
_FACES = flags.DEFINE_bool("faces", True, "Read the run's data for the pages of faces.")


def main(argv: list[str]) -> None:
    """Write the page and print its path."""
    workdirs = _WORKDIRS.value
    if len(workdirs) > 1 and not _OUT.value:
        raise UserError(f"{len(workdirs)} runs to compare and no place for the page: give --out=FOLDER")

    from fer_jax import config as configs
    from fer_jax.data import loading
    from fer_jax.report import comparison, page

    environment.init()
    if len(workdirs) > 1:
        print(comparison.write(workdirs, _OUT.value))
        return
    config, examples = configs.load(workdirs[0]), None
    if _FACES.value:
        try:
            examples = loading.load(config)
        except UserError as error:
            logging.warning("no faces in the report, the run's data cannot be read: %s", error)
    print(page.write(workdirs[0], examples, _OUT.value))


if __name__ == "__main__":
    cli.run(main)
