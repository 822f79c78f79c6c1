"""Write the report of a run, of several seeds or of a cross-validation again, or a page that compares several.

fer-jax report --workdir=runs/xception
fer-jax report --workdir=runs/a --workdir=runs/b --out=compared
"""

from __future__ import annotations

import pathlib
from typing import TYPE_CHECKING

from absl import flags, logging

from fer_jax import environment
from fer_jax.cli import options
from fer_jax.errors import UserError

if TYPE_CHECKING:
    from fer_jax.data.examples import Examples

_WORKDIRS = options.define_paths(
    "workdir", None, "Folder of a run; given twice or more, the runs are compared.", required=True
)
_OUT = options.define_output(
    "out", None, "Folder to write into. Default: report/ in the run's folder; a comparison needs one.", folder=True
)
_FACES = flags.DEFINE_bool("faces", True, "Read the run's data for the pages of faces.")


def main(argv: list[str]) -> None:
    """Write the page and print its path."""
    workdirs = _WORKDIRS.value
    if len(workdirs) > 1 and not _OUT.value:
        raise UserError(f"{len(workdirs)} runs to compare and no place for the page: give --out=FOLDER")

    from fer_jax.report import comparison, page

    environment.init()
    if len(workdirs) > 1:
        print(comparison.write(workdirs, _OUT.value))
        return
    print(page.write(workdirs[0], _examples(pathlib.Path(workdirs[0])) if _FACES.value else None, _OUT.value))


def _examples(workdir: pathlib.Path) -> Examples | None:
    """The examples of a run as it was trained on them; None where they cannot be read, or there are several runs."""
    from fer_jax import config as configs
    from fer_jax import result
    from fer_jax.data import identity
    from fer_jax.experiments import distillation, rundata

    if result.runs_inside(workdir):
        return None  # the faces are in the runs' own reports
    config = configs.load(workdir)
    try:
        examples = rundata.of_run(config, workdir, identity.load(workdir)).examples
    except rundata.OtherData as error:
        raise UserError(f"{error}, or report without faces (--nofaces)") from None
    except UserError as error:
        logging.warning("no faces in the report, the run's data cannot be read: %s", error)
        return None
    probabilities = distillation.read_kept(workdir)
    return examples if probabilities is None else distillation.mixed(config, examples, probabilities)
