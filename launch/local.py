"""Several processes on this machine: python launch/local.py --processes=2 -- --config=xception

Change: --processes to the number of GPUs, each process then has one; or add --cpu_devices=2 to try a run of several
processes without GPUs. What stands behind -- goes to fer_jax.main.

The output is merged, each line prefixed with its process's number. SIGTERM and SIGINT are passed on to all. When a
process fails the others are ended, and the exit code is that of the first that failed: 75 when the run was preempted,
128 + n for one that signal n ended.
"""

from __future__ import annotations

import argparse
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import IO

GRACE_SECONDS = 15  # for the others to report what they miss, after the first has failed


def main() -> int:
    """Start the processes, merge their output, wait for them; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, required=True)
    parser.add_argument("--cpu_devices", type=int, default=0, help="CPU devices of each process, in place of a GPU")
    parser.add_argument("flags", nargs="+", help="flags of fer_jax.main, after --")
    options = parser.parse_args()

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        coordinator = f"127.0.0.1:{probe.getsockname()[1]}"
    ended = queue.SimpleQueue()
    processes = [_start(number, coordinator, options, ended) for number in range(options.processes)]
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: _send(processes, number))
    return _wait(processes, ended)


def _start(number: int, coordinator: str, options: argparse.Namespace, ended: queue.SimpleQueue) -> subprocess.Popen:
    device = {"CUDA_VISIBLE_DEVICES": str(number)}
    if options.cpu_devices:
        device = {"JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": str(options.cpu_devices)}
    process = subprocess.Popen(
        [
            sys.executable,
            "-u",
            "-m",
            "fer_jax.main",
            f"--coordinator={coordinator}",
            f"--num-processes={options.processes}",
            f"--process-id={number}",
            *options.flags,
        ],
        env=os.environ | device,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,  # a Ctrl-C of the terminal reaches it through this process only
    )
    threading.Thread(target=_copy, args=(number, process.stdout, ended), daemon=True).start()
    return process


def _send(processes: Sequence[subprocess.Popen], number: int) -> None:
    for process in processes:
        if process.poll() is None:
            process.send_signal(number)


def _wait(processes: Sequence[subprocess.Popen], ended: queue.SimpleQueue) -> int:
    """The exit code of the first process that fails, or 0; the others have `GRACE_SECONDS` to end after it."""
    exit_code = 0
    for _ in processes:
        try:
            number = ended.get(timeout=GRACE_SECONDS if exit_code else None)
        except queue.Empty:
            print(f"the others have not ended within {GRACE_SECONDS} s: killing them", flush=True)
            for process in processes:
                process.kill()
            continue
        code = processes[number].wait()
        if code and not exit_code:
            how = f"signal {-code} ({signal.Signals(-code).name})" if code < 0 else f"exit code {code}"
            print(f"process {number} of {len(processes)} ended with {how}; ending the others", flush=True)
            exit_code = 128 - code if code < 0 else code
    return exit_code


def _copy(number: int, lines: IO[str], ended: queue.SimpleQueue) -> None:
    for line in lines:
        print(f"[{number}] {line}", end="", flush=True)
    ended.put(number)


if __name__ == "__main__":
    sys.exit(main())
