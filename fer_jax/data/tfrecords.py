"""TFDS' own files read in any order: where each record of a TFRecord file begins, and the image in it.

A record is its length (8 bytes), a checksum of that (4), the bytes of an Example, and their checksum (4). The checksums
are CRC-32C, which are not looked at: an image that is damaged does not decode, or decodes to other pixels.
"""

from __future__ import annotations

import os
import pathlib
import struct
from collections.abc import Sequence

import numpy as np

from fer_jax.errors import UserError

LENGTH = struct.Struct("<Q")
HEADER_BYTES, FOOTER_BYTES = 12, 4


class Records:
    """Records of a data set's files, by their ids. Read by any number of threads at once."""

    def __init__(self, folder: str | os.PathLike, ids: Sequence[str]):
        """`ids` are TFDS': "train.tfrecord-00000-of-00001__7" is record 7 of that file in `folder`.

        Raises:
          UserError: a file is not there, or holds fewer records.
        """
        names, records = zip(*(one.rpartition("__")[::2] for one in ids), strict=True)
        distinct, self._file = np.unique(names, return_inverse=True)
        self._paths = [pathlib.Path(folder) / name for name in distinct]
        numbers = np.array(records, np.int64)
        self._offset = np.empty(len(ids), np.int64)
        for number, path in enumerate(self._paths):
            here, offsets = self._file == number, offsets_of(path)
            if numbers[here].max() >= len(offsets):
                raise UserError(f"{path}: {len(offsets)} records, expected {numbers[here].max() + 1}: prepare it again")
            self._offset[here] = offsets[numbers[here]]

    def image(self, number: int, key: str) -> bytes:
        """The bytes under `key` of the Example of id `number`; UserError where the record is no Example with it."""
        import tensorflow

        path, offset = self._paths[self._file[number]], int(self._offset[number])
        file = os.open(path, os.O_RDONLY)
        try:
            (length,) = LENGTH.unpack(os.pread(file, LENGTH.size, offset))
            content = os.pread(file, length, offset + HEADER_BYTES)
        finally:
            os.close(file)
        try:
            return tensorflow.train.Example.FromString(content).features.feature[key].bytes_list.value[0]
        except Exception as error:  # protobuf's own kinds, and an IndexError where there is no such feature
            raise UserError(f"{path}: the record at byte {offset} holds no {key}: let TFDS prepare it again") from error


def offsets_of(path: pathlib.Path) -> np.ndarray:
    """int64 (records,): where each record of a file begins; UserError where there is no such file or it is cut off."""
    offsets, place = [], 0
    try:
        size = path.stat().st_size
        with path.open("rb", buffering=0) as file:
            while place < size:
                offsets.append(place)
                (length,) = LENGTH.unpack(os.pread(file.fileno(), LENGTH.size, place))
                place += HEADER_BYTES + length + FOOTER_BYTES
    except (OSError, struct.error) as error:
        raise UserError(f"{path}: not a TFRecord file that can be read ({error}): let TFDS prepare it again") from None
    if place != size:
        raise UserError(f"{path}: cut off in record {len(offsets) - 1}: let TFDS prepare it again")
    return np.array(offsets, np.int64)
