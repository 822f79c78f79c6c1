"""One bundle for all tests of serving."""

import pytest

from tests import serving


@pytest.fixture(scope="session")
def brightness_bundle(tmp_path_factory):
    """Folder of a bundle that tells labels by brightness."""
    return serving.write_bundle(tmp_path_factory.mktemp("bundles") / "brightness")


@pytest.fixture(scope="session")
def map_bundle(tmp_path_factory):
    """Folder of the same with class maps."""
    return serving.write_bundle(tmp_path_factory.mktemp("bundles") / "maps", maps=True)


@pytest.fixture(scope="session")
def yunet_model(real_data):
    """Path of YuNet's weights."""
    path = real_data / "models" / "face_detection_yunet_2023mar.onnx"
    if not path.is_file():
        pytest.skip(f"no YuNet weights at {path}")
    return path


@pytest.fixture(scope="session")
def group_picture(real_data):
    """uint8 BGR photograph of six people."""
    import cv2

    return cv2.imread(str(real_data / "video" / "group.jpg"))
