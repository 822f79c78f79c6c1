"""What a source may be: paths, globs, devices, addresses, pipes."""

import os

import pytest

from fer_jax.errors import UserError
from fer_jax.serve import outputs, places, recording


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").touch()
    (tmp_path / "talk.mp4").touch()
    (tmp_path / "link.mp4").symlink_to(tmp_path / "talk.mp4")
    os.link(tmp_path / "talk.mp4", tmp_path / "hard.mp4")
    (tmp_path / "same").symlink_to(tmp_path / "photos")
    return tmp_path


@pytest.mark.parametrize("name", ["talk.mp4", "link.mp4", "hard.mp4", "photos/../talk.mp4", "same/../talk.mp4"])
@pytest.mark.parametrize("flag", ["--record", "--events", "--save-faces"])
def test_an_output_that_is_the_input(folder, flag, name):
    with pytest.raises(UserError, match=rf"{flag}=.* would overwrite the input .*talk.mp4: name another place"):
        places.refuse_conflicts([folder / "talk.mp4"], {flag: str(folder / name)})


@pytest.mark.parametrize("flag", ["--record", "--save-faces"])
@pytest.mark.parametrize("name", ["photos", "same"])
def test_an_output_that_is_the_folder_of_the_input(folder, flag, name):
    with pytest.raises(UserError, match="would overwrite the input"):
        places.refuse_conflicts([folder / "photos", folder / "photos" / "a.jpg"], {flag: str(folder / name)})


def test_recordings_of_a_picture_go_to_another_folder(folder):
    with pytest.raises(UserError, match="would overwrite the input"):
        places.refuse_conflicts([folder / "photos" / "a.jpg"], {"--record": str(folder / "photos")})
    places.refuse_conflicts([folder / "photos" / "a.jpg"], {"--save-faces": str(folder / "photos")})


def test_outputs_that_are_each_other(folder):
    (folder / "out").symlink_to(folder / "not_there_yet")
    outputs = {"--record": str(folder / "not_there_yet"), "--events": str(folder / "out"), "--save-faces": None}
    with pytest.raises(UserError, match=r"--events=.*out and --record=.*not_there_yet are the same place: name two"):
        places.refuse_conflicts([], outputs)


def test_outputs_that_are_apart(folder):
    outputs = {"--record": str(folder / "out.mp4"), "--events": "-", "--save-faces": str(folder / "faces")}
    places.refuse_conflicts([folder / "talk.mp4", folder / "photos"], outputs)


def test_a_place_that_cannot_be_written(folder):
    with pytest.raises(UserError, match=r"--record: .*talk.mp4 cannot be written \(.*\): name a place where you may"):
        places.check_writable("--record", folder / "talk.mp4")
    places.check_writable("--record", folder / "new" / "folder")
    assert not list((folder / "new" / "folder").iterdir())


def test_a_write_protected_file_is_not_renamed_over(tmp_path, monkeypatch):
    protected = tmp_path / "out.mp4"
    protected.write_bytes(b"before")
    monkeypatch.setattr("os.access", lambda path, mode: False)  # which an administrator's tests cannot show otherwise
    labels = ("happy", "sad")
    for make, flag in (
        (lambda: recording.Recording(protected, 25.0, live=False), "--record"),
        (lambda: outputs.Events(str(protected), labels), "--events"),
    ):
        with pytest.raises(UserError, match=f"{flag}=.*out.mp4: is write-protected: name another place"):
            make()
    assert protected.read_bytes() == b"before"
    places.check_target("--record", tmp_path / "new.mp4")
