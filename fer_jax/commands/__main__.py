"""`python -m fer_jax.commands` is `fer-jax`."""

from fer_jax.commands import dispatch

dispatch.main()
