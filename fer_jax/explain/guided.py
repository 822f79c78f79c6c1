"""A function whose ReLUs pass back positive gradients only: guided back-propagation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend import core

# what calls another program, and the parameter that holds it
CALLS = {"jit": "jaxpr", "custom_jvp_call": "call_jaxpr", "custom_vjp_call": "call_jaxpr"}


@jax.custom_vjp
def guided_relu(x: jax.Array) -> jax.Array:
    """ReLU, whose gradient is kept where both the input and the gradient are positive."""
    return jnp.maximum(x, 0)


guided_relu.defvjp(lambda x: (jnp.maximum(x, 0), x), lambda x, g: (jnp.where(x > 0, jnp.maximum(g, 0), 0),))


def with_guided_relu(function: Callable[[jax.Array], Any]) -> Callable[[jax.Array], Any]:
    """`function` of one array with every `jax.nn.relu` in it replaced by `guided_relu`; its values are the same.

    Works on the traced program, so that no network needs to know of it.
    """

    def replaced(x: jax.Array) -> Any:
        closed, shape = jax.make_jaxpr(function, return_shape=True)(x)
        leaves = _evaluate(closed.jaxpr, closed.consts, [x])
        return jax.tree.unflatten(jax.tree.structure(shape), leaves)

    return replaced


def _evaluate(jaxpr: core.Jaxpr, consts: list[Any], arguments: list[Any]) -> list[Any]:
    values = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*consts, *arguments], strict=True))

    def read(variable: Any) -> Any:
        return variable.val if isinstance(variable, core.Literal) else values[variable]

    for equation in jaxpr.eqns:
        inputs = [read(variable) for variable in equation.invars]
        kind, parameters = equation.primitive.name, equation.params
        if kind == "custom_jvp_call" and parameters["call_jaxpr"].jaxpr.debug_info.func_name == "relu":
            outputs = [guided_relu(*inputs)]
        elif kind in CALLS:
            inner = parameters[CALLS[kind]]
            outputs = _evaluate(inner.jaxpr, inner.consts, inputs)
        else:
            outputs = equation.primitive.bind(*inputs, **parameters)
            outputs = outputs if equation.primitive.multiple_results else [outputs]
        values.update(zip(equation.outvars, outputs, strict=True))
    return [read(variable) for variable in jaxpr.outvars]
