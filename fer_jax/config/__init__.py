"""The config of a run: the table of its keys, their checks, config files and the command line, and the saved config."""

from fer_jax.config.recipe import changed, read
from fer_jax.config.rules import validate
from fer_jax.config.saved import (
    has_checkpoint,
    load,
    refuse_other,
    require_inputs,
    save,
    with_defaults,
    without_folders,
)
from fer_jax.config.table import TABLE, Field, default, flatten, get
