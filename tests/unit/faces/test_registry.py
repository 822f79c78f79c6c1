"""Detectors by name, their defaults, and the choice between them."""

import subprocess
import sys

import pytest

from fer_jax.errors import UserError
from fer_jax.faces import cropping, detection, registry
from tests.conftest import run_python


def test_every_detector_has_its_name_and_its_crop_policy():
    for name, entry in registry.DETECTORS.items():
        assert getattr(detection, entry.factory).name == name
        assert (name in cropping.CROP["detectors"]) == entry.searches


def test_pictures_are_searched_with_more_pixels_and_more_care():
    moving, still, own = (registry.create("haar", **how) for how in ({}, {"still": True}, {"search_side": 77}))
    assert (moving._side, still._side, own._side) == (320, 960, 77)
    assert moving._min_neighbors < still._min_neighbors


def test_both_kinds_of_a_detector_are_made_once_and_as_needed(monkeypatch):
    made = []
    create = registry.create
    monkeypatch.setattr(registry, "create", lambda *args, **kwargs: made.append(kwargs) or create(*args, **kwargs))
    both = registry.Detectors("haar", align=True, search_side=77)
    assert (both.name, made) == ("haar", [])
    still = both.of(True)
    assert both.of(True) is still
    assert both.of(False) is not still
    assert made == [{"align": True, "still": still, "search_side": 77} for still in (True, False)]
    with pytest.raises(UserError, match="unknown detector"):
        registry.Detectors("yunte").of(False)


@pytest.mark.parametrize("side", [0, -5])
def test_a_side_without_pixels_is_refused(side):
    with pytest.raises(UserError, match=f"search_side is {side}: expected pixels, 1 or more"):
        registry.create("haar", search_side=side)


def test_a_name_that_is_nearly_right():
    with pytest.raises(UserError, match=r"unknown detector 'yunte' \(did you mean 'yunet'.*: expected one of haar"):
        registry.create("yunte")


@pytest.mark.parametrize(("searching", "offered"), [(True, ["haar", "yunet"]), (False, ["haar", "yunet", "none"])])
def test_the_flags_offer_what_is_registered(searching, offered):
    code = f"""from absl import flags
from fer_jax.cli import options
options.define_detector(searching={searching})
print(*flags.FLAGS["detector"].parser.enum_values)"""
    done = run_python("-c", code, check=True)
    assert done.stdout.split() == offered


def test_the_list_of_detectors_needs_no_opencv():
    code = "import sys, fer_jax.cli.options; assert 'cv2' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
