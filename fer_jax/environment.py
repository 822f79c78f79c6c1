"""Environment of a run: how JAX is set up, the versions of everything, and the command itself."""

import ast
import contextlib
import importlib.metadata
import os
import pathlib
import platform
import shlex
import sys
import warnings

from fer_jax import files

CPU_DEVICES = 2
cpu_is_divided = False  # see `divide_cpu`


def init() -> None:
    """Set up JAX: call it once, before anything touches a device.

    A CPU is shown as `CPU_DEVICES` devices, see `fer_jax.distributed.parallel.devices_for`.

    Compiled programs are kept in the user's cache folder, so that a second run starts at once; JAX's own environment
    variables, such as JAX_COMPILATION_CACHE_DIR, take precedence.
    """
    # Before TensorFlow loads: its greetings are no news, and it computes nothing here.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

    import jax

    if jax.config.values["jax_compilation_cache_dir"] is None:
        jax.config.update("jax_compilation_cache_dir", str(files.user_cache() / "compiled"))
    if "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" not in os.environ:
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)
    divide_cpu(CPU_DEVICES if (os.cpu_count() or 1) >= CPU_DEVICES else 1)
    # An entry that a full disk or a kill cut off costs a compilation, and JAX would say so in two lines at every run.
    warnings.filterwarnings("ignore", "Error (reading|writing) persistent compilation cache entry")


def divide_cpu(count: int) -> None:
    """Let JAX show the CPU as so many devices, unless the user says how many, or JAX has started."""
    global cpu_is_divided
    import jax

    if "JAX_NUM_CPU_DEVICES" in os.environ or "host_platform_device_count" in os.environ.get("XLA_FLAGS", ""):
        return
    with contextlib.suppress(RuntimeError):
        jax.config.update("jax_num_cpu_devices", count)
        cpu_is_divided = count > 1


def command() -> str:
    """The command line of this process, ready for a shell, without the paths of the interpreter and of `fer-jax`."""
    if len(sys.orig_argv) > 1 and pathlib.Path(sys.orig_argv[1]).stem == "fer-jax":
        return shlex.join(["fer-jax", *sys.orig_argv[2:]])
    return shlex.join(["python", *sys.orig_argv[1:]])


def without_folders(command: str) -> str:
    """A command line with the names of files and folders alone, to be shown or given away.

    A recipe below the working directory (--config=configs/xception.py) stays as it is.
    """
    return shlex.join(map(_name_only, shlex.split(command)))


def _name_only(argument: str) -> str:
    flag, equals, value = argument.partition("=") if argument.startswith("--") else ("", "", argument)
    if flag == "--config" and not pathlib.Path(value).is_absolute():
        return argument
    try:
        paths = ast.literal_eval(value)
    except (ValueError, SyntaxError):
        paths = value
    if isinstance(paths, tuple | list):
        return f"{flag}{equals}{tuple(files.name_of(x) if isinstance(x, str) else x for x in paths)}"
    return f"{flag}{equals}{files.name_of(value)}"


def versions() -> dict[str, str]:
    """Versions of what a result depends on, and the hardware it ran on."""
    import jax

    packages = ("fer_jax", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "opencv-python")
    found = {}
    for package in packages:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    device = jax.devices()[0]
    return found | {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "device": f"{jax.device_count()} x {device.device_kind}",
        "cpus": str(os.cpu_count()),
    }
