"""Compile a per-device SPMD function for all devices: `jax.pmap`, or `jax.jit` of `jax.shard_map`.

This is the only module that knows the difference. A function written for it sees one device's part of the feed, knows
the mapped axis by the name `AXIS`, and returns values that are the same on every device.
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from fer_jax import environment
from fer_jax.distributed import cluster
from fer_jax.errors import UserError

AXIS = "data"
APIS = ("pmap", "shard_map")
CPU_IMAGES = 64  # of a batch, that each device of a divided CPU gets at least
Tree = Any


def devices_for(batch_size: int) -> list[jax.Device]:  # pyright: ignore[reportInvalidTypeForm]
    """The devices that share a batch: all of them, but one of a CPU that `environment.init` divided for a small batch.

    XLA computes the gradient of a kernel and the sums of BatchNorm on one core, and two devices on two. On two cores of
    a Xeon with AVX-512, in turns, whole steps of 128 images are 1.27 times as fast (mini-Xception), 1.12 (six_conv),
    1.07 (resnet18) and 1.0 (vgg:small), and of 64 images 1.22 (mini-Xception) and 0.87 (vgg:small). Two, however many
    cores there are: the same numbers come out on all machines of several.
    """
    devices = jax.devices()
    uneven = batch_size % (2 * len(devices))  # pairs of neighbors stay together
    if environment.cpu_is_divided and devices[0].platform == "cpu":
        return devices[:1] if uneven or batch_size < CPU_IMAGES * len(devices) else devices
    return devices


class Parallel:
    """The devices of all hosts as one axis.

    Attributes:
      devices: number of devices of all hosts.
      batch_size: the global batch.
      shard: slice of the global batch that this host feeds.
    """

    def __init__(self, api: str, batch_size: int, devices: list[jax.Device] | None = None):  # pyright: ignore[reportInvalidTypeForm]
        """UserError when the global batch does not divide by the devices, with the nearest sizes that do."""
        devices = devices_for(batch_size) if devices is None else devices
        self.api, self.devices = api, len(devices)
        if batch_size % self.devices:
            below = batch_size // self.devices * self.devices
            nearest = " or ".join(str(b) for b in (below, below + self.devices) if b)
            raise UserError(f"batch size {batch_size} does not divide over {self.devices} devices: use {nearest}")
        self._mesh = jax.make_mesh((self.devices,), (AXIS,), axis_types=(AxisType.Auto,), devices=devices)
        self._replicated = NamedSharding(self._mesh, PartitionSpec())
        self._sharded = NamedSharding(self._mesh, PartitionSpec(AXIS))
        self._device_list = devices
        self._local = sum(d.process_index == jax.process_index() for d in devices)
        # jax.devices() lists the devices of one process after another, so a host's part of the batch is contiguous.
        first = next(i for i, d in enumerate(devices) if d.process_index == jax.process_index())
        per_device = batch_size // self.devices
        self.batch_size = batch_size
        self.shard = slice(first * per_device, (first + self._local) * per_device)

    def require_pairs(self, what: str) -> None:
        """UserError, with a size that would do, when a device's share of the batch is odd; `what` needs pairs."""
        if (each := self.batch_size // self.devices) % 2:
            raise UserError(
                f"batch size {self.batch_size} gives each of {self.devices} devices {each}: {what} pair neighbors on "
                f"a device and need an even number; use {self.batch_size + self.devices}"
            )

    @jax.transfer_guard("allow")  # deliberate: the loop disallows every other transfer
    def replicate(self, tree: Tree) -> Tree:
        """A copy of host or device arrays on every device; every process must give the same values."""

        def place(x: jax.Array | np.ndarray) -> jax.Array:
            if jax.process_count() == 1:
                return jax.device_put(x, self._replicated)
            # device_put would send the whole array around to see whether all processes have the same.
            x = np.asarray(x)
            return jax.make_array_from_callback(x.shape, self._replicated, lambda index: x[index])

        return jax.tree.map(place, tree)

    @jax.transfer_guard("allow")
    def split(self, tree: Tree, axis: int) -> Tree:
        """Host arrays whose `axis` is this host's batch, as global arrays (devices, ...) with the batch divided."""

        def place(x: np.ndarray) -> jax.Array:
            parts = np.stack(np.split(np.asarray(x), self._local, axis=axis))
            return jax.make_array_from_process_local_data(self._sharded, parts)

        return jax.tree.map(place, tree)

    def replicated_shapes(self, tree: Tree) -> Tree:
        """Shapes of what `replicate` would give, as `jax.ShapeDtypeStruct`s."""
        return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=self._replicated), tree)

    def split_shapes(self, tree: Tree, axis: int) -> Tree:
        """Shapes of what `split` would give, as `jax.ShapeDtypeStruct`s."""

        def shape_of(x: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
            local = (*x.shape[:axis], x.shape[axis] // self._local, *x.shape[axis + 1 :])
            return jax.ShapeDtypeStruct((self.devices, *local), x.dtype, sharding=self._sharded)

        return jax.tree.map(shape_of, tree)

    def compile(self, function: Callable, replicated: int, donate: tuple[int, ...] = ()) -> Callable:
        """The compiled `function(*replicated_trees, feed)`; `feed` comes from `split`, results are replicated.

        Args:
          replicated: how many leading arguments are replicated trees.
          donate: which of them may be overwritten.
        """
        compiled = self._mapped(function, replicated, donate)
        return compiled if jax.process_count() == 1 else _CompileBarrier(compiled)

    def _mapped(self, function: Callable, replicated: int, donate: tuple[int, ...]) -> Any:
        if self.api == "pmap":
            return jax.pmap(
                function,
                axis_name=AXIS,
                in_axes=(*(None,) * replicated, 0),
                out_axes=None,
                donate_argnums=donate,
                devices=self._device_list,
            )

        def local(*args: Tree) -> Tree:
            *trees, feed = args
            return function(*trees, jax.tree.map(lambda x: x[0], feed))

        whole = PartitionSpec()
        # Gradients are averaged by the function itself, as under pmap: no automatic sums over replicated inputs.
        mapped = jax.shard_map(
            local,
            mesh=self._mesh,
            in_specs=(*(whole,) * replicated, PartitionSpec(AXIS)),
            out_specs=whole,
            check_vma=False,
        )
        return jax.jit(mapped, donate_argnums=donate)


class _CompileBarrier:
    """A function of several processes, always called with the same shapes; it starts when all have compiled it.

    Compiling can take one process minutes longer than the others, and the collectives of CPUs give up after 30 s.
    """

    def __init__(self, function: Any):
        self._function, self._compiled = function, None

    def lower(self, *args: Tree) -> Any:
        """Lower as `jax.jit` does."""
        return self._function.lower(*args)

    def __call__(self, *args: Tree) -> Tree:
        if self._compiled is None:
            self._compiled = self._function.lower(*args).compile()
            cluster.barrier()
        cluster.heartbeat()
        return self._compiled(*args)
