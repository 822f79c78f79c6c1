"""Trained bundles that come with the package, each in its folder with its card."""

from __future__ import annotations

import pathlib

DEFAULT = pathlib.Path(__file__).parent / "mini_xception"  # what the camera tools use when no --bundle is given
