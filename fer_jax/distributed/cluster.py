"""The processes of a run as one cluster: joining it, agreeing on things, preemption, and failures."""

import contextlib
import itertools
import os
import pickle
import re
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any

from absl import logging

from fer_jax import environment, files
from fer_jax.distributed.launch import Launch
from fer_jax.errors import Preempted, UserError

HEARTBEAT_SECONDS = 30  # without a heartbeat from a process before the others abort
HANG_SECONDS = 600.0  # that all may wait for one process, which may only be slow: to download its data, for example
MAX_BARRIER_MS = 24 * 3600 * 1000  # never reached: the watchdog fires first
ALONE_SECONDS = 10**7  # a single process may be suspended for months by a shell or a sleeping laptop
LOOKS = 10  # within HANG_SECONDS, for a process that hangs
MAX_LOOK_SECONDS = 10.0
FAREWELL_SECONDS = 5  # to find out after a failure which processes still answer
EXIT_INTERRUPTED = 130  # shells' code for SIGINT
STOPPING = "stopping after this chunk of steps, the first once it is compiled; interrupt again to stop at once"


_boundaries, _barriers = itertools.count(1), itertools.count(1)
_watchdog: "Watchdog | None" = None  # only with several processes
_requested: threading.Event | None = None  # only inside `interruptible`


@contextlib.contextmanager
def cluster(
    launch: Launch, heartbeat_seconds: int = HEARTBEAT_SECONDS, hang_seconds: float = HANG_SECONDS
) -> Iterator[None]:
    """Join the processes of `launch`: inside, `jax.distributed` runs, and signals request a preemption.

    A process that dies or stops answering ends the others: after `heartbeat_seconds` the coordination service ends
    them with its number, and one whose collective fails at once says within `FAREWELL_SECONDS` which process does not
    answer. A process that answers but keeps the others waiting at a collective for `hang_seconds` ends them too.

    SIGTERM, SIGHUP, SIGUSR1 and the first SIGINT request a preemption; a second SIGINT ends the process at once.
    """
    import jax

    _keep_from_proxies(launch.coordinator.rpartition(":")[0] if launch.coordinator else "127.0.0.1")
    if launch.launcher == "alone":
        # A single process has no other to exchange data with through Gloo's sockets.
        jax.config.update("jax_cpu_collectives_implementation", None)
    if launch.launcher == "alone":
        _initialize_alone()
    else:
        environment.divide_cpu(1)
        jax.distributed.initialize(**_initialize_arguments(launch, heartbeat_seconds))
    if jax.process_count() > 1:
        _introduce()
    try:
        with _listening(), _watched(hang_seconds):
            yield
    except Preempted:
        raise
    except BaseException as error:
        if jax.process_count() == 1 or (isinstance(error, UserError) and not _missing()):
            raise  # every process met the same mistake
        _abandon(error)


def _keep_from_proxies(host: str) -> None:
    """gRPC must not send the coordinator's traffic to an HTTP proxy, where it hangs."""
    import jax

    for name in ("no_grpc_proxy", "no_proxy"):  # gRPC reads the first that is set
        os.environ[name] = ",".join(filter(None, (os.environ.get(name), host)))
    jax.config.update("jax_check_proxy_envs", False)


def _initialize_alone() -> None:
    """Give a single process its own coordination service on the loopback address.

    Preemption then works by the same code on one machine and on a thousand. On a laptop that costs 30 ms and 16 idle
    threads.
    """
    import jax

    reuse = getattr(socket, "SO_REUSEPORT", None)  # Windows has none
    with socket.socket() as holder:
        if reuse is not None:  # then the service may listen while this keeps others off the port
            holder.setsockopt(socket.SOL_SOCKET, reuse, 1)
        holder.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{holder.getsockname()[1]}"
        if reuse is None:
            holder.close()
        jax.distributed.initialize(
            coordinator_address=address,
            coordinator_bind_address=address,
            num_processes=1,
            process_id=0,
            cluster_detection_method="deactivate",
            heartbeat_timeout_seconds=ALONE_SECONDS,
        )


def _initialize_arguments(launch: Launch, heartbeat_seconds: int) -> dict[str, Any]:
    """Arguments for `jax.distributed.initialize` of several processes."""
    arguments: dict[str, Any] = {"heartbeat_timeout_seconds": heartbeat_seconds}
    if launch.launcher == "flags":
        arguments |= {
            "coordinator_address": launch.coordinator,
            "num_processes": launch.num_processes,
            "process_id": launch.process_id,
            "cluster_detection_method": "deactivate",
        }
    elif launch.launcher in ("slurm", "ompi"):
        arguments["cluster_detection_method"] = launch.launcher
    return arguments


def _introduce() -> None:
    """Log which process this is; only the primary process logs its progress afterwards."""
    import jax

    logging.info(
        "process %d of %d: %s, pid %d, devices: %d",
        jax.process_index(),
        jax.process_count(),
        socket.gethostname(),
        os.getpid(),
        jax.local_device_count(),
    )
    if not is_primary():
        logging.set_verbosity(logging.WARNING)


def preemption_requested() -> bool:
    """Return whether all processes stop at this call, because a signal reached one of them.

    Every process must call it equally often: the processes agree on a call that none of them has made yet.
    """
    if _requested:
        return _requested.is_set()
    from jax.experimental import multihost_utils

    return multihost_utils.reached_preemption_sync_point(next(_boundaries))


def heartbeat() -> None:
    """Note that this process is about to wait for all others; every process must call it equally often."""
    if _watchdog:
        _watchdog.heartbeat()


def barrier() -> None:
    """Wait for all processes, for longer than a collective can: those of CPUs time out after 30 s."""
    if _watchdog:
        heartbeat()
        _client().wait_at_barrier(f"meeting {next(_barriers)}", MAX_BARRIER_MS)


def is_primary() -> bool:
    """Return whether this process writes the logs, pictures, results and checkpoints."""
    import jax

    return jax.process_index() == 0


def run_on_primary(function: Callable[[], Any]) -> Any:
    """Return what `function()` returns in the primary process, in every process; only the primary process calls it.

    The value must be picklable: numbers, strings, numpy arrays and trees of them. A `UserError` is raised in every
    process, and so is what the file system says about a path or a full disk. All processes must make these calls in the
    same order; each waits for the primary process.
    """
    import jax

    if jax.process_count() == 1:
        return function()
    outcome = b""
    if is_primary():
        try:
            outcome = pickle.dumps((function(), None))
        except UserError as error:
            outcome = pickle.dumps((None, str(error)))
        except OSError as error:
            if (found := files.user_error(error)) is None:
                raise
            outcome = pickle.dumps((None, str(found)))
    barrier()
    value, mistake = pickle.loads(_broadcast(outcome))
    if mistake is not None:
        raise UserError(mistake)
    return value


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Let signals request a preemption of a run that Python started without `cluster`.

    A second Ctrl-C raises KeyboardInterrupt. Outside the main thread, where Python takes no signals, nothing changes.
    """
    global _requested
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _requested = threading.Event()

    def request(number: int, frame: Any) -> None:
        if number == signal.SIGINT and _requested and _requested.is_set():
            raise KeyboardInterrupt
        print(STOPPING, file=sys.stderr, flush=True)
        if _requested:
            _requested.set()

    before = {number: signal.signal(number, request) for number in _stop_signals(signal.SIGTERM)}
    try:
        yield
    finally:
        _requested = None
        _handle_again(before)


def _stop_signals(*more: signal.Signals) -> list[signal.Signals]:
    """SIGINT, `more`, and what terminals and schedulers send, where the system has them and they are not ignored."""
    names = ("SIGINT", "SIGHUP", "SIGUSR1")
    known = [getattr(signal, name) for name in names if hasattr(signal, name)]
    return [number for number in [*known, *more] if signal.getsignal(number) != signal.SIG_IGN]  # as under nohup


@contextlib.contextmanager
def _listening() -> Iterator[None]:
    """Read signals on a thread: Python's own handler has to wait while the main thread compiles or computes.

    Not on Windows, where a process cannot send itself a SIGTERM that anything hears: there Ctrl-C ends it at once.
    """
    if sys.platform == "win32":
        yield
        return
    read, write = socket.socketpair()
    write.setblocking(False)

    def listen() -> None:
        asked = False
        with read:
            while number := read.recv(1):
                if asked and number[0] == signal.SIGINT:
                    os._exit(EXIT_INTERRUPTED)
                if not asked:
                    print(STOPPING, file=sys.stderr, flush=True)
                    os.kill(os.getpid(), signal.SIGTERM)  # which jax.distributed passes to all processes
                asked = True

    before = {number: signal.signal(number, lambda *_: None) for number in _stop_signals()}
    wakeup = signal.set_wakeup_fd(write.fileno(), warn_on_full_buffer=False)
    threading.Thread(target=listen, name="signals", daemon=True).start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(wakeup)
        _handle_again(before)
        write.close()  # ends the thread


def _handle_again(handlers: dict[signal.Signals, Any]) -> None:
    for number, handler in handlers.items():
        signal.signal(number, handler)


@contextlib.contextmanager
def _watched(seconds: float) -> Iterator[None]:
    """End all processes meanwhile when one of them hangs."""
    global _watchdog
    import jax

    if jax.process_count() == 1:
        yield
        return

    def end(message: str) -> None:
        print(f"error: {message}", file=sys.stderr, flush=True)
        os._exit(1)

    _watchdog = Watchdog(_client(), jax.process_index(), seconds)
    stop = _watchdog.watch(end)
    try:
        yield
    finally:
        stop()
        _watchdog = None


class Watchdog:
    """Notices a process that hangs: it falls behind the others although its network threads still answer.

    Counts this process's heartbeats, one before each collective, and compares the count with the others'.

    A slow process is not behind while its peers are busy too; only one that others wait for is.
    """

    def __init__(self, store: Any, process: int, seconds: float, clock: Callable[[], float] = time.monotonic):
        """`store` is `jax.distributed`'s client, `process` this one's number; one behind for `seconds` hangs."""
        self._store, self._process, self._seconds, self._clock = store, process, seconds, clock
        self._heartbeats = 0
        self._behind: dict[tuple[int, int], float] = {}

    def heartbeat(self) -> None:
        """Note that this process is about to wait for the others; every process must call it equally often."""
        self._heartbeats += 1

    def hanging(self) -> list[int]:
        """Publish how far this process came, and return the numbers of the processes that hang."""
        self._store.key_value_set(f"heartbeats/{self._process}", str(self._heartbeats), allow_overwrite=True)
        now = self._clock()
        found = {
            int(name.rpartition("/")[2]): int(count) for name, count in self._store.key_value_dir_get("heartbeats")
        }
        last, furthest = min(found.values()), max(found.values())
        # Since when each has been behind with that count: one that advances starts again.
        self._behind = {
            (process, count): self._behind.get((process, count), now)
            for process, count in found.items()
            if count == last < furthest
        }
        return [process for (process, _), since in self._behind.items() if now - since >= self._seconds]

    def watch(self, end: Callable[[str], None]) -> Callable[[], None]:
        """Look again and again, in a thread of its own, until the function that is returned is called.

        `end(message)` is called when processes hang, and is expected to end this one. One that finds itself hanging
        writes the stack of its main thread to standard error, and gives the others time to report first.
        """
        stopped, pause = threading.Event(), min(self._seconds / LOOKS, MAX_LOOK_SECONDS)

        def look() -> None:
            while not stopped.wait(pause):
                try:
                    hanging = self.hanging()
                except RuntimeError:  # the coordination service is gone, and says so itself
                    return
                if self._process in hanging:
                    frame = sys._current_frames()[threading.main_thread().ident or 0]
                    print("".join(["this process hangs here:\n", *traceback.format_stack(frame)]), file=sys.stderr)
                    stopped.wait(2 * pause)
                if hanging:
                    stopped.wait(2 * pause)  # for the hanging process to report: it ends with the primary process
                    names = ", ".join(map(str, hanging))
                    end(
                        f"process {names} hangs: the others have waited for it for {self._seconds:g} s, "
                        "see --hang_seconds"
                    )

        threading.Thread(target=look, name="watchdog", daemon=True).start()
        return stopped.set


def _client() -> Any:
    """The coordination service's client: its barriers report absent processes, its key-value store is shared by all."""
    from jax._src import distributed  # no public name for either

    return distributed.global_state.client


def _broadcast(content: bytes) -> bytes:
    import numpy as np
    from jax.experimental import multihost_utils

    length = int(multihost_utils.broadcast_one_to_all(np.int32(len(content))))
    # As bytes: a sum of floats with zeros, which a broadcast is, would lose the sign of -0.0.
    padded = np.frombuffer(content.ljust(length, b"\0"), np.uint8)
    return np.asarray(multihost_utils.broadcast_one_to_all(padded), np.uint8).tobytes()


def _missing() -> str:
    """Reason why not all processes still answer; "" when they do."""
    import jax

    try:
        _client().wait_at_barrier("failed", FAREWELL_SECONDS * 1000)
    except jax.errors.JaxRuntimeError as error:
        return _silent_of(str(error))
    return ""


def _silent_of(barrier_error: str) -> str:
    """Return the processes that did not answer, by the two formats in which the service reports it."""
    names = barrier_error.partition("timed out task names:")[2].split("\n\n")[0].split()
    names = names or re.findall(r"Task (\d+) heartbeat timeout", barrier_error)[:1]
    return f"process {', '.join(names)} does not answer" if names else barrier_error.splitlines()[0]


def _abandon(error: BaseException) -> None:
    """End this process now, without the shutdown barrier at which `jax.distributed` would wait for the others."""
    import jax

    if isinstance(error, jax.errors.JaxRuntimeError):
        first_line = str(error).splitlines()[0]
        missing = _missing()
        print(f"error: {missing or 'all processes answer, but a device failed'}: {first_line}", file=sys.stderr)
    elif isinstance(error, UserError):
        print(f"error: {error} (in process {jax.process_index()})", file=sys.stderr)
    else:
        traceback.print_exception(error)
    sys.stderr.flush()
    os._exit(2 if isinstance(error, UserError) else 1)
