"""Look for duplicates, contradicting labels, leaks between splits and images without a face in a data set.

python -m tools.audit_data --source=fer2013 --path=fer2013.csv --out=audit
python -m tools.audit_data --config=configs/xception.py --config.data.path=fer2013.csv --out=audit

Writes findings.csv (a row an image with a finding), summary.txt and summary.json.
"""

from __future__ import annotations

import pathlib

from absl import flags

from fer_jax import cli
from fer_jax import config as configs
from fer_jax.errors import UserError

_CONFIG = configs.Flag("A config whose data is looked at, as it is split there.")
_SOURCE = flags.DEFINE_string("source", None, "Without --config: a source of config.data.source, such as folder.")
_PATH = cli.define_path("path", "", "Without --config: the file or folder of the data set.")
_OUT = cli.define_output("out", None, "Folder for the findings.", folder=True, required=True)


def main(argv: list[str]) -> None:
    """Audit the data and print the summary."""
    from fer_jax.data import audit, cache, splits

    if _CONFIG.given == bool(_SOURCE.value):
        raise UserError("expected either --config or --source (with --path)")
    config = _CONFIG.read()
    if _SOURCE.value:
        config.data.source, config.data.path = _SOURCE.value, _PATH.value
        examples = cache.read(config.data, config.input)
    else:
        examples = splits.assign(cache.read(config.data, config.input), config.data, config.seed)
    result = audit.audit(examples)
    audit.write(result, examples, pathlib.Path(_OUT.value))
    print(audit.text(result.summary))
    print(f"written to {_OUT.value}")


if __name__ == "__main__":
    cli.run(main)
