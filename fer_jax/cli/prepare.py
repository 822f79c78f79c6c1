"""Read and cache a data set, and say what is in it.

    fer-jax prepare --path=fer2013.csv
    fer-jax prepare --path=faces
    fer-jax prepare --config=jaffe:best --config.data.path=jaffe

A config's input size and channels are part of what is cached: give the config that will be trained.
"""

import time

from absl import flags

from fer_jax.cli import options

_CONFIG = options.ConfigFlag("The config whose data is prepared. Default: every key at its default.")
_SOURCE = flags.DEFINE_string(
    "source", None, "What reads the data. Default: the config's; without --config, by the layout of --path."
)
_PATH = options.define_path("path", None, "File or folder of the data, in place of config.data.path.")


def main(argv: list[str]) -> None:
    """Load the config's examples, print their number by split and class, and the folder they are kept in."""
    from fer_jax.data import cache, loading

    config = _CONFIG.read(_SOURCE.value, _PATH.value)
    started = time.perf_counter()
    examples = loading.load(config)
    seconds = time.perf_counter() - started
    path = cache.path_of(config.data, config.input)
    kept = (
        f"kept in {path} ({sum(file.stat().st_size for file in path.iterdir()) / 1e6:.0f} MB)"
        if path.exists()
        else "not kept"
    )
    print(f"{examples.description}\n\n{examples.table()}\n\n{seconds:.1f} s, {kept}")
