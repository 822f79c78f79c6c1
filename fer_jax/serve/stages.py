"""Work that overlaps: an iterator that runs in a thread of its own, a few items ahead of its consumer."""

from __future__ import annotations

import collections
import threading
from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Stage(Iterator[Item], Generic[Item]):
    """Runs `items` in a thread. OpenCV, FFmpeg and ONNX Runtime release the interpreter lock: stages run in parallel.

    An exception of `items` is raised here, after all items before it.
    """

    def __init__(self, items: Iterable[Item], depth: int = 2, drop: bool = False):
        """Args:
        items: what to iterate over.
        depth: maximum number of items that wait; it bounds the memory.
        drop: when that many wait, drop the oldest instead of waiting, so that a live source is never late.
        """
        self._items = items
        self._depth = depth
        self._drop = drop
        self._waiting: collections.deque[Item] = collections.deque()
        self._changed = threading.Condition()
        self._error: BaseException | None = None
        self._ended = self._closed = False
        self._thread = threading.Thread(target=self._work, daemon=True, name=type(items).__name__)
        self._thread.start()

    def __next__(self) -> Item:
        while True:
            item = self.take(timeout=None)
            if item is not None:
                return item

    def take(self, timeout: float | None) -> Item | None:
        """The next item, or None when there is none within `timeout` seconds.

        Raises:
          StopIteration: after the last item, and after `close`.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._ended or self._closed, timeout)
            if self._closed:
                raise StopIteration
            if self._waiting:
                item = self._waiting.popleft()
                self._changed.notify_all()
                return item
            if self._error:
                raise self._error
            if self._ended:
                raise StopIteration
            return None

    def close(self) -> None:
        """Stop. Waits up to a second for the thread, which may be in a camera's driver."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join(timeout=1.0)

    def _work(self) -> None:
        try:
            for item in self._items:
                with self._changed:
                    if self._drop and len(self._waiting) == self._depth:
                        self._waiting.popleft()
                    self._changed.wait_for(lambda: len(self._waiting) < self._depth or self._closed)
                    if self._closed:
                        break
                    self._waiting.append(item)
                    self._changed.notify_all()
        except BaseException as error:  # raised again in the consumer
            self._error = error
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify_all()
