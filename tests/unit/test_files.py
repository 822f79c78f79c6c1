"""Files appear whole or not at all; paths and disk errors become one line."""

import contextlib
import errno
import json
import pathlib
import tempfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fer_jax import files
from fer_jax.errors import UserError


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    target = tmp_path / ("x" * 255)  # the longest name
    files.write_json(target, {"old": 1})
    with pytest.raises(OSError, match="No space left") as caught, files.atomic_path(target) as tmp:
        tmp.write_text("half", encoding="utf-8")
        raise OSError(errno.ENOSPC, "No space left on device")
    assert str(files.user_error(caught.value)).startswith(f"{target}: No space left on device: free space")
    assert json.loads(target.read_text(encoding="utf-8")) == {"old": 1}
    assert list(tmp_path.iterdir()) == [target]
    target.write_bytes(b"abc")
    assert files.sha256(target) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_a_folder_replaces_a_folder(tmp_path):
    target = tmp_path / "bundle"
    for content in ("one", "two"):
        with files.atomic_path(target) as tmp:
            tmp.mkdir()
            (tmp / content).write_text(content, encoding="utf-8")
    assert [p.name for p in target.iterdir()] == ["two"]
    assert list(tmp_path.iterdir()) == [target]


def test_the_home_folder_is_expanded(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert files.expand("~/runs") == tmp_path / "runs"
    assert files.expand("~no-such-account/x") == pathlib.Path("~no-such-account/x")
    assert files.expand("a/~") == pathlib.Path("a/~")


def test_without_a_home_folder(monkeypatch):
    monkeypatch.delenv("HOME")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr("pwd.getpwuid", lambda uid: {}[uid])
    with pytest.raises(UserError, match="~/x: no home folder is known here: set HOME"):
        files.expand("~/x")
    assert files.user_cache().is_relative_to(tempfile.gettempdir())


@given(st.text(st.characters(exclude_characters="\0"), max_size=30))
def test_any_name_is_a_path_or_one_line(name):
    with contextlib.suppress(UserError):
        files.expand(name).as_posix().encode()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(st.text(st.characters(exclude_characters="\0/"), min_size=1, max_size=90), st.booleans())
def test_any_output_can_be_written_once_it_was_tried(tmp_path, name, folder):
    before = sorted(tmp_path.rglob("*"))
    try:
        path = files.check_output(tmp_path / "out" / name, folder=folder)
    except UserError:
        return
    assert sorted(tmp_path.rglob("*")) == before, "something is left behind"
    if not folder:
        files.write_json(path, {})
        path.unlink()
        path.parent.rmdir()


@pytest.mark.parametrize(
    ("name", "folder", "message"),
    [
        ("file", True, r"file is a file, expected a folder"),
        ("file/below", True, r"file/below: cannot be written \(Not a directory\)"),
        ("folder", False, r"folder is a folder, expected a file"),
        ("nowhere/..", False, r"nowhere/.. is a folder, expected a file"),
        ("broken", True, r"broken: a link to .*nowhere, which does not exist"),
        ("loop/x", False, r"loop/x: cannot be written"),
        ("x" * 300, False, r"a name of 300 bytes, expected at most 255"),
        ("/proc/x/y", True, r"/proc/x/y: cannot be written"),
    ],
)
def test_what_cannot_be_written_is_said_before_the_work(tmp_path, name, folder, message):
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "broken").symlink_to(tmp_path / "nowhere")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(UserError, match=message):
        files.check_output(tmp_path / name, folder=folder)


def test_a_short_write_of_numpy_is_a_full_disk(tmp_path):
    with pytest.raises(OSError, match="requested") as caught, files.atomic_path(tmp_path / "a.npy"):
        raise OSError("24 requested and 0 written")
    assert str(files.user_error(caught.value)).startswith(f"{tmp_path}/a.npy: 24 requested and 0 written: free space")


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b'{"a": \xff}', b"\x1f\x8b", b"null", b"[" * 5000])
def test_damaged_json_is_one_line(tmp_path, content):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(UserError, match=r"a.json: .*a result.*: run it again"):
        files.read_json(tmp_path / "a.json", "a result", "run it again")


def test_json_with_a_byte_order_mark_is_read(tmp_path):
    (tmp_path / "a.json").write_bytes(b'\xef\xbb\xbf{"\xc3\xa9": 1}')
    assert files.read_json(tmp_path / "a.json", "a result", "run it again") == {"é": 1}


def test_damaged_npz_is_one_line(tmp_path):
    path = tmp_path / "splits.npz"
    np.savez_compressed(path, read=np.arange(1000) % 7, trained=np.arange(50))
    whole = path.read_bytes()
    assert files.read_npz(path, "splits", "draw them again")["trained"].tolist() == list(range(50))
    flipped = bytes(byte ^ 255 if 60 < i < 120 else byte for i, byte in enumerate(whole))
    for content in (b"", b"\x1f\x8b" + whole, whole[:10], whole[: len(whole) // 2], whole[:-1], flipped):
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"splits\.npz: splits that is damaged \(.*\): draw them again"):
            files.read_npz(path, "splits", "draw them again")
    np.savez(path, np.array([{}], dtype=object))
    with pytest.raises(UserError, match="damaged"):
        files.read_npz(path, "splits", "draw them again")
    with pytest.raises(FileNotFoundError):
        files.read_npz(tmp_path / "none.npz", "splits", "draw them again")
