"""Notices a process that hangs: it falls behind the others although its network threads still answer."""

import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any

LOOKS = 10  # within the time after which a process counts as hanging
MAX_LOOK_SECONDS = 10.0


class Watchdog:
    """Counts this process's heartbeats, one before each collective, and compares the count with the others'.

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
