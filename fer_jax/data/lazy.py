"""Images that are not all in memory: rows of a mapped array, and files that are decoded when they are asked for.

They stand where an array uint8 (N, H, W, C) stands in `Examples.images`. Indexing gives arrays of the rows that were
asked for, and `numpy.asarray` gives all of them.
"""

from __future__ import annotations

import abc
import dataclasses
import os
import pathlib
from collections.abc import Callable, Iterator
from typing import Any, cast

import numpy as np

from fer_jax.errors import UserError
from fer_jax.preprocess import images

SHOWN = 10  # files that an error names
MAX_THREADS = 16

_BYTES_AT_ONCE = 4 << 20  # of images that are read at a time by code that goes through all of them


class UnreadableError(UserError):
    """Images that cannot be had, all that were found; `problems` holds the line of each."""

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
    def read(self, rows: np.ndarray) -> np.ndarray:
        """uint8 (len(rows), H, W, C): the images at the places `rows` (int), in that order."""

    def read_into(self, rows: np.ndarray, out: np.ndarray) -> None:
        """`read` into `out`, uint8 (len(rows), H, W, C)."""
        out[...] = self.read(rows)

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

    def __eq__(self, other: object) -> Any:
        return np.asarray(self) == np.asarray(other)

    def __ne__(self, other: object) -> Any:
        return np.asarray(self) != np.asarray(other)

    __hash__ = None  # type: ignore[assignment]

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

    def read(self, rows: np.ndarray) -> np.ndarray:
        """See `Images`; a view of the source where the rows follow one another."""
        wanted = self.rows[rows]
        if not len(wanted):
            return np.empty((0, *self.shape[1:]), np.uint8)
        if isinstance(self.source, Images):
            return self.source.read(wanted)
        if len(wanted) == wanted[-1] - wanted[0] + 1 and (np.diff(wanted) == 1).all():
            return self.source[wanted[0] : wanted[-1] + 1]
        return np.take(self.source, wanted, axis=0)


@dataclasses.dataclass(frozen=True)
class _Geometry:
    """What images are fitted to: looking a value up in a config takes as long as a tenth of a small JPEG file."""

    size: int
    channels: int
    resize: str

    @classmethod
    def of(cls, input: images.Geometry) -> _Geometry:
        return cls(input.size, input.channels, input.resize)


class Decoded(Images):
    """Images that are decoded and fitted whenever they are read, such as those of files.

    Attributes:
      digests: uint64 (N,), a hash of each image where somebody keeps them, see `fer_jax.data.identity`; else None.
    """

    digests: np.ndarray | None = None

    def __init__(self, count: int, decode: Callable[[int], np.ndarray], input: images.Geometry):
        """Nothing is read yet.

        Args:
          count: how many there are.
          decode: gives image number i, uint8 of any size as `preprocess.images.fit` takes it; called by several
            threads at once. Its UserError begins with the file's name and a colon.
          input: what the images are fitted to.
        """
        self.shape = (count, input.size, input.size, input.channels)
        self._decode, self._input = decode, _Geometry.of(input)

    def read(self, rows: np.ndarray) -> np.ndarray:
        """See `Images`; UnreadableError for those that cannot be decoded, after all of `rows` were tried."""
        fitted = np.empty((len(rows), *self.shape[1:]), np.uint8)
        self.read_into(rows, fitted)
        return fitted

    def read_into(self, rows: np.ndarray, out: np.ndarray) -> None:
        """See `read`. Several threads are faster with an `out` of their own than with new memory each time.

        Of new memory the system has to find and clear each page, for one thread of a process at a time.
        """
        _fit([int(number) for number in rows], self._decode, self._input, out)


class Streamed(Images):
    """Images that come one after the other, and are read in that order: going back begins anew."""

    def __init__(
        self,
        count: int,
        stream: Callable[[], Iterator[Any]],
        decode: Callable[[Any], np.ndarray],
        input: images.Geometry,
    ):
        """Nothing is read yet.

        Args:
          count: how many there are.
          stream: gives all of them in order, as they are stored; one thread reads it.
          decode: makes of one of them uint8 of any size as `preprocess.images.fit` takes it; called by several threads
            at once. Its UserError begins with the file's name and a colon.
          input: what the images are fitted to.
        """
        self.shape = (count, input.size, input.size, input.channels)
        self._stream, self._decode, self._input = stream, decode, _Geometry.of(input)
        self._running, self._next = stream(), 0

    def read(self, rows: np.ndarray) -> np.ndarray:
        """See `Images`; one thread at a time."""
        fitted = np.empty((len(rows), *self.shape[1:]), np.uint8)
        self.fit_into(self.stored(rows), fitted)
        return fitted

    def stored(self, rows: np.ndarray) -> list[Any]:
        """What the stream gives for the places `rows`, not decoded yet; one thread at a time."""
        found = []
        for number in rows:
            if number < self._next:
                self._running, self._next = self._stream(), 0
            for _ in range(int(number) - self._next):
                next(self._running)
            found.append(next(self._running))
            self._next = int(number) + 1
        return found

    def fit_into(self, stored: list[Any], out: np.ndarray) -> None:
        """Decode what `stored` gave into `out`, by any number of threads; UnreadableError as of `Decoded`."""
        _fit(stored, self._decode, self._input, out)


def _fit(stored: list[Any], decode: Callable[[Any], np.ndarray], input: _Geometry, out: np.ndarray) -> None:
    problems = []
    for row, one in zip(out, stored, strict=True):
        try:
            row[...] = images.fit(decode(one), input)
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
        return cast(np.ndarray, Selection(source.source, source.rows[rows]))
    return cast(np.ndarray, Selection(source, rows))


def gather(source: np.ndarray, rows: np.ndarray, out: np.ndarray) -> None:
    """Copy the images at `rows` (int (N,)) of an array or of `Images` into `out`, uint8 (N, H, W, C).

    Of arrays, mapped ones too, without Python's lock: several threads read at once.
    """
    if isinstance(source, Selection):
        source, rows = source.source, source.rows[rows]  # type: ignore[assignment]
    if isinstance(source, Images):
        source.read_into(rows, out)
    else:
        np.take(source, rows, axis=0, out=out, mode="clip")  # other modes copy `out`


def reading_threads() -> int:
    """How many threads read images side by side: one for each core, at most `MAX_THREADS`."""
    return min(MAX_THREADS, len(os.sched_getaffinity(0)))


def equal(first: np.ndarray, second: np.ndarray) -> bool:
    """Whether two arrays or `Images` hold the same images, compared block by block."""
    return first.shape == second.shape and all(
        np.array_equal(first[start:stop], second[start:stop]) for start, stop in blocks(first.shape)
    )


def blocks(shape: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    """(start, stop) of consecutive rows of an array of `shape`, a few megabytes of bytes together."""
    step = rows_of_block(shape)
    for start in range(0, shape[0], step):
        yield start, min(start + step, shape[0])


def rows_of_block(shape: tuple[int, ...]) -> int:
    """Rows that are read, checked and written together."""
    return max(1, _BYTES_AT_ONCE // max(1, int(np.prod(shape[1:], dtype=np.int64))))
