"""A profile of a few training steps, for TensorBoard's or XProf's profile page."""

from __future__ import annotations

import pathlib
from collections.abc import Callable
from typing import Any

import jax
from absl import logging

TRACED_CALL = 2  # counted from 1: the first one compiles, or waits for what was dispatched before


def traced(function: Callable, folder: pathlib.Path) -> Callable:
    """`function`, whose second call is traced by `jax.profiler` into `folder`, waited for, and reported.

    Look at it with `tensorboard --logdir` (package tensorboard-plugin-profile) or `xprof`, or open its
    `*.trace.json.gz` in https://ui.perfetto.dev.
    """
    calls = 0

    def call(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls != TRACED_CALL:
            return function(*arguments)
        jax.block_until_ready(arguments)  # what was dispatched before is no part of it
        with jax.profiler.trace(folder):
            result = jax.block_until_ready(function(*arguments))
        logging.info("profile of one dispatch: %s", folder)
        return result

    return call
