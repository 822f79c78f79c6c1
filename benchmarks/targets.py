"""Devices that are not there, to compile for: slices of TPUs and NVIDIA GPUs by their public figures."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import math
import os
import re
from typing import Any, NamedTuple

from fer_jax.errors import UserError

MAX_CHIPS = 256


class Chip(NamedTuple):
    """One device of a target.

    Attributes:
      platform: as JAX calls it.
      kind: `jax.Device.device_kind`, the key of its data sheet in `benchmarks.peaks`.
      memory: bytes.
      clock: cycles a second, what the peak of the data sheet and the size of the matrix units give; 0 for GPUs, whose
        compiler estimates microseconds.
      axes: of a slice's topology.
      accelerator_type: libtpu's name of it, without the number of chips.
    """

    platform: str
    kind: str
    memory: float
    clock: float = 0.0
    axes: int = 1
    accelerator_type: str = ""


# Clocks: 197, 918 and 459 TFLOP/s by 2 x 4 x 128^2, 2 x 4 x 256^2 and 2 x 8 x 128^2 a cycle.
CHIPS = {
    "v5e": Chip("tpu", "TPU v5 lite", 16 * 2**30, 197e12 / (8 * 128**2), 2, "v5litepod"),
    "v6e": Chip("tpu", "TPU v6 lite", 32 * 2**30, 918e12 / (8 * 256**2), 2, "v6e"),
    "v5p": Chip("tpu", "TPU v5p", 95 * 2**30, 459e12 / (16 * 128**2), 3, "v5p"),
    "h100": Chip("cuda", "NVIDIA H100 80GB HBM3", 80e9),
}
EXAMPLES = "v5e:2x4, v5e:16x16, v6e:2x4, v5p:2x2x1, h100, h100x8"

# Public figures of the card, in the form of XLA's GpuTargetConfig.
H100 = """
gpu_device_info {
  threads_per_block_limit: 1024 threads_per_warp: 32 shared_memory_per_block: 49152 shared_memory_per_core: 233472
  threads_per_core_limit: 2048 core_count: 132 fpus_per_core: 128
  block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535
  memory_bandwidth: 3352320000000 l2_cache_size: 52428800 clock_rate_ghz: 1.98 device_memory_size: 84929347584
  shared_memory_per_block_optin: 232448 cuda_compute_capability { major: 9 }
  registers_per_core_limit: 65536 registers_per_block_limit: 65536
}
platform_name: "CUDA" dnn_version_info { major: 9 minor: 10 } runtime_version { major: 13 minor: 0 patch: 0 }
device_description_str: "NVIDIA H100 80GB HBM3"
"""


class Target(NamedTuple):
    """Devices to compile for: the name as given, such as "v5e:2x4", each device, and devices along each axis."""

    name: str
    chip: Chip
    topology: tuple[int, ...]

    @property
    def devices(self) -> int:
        """Number of devices."""
        return math.prod(self.topology)


def find(name: str) -> Target:
    """The target of a name: a kind of TPU with its topology, or h100 with a number of GPUs; UserError for another."""
    tpu, gpu = re.fullmatch(r"(v\w+):(\d+(?:x\d+)+)", name), re.fullmatch(r"(h100)(?:x(\d+))?", name)
    if gpu:
        kind, topology = gpu[1], (int(gpu[2] or 1),)
    else:
        kind, topology = (tpu[1], tuple(map(int, tpu[2].split("x")))) if tpu else (name, ())
    chip = CHIPS.get(kind)
    if not chip or len(topology) != chip.axes or not 1 <= math.prod(topology) <= MAX_CHIPS:
        raise UserError(
            f"--target is {name!r}: expected a TPU slice of at most {MAX_CHIPS} chips or H100 GPUs, such as {EXAMPLES}"
        )
    return Target(name, chip, topology)


def prepare(target: Target, environment: dict[str, str] | os._Environ = os.environ) -> None:
    """Set what the target's compiler reads, before JAX is imported; UserError where the compiler is not installed."""
    module, extra = ("libtpu", "aot-tpu") if target.chip.platform == "tpu" else ("jax_cuda13_plugin", "aot-cuda")
    if importlib.util.find_spec(module) is None:
        raise UserError(
            f"--target={target.name} needs {module}, which is not installed: pip install 'fer_jax[{extra}]'"
        )
    environment["JAX_PLATFORMS"] = "cpu"  # where the code here runs; the target is another matter
    if target.chip.platform == "tpu":
        # libtpu would look for the TPU of this machine, and lock it against others.
        environment["TPU_SKIP_MDS_QUERY"] = "1"
        environment["TPU_WORKER_HOSTNAMES"] = "localhost"
        environment["TPU_ACCELERATOR_TYPE"] = f"{target.chip.accelerator_type}-{target.devices}"
        environment["ALLOW_MULTIPLE_LIBTPU_LOAD"] = "1"
    else:
        environment["CUDA_VISIBLE_DEVICES"] = "-1"
        # XLA then notes beside each kernel of its own how long it expects it to take; not of cuDNN's.
        flags = environment.get("XLA_FLAGS", "").split()
        environment["XLA_FLAGS"] = " ".join([*flags, "--xla_gpu_collect_cost_model_stats=true"])


def compiler(target: Target) -> str:
    """Name and version of the package that compiles for it."""
    package = "libtpu" if target.chip.platform == "tpu" else "jax-cuda13-plugin"
    return f"{package} {importlib.metadata.version(package)}"


def devices_of(target: Target) -> list[Any]:
    """The target's devices as `jax.Device`s to compile for, after `prepare`; UserError where there is no such slice."""
    import jax
    from jax.experimental import topologies

    options: dict[str, Any]
    if target.chip.platform == "tpu":
        hosts = {"chips_per_host_bounds": (1, 1, 1)} if target.devices == 1 else {}
        options = {"topology_name": target.name, "platform": "tpu", **hosts}
    else:
        _name_platform_without_device()
        options = {"platform": "cuda", "target_config": H100, "topology": f"1x1x{target.devices}"}
    try:
        return list(topologies.get_topology_desc(**options).devices)
    except jax.errors.JaxRuntimeError as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"--target is {target.name!r}: no such slice ({reason}); expected such as {EXAMPLES}") from None


def _name_platform_without_device() -> None:
    """Name the platform "gpu" CUDA, which JAX asks of a device (https://github.com/jax-ml/jax/issues/28376)."""
    from jax._src import xla_bridge

    known = xla_bridge.canonicalize_platform

    def canonicalize(platform: str) -> str:
        try:
            return known(platform)
        except RuntimeError:
            return "cuda"

    xla_bridge.canonicalize_platform = canonicalize
