"""The commands in a process in which this package finds nothing of `os`, `signal` and the like that Windows lacks."""

import signal
import subprocess
import sys
import urllib.request

import cv2
import numpy as np
import pytest

from tests.integration.conftest import REPOSITORY

# By who asks: libraries, which are built for this platform, find what they need.
PREAMBLE = """
import builtins, os, runpy, signal, socket, sys, time, types

LACKING = {
    os: "fork forkpty getuid geteuid getgid getpgid getpgrp setsid killpg sched_getaffinity sched_setaffinity mkfifo "
    "mknod major minor getloadavg nice openpty posix_fadvise posix_fallocate sysconf uname wait wait4 WNOHANG statvfs "
    "chown fchmod getxattr setxattr pread pwrite confstr O_NOFOLLOW O_NONBLOCK",
    signal: "SIGHUP SIGUSR1 SIGUSR2 SIGPIPE SIGKILL SIGALRM SIGQUIT SIGCHLD SIGTSTP SIGCONT SIGWINCH SIGSTOP setitimer "
    "alarm pause sigwait pthread_kill pthread_sigmask",
    socket: "AF_UNIX SO_REUSEPORT",
    time: "tzset",
}
MODULES = {"fcntl", "pwd", "grp", "resource", "termios", "tty", "pty", "syslog"}


def ours(name):
    return (name or "").split(".")[0] in {"fer_jax", "tools", "configs", "__main__"}


def take_away(module, names):
    class Guarded(types.ModuleType):
        def __getattribute__(self, name):
            if name in names and ours(sys._getframe(1).f_globals.get("__name__")):
                raise AttributeError(f"module {module.__name__!r} has no attribute {name!r}")
            return super().__getattribute__(name)

    module.__class__ = Guarded


def without_modules(name, globals=None, *args, original=builtins.__import__, **kwargs):
    if name in MODULES and ours((globals or {}).get("__name__")):
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    return original(name, globals, *args, **kwargs)


for module, names in LACKING.items():
    take_away(module, frozenset(names.split()))
builtins.__import__ = without_modules
sys.argv = sys.argv[1:]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""


@pytest.fixture
def start(tmp_path, user_environment):
    def start(*arguments):
        return subprocess.Popen(
            [sys.executable, "-c", PREAMBLE, *map(str, arguments)],
            cwd=REPOSITORY,
            env=user_environment | {"PYTHONPATH": str(REPOSITORY)},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )

    return start


@pytest.fixture
def picture(tmp_path):
    cv2.imwrite(str(tmp_path / "gray.png"), np.full((64, 64, 3), 128, np.uint8))
    return tmp_path / "gray.png"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("tools.analyze", "{picture}", "--detector=none"), "expression"),
        (("tools.webcam", "--source={picture}", "--headless", "--detector=none"), "1 frame"),
        (("tools.info",), "fer_jax"),
    ],
)
def test_a_command_needs_nothing_that_windows_lacks(start, picture, arguments, said):
    command = start(*(argument.format(picture=picture) for argument in arguments))
    out, errors = command.communicate()
    assert command.returncode == 0, errors
    assert said in out + errors


def test_the_page_needs_nothing_that_windows_lacks(start):
    page = start("tools.web", "--port=0")
    address = page.stdout.readline().partition(" ")[0]
    assert address, page.stderr.read()
    assert b"<html" in urllib.request.urlopen(address).read()
    page.send_signal(signal.SIGINT)
    _, errors = page.communicate()
    assert "Traceback" not in errors


def test_training_needs_nothing_that_windows_lacks(start, tmp_path):
    command = start(
        "fer_jax.main",
        "--config=configs/default.py",
        "--config.data.source=synthetic",
        "--config.data.args.examples=70",
        f"--config.data.cache_dir={tmp_path}/cache",
        "--config.input.size=16",
        "--config.model.args={'block_features': (8,)}",
        "--config.batch_size=8",
        "--config.epochs=1",
        f"--workdir={tmp_path}/run",
    )
    _, errors = command.communicate()
    assert command.returncode == 0, errors
    assert (tmp_path / "run" / "result.json").exists()
