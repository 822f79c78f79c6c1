"""Records of TFRecord files in any order, and files that are none."""

import numpy as np
import pytest

from fer_jax.data import tfrecords
from fer_jax.errors import UserError


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two files with Examples of 5 and 3 images, whose bytes are the file's letter and their number."""
    import tensorflow as tf

    folder = tmp_path_factory.mktemp("records")
    for name, count in (("a", 5), ("b", 3)):
        with tf.io.TFRecordWriter(str(folder / name)) as writer:
            for number in range(count):
                value = tf.train.BytesList(value=[f"{name}{number}".encode() * (number + 1)])
                features = tf.train.Features(feature={"image": tf.train.Feature(bytes_list=value)})
                writer.write(tf.train.Example(features=features).SerializeToString())
    return folder


def test_records_in_any_order(folder):
    records = tfrecords.Records(folder, ["b__2", "a__0", "a__4", "b__0"])
    assert [records.image(i, "image") for i in (3, 1, 0, 2)] == [b"b0", b"a0", b"b2" * 3, b"a4" * 5]
    with pytest.raises(UserError, match=r"a: the record at byte 0 holds no picture: let TFDS prepare it again"):
        records.image(1, "picture")


def test_a_file_that_is_missing_short_or_none(folder, tmp_path):
    with pytest.raises(UserError, match=r"c: not a TFRecord file that can be read \(.*No such file"):
        tfrecords.Records(folder, ["c__0"])
    with pytest.raises(UserError, match=r"b: 3 records, expected 8: prepare it again"):
        tfrecords.Records(folder, ["b__7"])
    whole = (folder / "a").read_bytes()
    for length in (len(whole) - 1, len(whole) - 30, 5):
        (tmp_path / "cut").write_bytes(whole[:length])
        with pytest.raises(UserError, match=r"cut: (cut off in record|not a TFRecord file)"):
            tfrecords.offsets_of(tmp_path / "cut")
    (tmp_path / "empty").write_bytes(b"")
    assert tfrecords.offsets_of(tmp_path / "empty").tolist() == []
    assert len(np.unique(tfrecords.offsets_of(folder / "a"))) == 5
