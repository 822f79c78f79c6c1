"""Look for duplicates, contradicting labels, leaks between splits and images without a face in a data set.

fer-jax audit --source=fer2013 --path=fer2013.csv --out=audit
fer-jax audit --config=xception --config.data.path=fer2013.csv --out=audit

Writes findings.csv (a row an image with a finding), summary.txt and summary.json. With the folder of a
cross-validation it checks the labels by what each fold says about the images that it holds out:

fer-jax audit --workdir=runs/folds --out=audit

Writes doubtful.csv, the doubtful labels with the class suggested for each, and doubtful.html with the first hundred.
"""

import pathlib

from absl import flags

from fer_jax.cli import options
from fer_jax.errors import UserError

_CONFIG = options.ConfigFlag("A config whose data is looked at, as it is split there.")
_SOURCE = flags.DEFINE_string("source", None, "Without --config: a source of config.data.source, such as folder.")
_PATH = options.define_path("path", "", "Without --config: the file or folder of the data set.")
_WORKDIR = options.define_path("workdir", "", "A cross-validation, or a run, by which labels are checked.")
_OUT = options.define_output("out", None, "Folder for the findings.", folder=True, required=True)


def main(argv: list[str]) -> None:
    """Audit the data and print the summary."""
    if (bool(_CONFIG.given), bool(_SOURCE.value), bool(_WORKDIR.value)).count(True) != 1:
        raise UserError("expected one of --config, --source (with --path) and --workdir")
    if _WORKDIR.value:
        from fer_jax.experiments import label_check

        labels, doubtful = label_check.check(_WORKDIR.value, _OUT.value)
        print(f"{doubtful:,} of {labels:,} labels are doubtful: {label_check.TABLE} and {label_check.PAGE}")
        print(f"written to {_OUT.value}")
        return
    from fer_jax.data import audit, cache, splits

    config = _CONFIG.read(_SOURCE.value, _PATH.value)
    examples = cache.read(config.data, config.input)
    if not _SOURCE.value:
        examples = splits.assign(examples, config.data, config.seed)
    result = audit.audit(examples)
    audit.write(result, examples, pathlib.Path(_OUT.value))
    print(audit.text(result.summary, examples))
    print(f"written to {_OUT.value}")
