"""Commands in forks of a Python that has imported what training needs: imports take most of a small run's time."""

import atexit
import contextlib
import multiprocessing
import os
import runpy
import signal
import sys

PRELOADED = ("jax", "flax.linen", "optax", "orbax.checkpoint", "cv2", "onnxruntime", "fer_jax.config")
PRELOADED += ("fer_jax.experiments.run", "fer_jax.report.page", "fer_jax.data.sources.synthetic")

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload([__name__, *PRELOADED])


def start(module, arguments, env, cwd, out, errors):
    """Start what `python -m module arguments` is in a process group of its own; its output goes to two files.

    Returns:
      multiprocessing's process.
    """
    process = _context.Process(target=_run, args=(module, list(map(str, arguments)), env, cwd, out, errors))
    process.start()
    return process


def _run(module, arguments, env, cwd, out, errors):
    import jax

    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for path, stream in ((out, sys.stdout), (errors, sys.stderr)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), stream.fileno())
        stream.reconfigure(encoding="utf-8", write_through=True)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    for name, value in env.items():  # what JAX reads when it is imported
        if (option := name.lower()) in jax.config.values:
            kind = type(jax.config.values[option])
            jax.config.update(option, {bool: lambda text: text == "1", int: int, float: float}.get(kind, str)(value))
    sys.argv = [module, *arguments]
    sys.orig_argv = [sys.executable, "-m", module, *arguments]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    finally:
        with contextlib.suppress(BaseException):
            atexit._run_exitfuncs()
