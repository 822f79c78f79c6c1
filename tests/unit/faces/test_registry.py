"""Detectors by name, their defaults, and the choice between them."""

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


def test_a_name_that_is_nearly_right_and_a_side_without_pixels():
    with pytest.raises(UserError, match=r"unknown detector 'yunte' \(did you mean 'yunet'.*: expected one of haar"):
        registry.create("yunte")
    for side in (0, -5):
        with pytest.raises(UserError, match=f"search_side is {side}: expected pixels, 1 or more"):
            registry.create("haar", search_side=side)


@pytest.mark.parametrize(("searching", "offered"), [(True, ["haar", "yunet"]), (False, ["haar", "yunet", "none"])])
def test_the_flags_offer_what_is_registered_and_need_no_opencv(searching, offered):
    code = f"""import sys
from absl import flags
from fer_jax.cli import options
options.define_detector(searching={searching})
assert "cv2" not in sys.modules
print(*flags.FLAGS["detector"].parser.enum_values)"""
    done = run_python("-c", code, check=True)
    assert done.stdout.split() == offered
