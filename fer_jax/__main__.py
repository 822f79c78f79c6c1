"""`python -m fer_jax` is `fer-jax`."""

from fer_jax import cli

cli.main()
