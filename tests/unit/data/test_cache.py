"""What a source read comes back from disk as it was, or is read again."""

import dataclasses
import errno
import os
import pathlib
import socket
import threading

import filelock
import numpy as np
import pytest

from fer_jax.data import cache, identity, lazy
from fer_jax.data.examples import Examples
from fer_jax.data.sources import fer2013
from fer_jax.errors import UserError
from tests import datasets
from tests.conftest import run_python


@pytest.fixture
def config(tmp_path):
    pixels = " ".join(str(i % 256) for i in range(48 * 48))
    path = tmp_path / "fer2013.csv"
    path.write_text(f"emotion,pixels,Usage\n0,{pixels},Training\n6,{pixels},PublicTest\n", encoding="utf-8")
    config = datasets.config_of("fer2013", path)
    config.data.cache_dir = str(tmp_path / "cache")
    return config


def read(config):
    return cache.read(config.data, config.input)


def same(first, second):
    """Whether two records are equal but for the digests, which a cache adds."""
    first, second = (dataclasses.replace(one, digests=None) for one in (first, second))
    return all(
        type(first_value) is type(second_value)
        and np.array_equal(first_value, second_value)
        and getattr(first_value, "dtype", None) == getattr(second_value, "dtype", None)
        for first_value, second_value in zip(vars(first).values(), vars(second).values(), strict=True)
    )


def test_the_second_reading_is_the_first_without_the_source(config, monkeypatch):
    first = read(config)
    monkeypatch.setattr(fer2013, "read", None)
    assert same(first, read(config))
    path = cache.path_of(config.data, config.input)
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("optional", [True, False])
def test_every_field_comes_back(config, monkeypatch, optional):
    examples = Examples(
        images=np.arange(24, dtype=np.uint8).reshape(2, 2, 2, 3),
        labels=np.array([1, 0], np.int32),
        split=np.array(["train", "t"]),
        label_names=("angry", "fröhlich"),
        description="two faces",
        **{"subjects": np.array(["S1", "S002"]), "votes": np.eye(2, dtype=np.float32)} if optional else {},
    )
    monkeypatch.setattr(fer2013, "read", lambda data, input: examples)
    read(config)
    monkeypatch.setattr(fer2013, "read", None)
    assert same(examples, read(config))
    np.testing.assert_array_equal(read(config).digests, identity.digests(examples))


def lengthen(config, monkeypatch):
    path = pathlib.Path(config.data.path)
    stat = path.stat()
    path.write_text(path.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


@pytest.mark.parametrize(
    "change",
    [
        lambda config, patch: os.utime(config.data.path, ns=(1, 1)),
        lengthen,
        lambda config, patch: config.input.update(size=64),
        lambda config, patch: config.input.update(channels=3),
        lambda config, patch: config.input.update(resize="linear"),
        lambda config, patch: patch.setattr(fer2013, "VERSION", fer2013.VERSION + 1),
        lambda config, patch: patch.setattr(cache, "FORMAT", cache.FORMAT + 1),
    ],
)
def test_another_file_geometry_or_parser_is_another_entry(config, monkeypatch, change):
    before = cache.path_of(config.data, config.input)
    assert cache.path_of(config.data, config.input) == before
    change(config, monkeypatch)
    assert cache.path_of(config.data, config.input) != before


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("jaffe", lambda path, people: datasets.write_jaffe(path, people, size=16)),
        ("ckplus", lambda path, people: datasets.write_ckplus(path, people=people, size=16)),
        ("folder", lambda path, people: datasets.write_folder(path, counts={"": people}, size=16)),
    ],
)
def test_more_images_are_another_entry(name, write, tmp_path):
    config = datasets.config_of(name, write(tmp_path / "data", 1), 16)
    before = cache.path_of(config.data, config.input)
    assert cache.path_of(config.data, config.input) == before
    write(tmp_path / "data", 2)
    assert cache.path_of(config.data, config.input) != before


@pytest.mark.parametrize("name", ["images.npy", "labels.npy", "manifest.json"])
@pytest.mark.parametrize("damage", ["empty", "cut", "foreign", "missing"])
def test_a_damaged_cache_is_said_and_made_anew(config, caplog, name, damage):
    first = read(config)
    folder = cache.path_of(config.data, config.input)
    path = folder / name
    whole = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        wrong = {"empty": b"", "cut": whole[:-20], "foreign": b"x" * 5000}[damage]
        replaced = path.with_suffix(".tmp")  # a new file, as `first` still shows the old one
        replaced.write_bytes(wrong)
        replaced.replace(path)
    assert same(first, read(config))
    assert "is damaged" in caplog.text
    assert [entry.name for entry in folder.parent.iterdir()] == [folder.name]
    caplog.clear()
    assert same(first, read(config))
    assert "is damaged" not in caplog.text


def test_what_another_version_keeps_stays_beside_it(config, monkeypatch, caplog):
    first = read(config)
    with monkeypatch.context() as older:
        older.setattr(cache, "FORMAT", cache.FORMAT - 1)
        read(config)
    old = cache.path_of(config.data, config.input).with_suffix(".npz")
    old.write_bytes(b"PK")
    assert same(first, read(config))
    assert len(list(pathlib.Path(config.data.cache_dir).iterdir())) == 3
    assert "is damaged" not in caplog.text


def test_images_are_mapped_and_selections_copy_none(config):
    examples = read(config)
    assert isinstance(examples.images.base, np.memmap) and not examples.images.flags.writeable
    training = examples.of_split("Training")
    assert training.images.source is examples.images
    assert np.shares_memory(training.images[:], examples.images)


def test_without_a_place_to_write_the_data_is_used_all_the_same_unless_it_is_too_large(
    config, tmp_path, monkeypatch, caplog
):
    (tmp_path / "file").touch()
    config.data.cache_dir = str(tmp_path / "file")
    assert len(read(config)) == 2
    assert "set config.data.cache_dir" in caplog.text
    monkeypatch.setattr(cache, "MAX_BYTES_IN_MEMORY", 1000)
    with pytest.raises(UserError, match=r"cannot keep the data as .*: make room, or set config\.data\.cache_dir"):
        read(config)


def test_the_default_folder_is_the_users_cache(monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert cache.folder("") == pathlib.Path("/somewhere/fer_jax")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache.folder("") == pathlib.Path.home() / ".cache" / "fer_jax"
    assert cache.folder("~/x") == pathlib.Path.home() / "x"


def test_a_full_disk_is_known_before_anything_is_decoded(config, monkeypatch, caplog):
    monkeypatch.setattr(cache, "SPARE_BYTES", 1 << 60)
    assert len(read(config)) == 2
    assert "are needed and" in caplog.text or "No space" in caplog.text
    assert list(pathlib.Path(config.data.cache_dir).iterdir()) == []


def test_without_a_cache_files_are_decoded_when_they_are_asked_for(tmp_path):
    config = datasets.config_of("folder", datasets.write_folder(tmp_path / "faces", counts={"": 6}, size=16), 12)
    config.data.cache_dir = str(tmp_path / "cache")
    kept = read(config)
    config.data.cache = False
    found = read(config)
    assert isinstance(found.images, lazy.Decoded)
    np.testing.assert_array_equal(found.images, kept.images)
    np.testing.assert_array_equal(found.digests, kept.digests)
    part = found.take(np.arange(len(found)) % 2 == 1)
    np.testing.assert_array_equal(part.digests, kept.digests[1::2])
    assert not (cache.path_of(config.data, config.input) / cache.IMAGES).exists()
    again = read(config)
    assert isinstance(again.images, lazy.Decoded) and same(again, found)
    victim = sorted((tmp_path / "faces").rglob("*.png"))[2]
    victim.write_bytes(b"broken")
    with pytest.raises(lazy.UnreadableError, match=f"{victim.name}: not an image"):
        read(config)


def test_a_disk_that_fills_up_leaves_what_was_there_before(config, monkeypatch, caplog):
    before, folder = read(config), cache.path_of(config.data, config.input)
    (folder / cache.MANIFEST).unlink()  # damaged: it is made anew

    def full(path, images):
        path.write_bytes(b"begun")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(cache, "_write_images", full)
    assert same(read(config), before)
    assert "No space left on device" in caplog.text
    assert [entry.name for entry in folder.parent.iterdir()] == [folder.name]
    assert (folder / cache.IMAGES).stat().st_size > 2 * 48 * 48


def test_a_second_process_waits_for_the_first(config, monkeypatch, caplog):
    path, order = cache.path_of(config.data, config.input), []
    path.parent.mkdir()
    waits, plain = threading.Event(), filelock.FileLock.acquire

    def acquire(self, *args, **kwargs):
        if kwargs.get("timeout") != 0:
            waits.set()
        return plain(self, *args, **kwargs)

    monkeypatch.setattr(filelock.FileLock, "acquire", acquire)
    second = threading.Thread(target=lambda: order.append(("second", len(read(config)))))
    with cache._locked(path):
        second.start()
        assert waits.wait(30)
        cache._write(path, fer2013.read(config.data, config.input), True)
        order.append("first")
    second.join()
    assert order == ["first", ("second", 2)]
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_no_hindrance(config, monkeypatch, number):
    def refuse(file, operation):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.flock", refuse)
    assert len(read(config)) == 2
    assert cache.path_of(config.data, config.input).is_dir()


def test_what_a_killed_process_left_is_removed(config):
    path = cache.path_of(config.data, config.input)
    killed = run_python("-c", "import os, sys; print(os.getpid())")
    host = socket.gethostname().partition(".")[0]
    left = path.with_name(f".{path.name}.{host}-{int(killed.stdout)}.tmp")
    left.mkdir(parents=True)
    (left / cache.IMAGES).write_bytes(b"begun")
    read(config)
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]
