"""Images that are not all in memory: rows of a mapped array, and files that are decoded when they are asked for.

They stand where an array uint8 (N, H, W, C) stands in `Examples.images`. Indexing gives arrays of the rows that were
asked for, and `numpy.asarray` gives all of them.
"""

import abc
import collections
import os
import pathlib
import types
from collections.abc import Callable, Iterator
from concurrent import futures
from typing import Any, TypeVar, cast

import numpy as np

from fer_jax.errors import UserError
from fer_jax.preprocess import images

SHOWN = 10  # files that an error names
MAX_THREADS = 16

_BYTES_AT_ONCE = 4 << 20  # of images that are read at a time by code that goes through all of them
_T = TypeVar("_T")


class UnreadableError(UserError):
    """Images that cannot be decoded, all that were found; `problems` holds the line of each."""

    def __init__(self, problems: list[str]):
        self.problems = problems
        names = ", ".join(pathlib.PurePath(problem.partition(": ")[0]).name for problem in problems[1:SHOWN])
        more = f" and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
        count = f"; {len(problems) - 1} others cannot be read either: {names}{more}" if len(problems) > 1 else ""
        super().__init__(problems[0] + count)


class Images(abc.ABC):
    """uint8 (N, H, W, C) images, read row by row.

    Attributes:
      shape: (N, H, W, C).
      dtype, ndim: uint8 and 4.
    """

    shape: tuple[int, int, int, int]
    dtype = np.dtype(np.uint8)
    ndim = 4

    @abc.abstractmethod
    def read_into(self, rows: np.ndarray, out: np.ndarray) -> None:
        """Write the images at the places `rows` (int), in that order, into `out`, uint8 (len(rows), H, W, C)."""

    def read(self, rows: np.ndarray) -> np.ndarray:
        """uint8 (len(rows), H, W, C): the images at the places `rows` (int), in that order."""
        out = np.empty((len(rows), *self.shape[1:]), np.uint8)
        self.read_into(rows, out)
        return out

    @property
    def nbytes(self) -> int:
        """Bytes of all images."""
        return int(np.prod(self.shape, dtype=np.int64))

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> np.ndarray:
        if isinstance(key, tuple):
            if key and isinstance(key[0], (slice, list, np.ndarray)):
                return self[key[0]][(slice(None), *key[1:])]
            if key and isinstance(key[0], (int, np.integer)):
                return self[key[0]][key[1:]]
            return np.asarray(self)[key]
        if isinstance(key, (int, np.integer)):
            return self.read(np.arange(len(self))[[int(key)]])[0]
        rows = np.arange(len(self))[key]
        return self.read(rows.ravel()).reshape(*rows.shape, *self.shape[1:])

    def __iter__(self) -> Iterator[np.ndarray]:
        for start, stop in blocks(self.shape):
            yield from self[start:stop]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError("images that are read on demand are always copied")
        return self.read(np.arange(len(self))).astype(dtype or np.uint8, copy=False)


class Selection(Images):
    """Some rows of other images, in any order, without a copy of their pixels.

    Attributes:
      source: the images that rows are taken of, an array (which may be mapped) or `Images`.
      rows: int64 (N,), places in `source`.
    """

    def __init__(self, source: np.ndarray | Images, rows: np.ndarray):
        self.source, self.rows = source, rows
        self.shape = (len(rows), *source.shape[1:])  # type: ignore[assignment]

    def read_into(self, rows: np.ndarray, out: np.ndarray) -> None:
        """See `Images`."""
        gather(cast(np.ndarray, self.source), self.rows[rows], out)

    def read(self, rows: np.ndarray) -> np.ndarray:
        """See `Images`; a view of the source where the rows follow one another."""
        wanted = self.rows[rows]
        if isinstance(self.source, np.ndarray) and len(wanted) and (np.diff(wanted) == 1).all():
            return self.source[wanted[0] : wanted[-1] + 1]
        return super().read(rows)


class Decoded(Images):
    """Images that are decoded and fitted whenever they are read, such as those of files."""

    def __init__(self, count: int, decode: Callable[[int], np.ndarray], input: images.Geometry):
        """Nothing is read yet.

        Args:
          count: how many there are.
          decode: gives image number i, uint8 of any size as `preprocess.images.fit` takes it; called by several
            threads at once. Its UserError begins with the file's name and a colon.
          input: what the images are fitted to.
        """
        self.shape = (count, input.size, input.size, input.channels)
        # looking a value up in a config takes as long as a tenth of a small JPEG file
        self._decode = decode
        self._input: Any = types.SimpleNamespace(size=input.size, channels=input.channels, resize=input.resize)

    def read_into(self, rows: np.ndarray, out: np.ndarray) -> None:
        """See `Images`; UnreadableError for those that cannot be decoded, after all of `rows` were tried.

        Several threads are faster with an `out` of their own than with new memory each time: of new memory the system
        has to find and clear each page, for one thread of a process at a time.
        """
        problems = []
        for place, number in enumerate(rows):
            try:
                out[place] = images.fit(self._decode(int(number)), self._input)
            except UnreadableError as error:
                problems += error.problems
            except UserError as error:
                problems.append(str(error))
        if problems:
            raise UnreadableError(problems)


def of_files(paths: Any, input: images.Geometry) -> np.ndarray:
    """The image files `paths` as `Decoded`, typed as the array it stands for."""
    return cast(np.ndarray, Decoded(len(paths), lambda number: images.read(paths[number]), input))


def take(source: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """The rows of an array or of `Images` at `indices` (integers, or bool (N,)) without a copy: a `Selection`."""
    rows = np.arange(len(source))[indices]
    if isinstance(source, Selection):
        source, rows = source.source, source.rows[rows]  # type: ignore[assignment]
    return cast(np.ndarray, Selection(source, rows))


def gather(source: np.ndarray, rows: np.ndarray, out: np.ndarray) -> None:
    """Copy the images at `rows` (int (N,)) of an array or of `Images` into `out`, uint8 (N, H, W, C).

    Of arrays, mapped ones too, without Python's lock: several threads read at once.
    """
    if isinstance(source, Images):
        source.read_into(rows, out)
    else:
        np.take(source, rows, axis=0, out=out, mode="clip")  # other modes copy `out`


def map_blocks(source: np.ndarray, work: Callable[[np.ndarray], _T]) -> Iterator[_T]:
    """`work(block)` of consecutive rows of an array or of `Images`, in order; all cores read and work a little ahead.

    Raises:
      UnreadableError: after the last block, with all images that cannot be decoded.
    """
    problems: list[str] = []
    waiting: collections.deque[futures.Future[_T]] = collections.deque()
    pool = futures.ThreadPoolExecutor(threads(), "read")

    def results(left: int) -> Iterator[_T]:
        while len(waiting) > left:
            try:
                yield waiting.popleft().result()
            except UnreadableError as error:
                problems.extend(error.problems)

    try:
        for start, stop in blocks(source.shape):
            waiting.append(pool.submit(lambda rows: work(source[rows]), slice(start, stop)))
            yield from results(2 * threads())
        yield from results(0)
    finally:
        pool.shutdown(cancel_futures=True)
    if problems:
        raise UnreadableError(problems)


def threads() -> int:
    """Number of threads that read images side by side: one for each core of this process, at most `MAX_THREADS`."""
    allowed = getattr(os, "sched_getaffinity", None)  # Linux alone says which cores a process may use
    cores = len(allowed(0)) if allowed else os.cpu_count() or 1
    return min(MAX_THREADS, cores)


def blocks(shape: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    """(start, stop) of consecutive rows of an array of `shape`, a few megabytes of bytes together."""
    step = max(1, _BYTES_AT_ONCE // max(1, int(np.prod(shape[1:], dtype=np.int64))))
    for start in range(0, shape[0], step):
        yield start, min(start + step, shape[0])
