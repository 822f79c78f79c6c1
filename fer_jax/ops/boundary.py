"""Barriers at which XLA's fusion has to stop."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
from jax.experimental.xla_metadata import set_xla_metadata


def fusion_barrier(function: Callable | None = None, *, static_argnums: tuple[int, ...] = ()) -> Callable:
    """A decorator: XLA compiles the function as a computation of its own and fuses nothing into it or out of it.

    The CPU backend fuses elementwise work into its consumers until one loop recomputes, index by index, what should
    have been a pass over memory; `lax.optimization_barrier` is dropped there before fusion. Arguments and results are
    materialised, so it belongs around a few passes over an array, not around one multiplication.
    """
    if function is None:
        return functools.partial(fusion_barrier, static_argnums=static_argnums)
    compiled = jax.jit(function, static_argnums=static_argnums)

    @functools.wraps(function)
    def call(*args: Any) -> Any:
        # On the results, that is the call: as a context it would also cut every jitted function within off.
        return jax.tree.map(lambda result: set_xla_metadata(result, inlineable="false"), compiled(*args))

    return call
