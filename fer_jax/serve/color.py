"""High dynamic range, as phones film it, for screens: frames by the curves of ITU-R BT.2100 become BT.709's."""

from __future__ import annotations

import functools

import cv2
import numpy as np

PQ, HLG = 16, 18  # FFmpeg's numbers of the transfer characteristics
WHITE = 203.0  # cd/m2, of a white surface (ITU-R BT.2408); what is brighter becomes white
HLG_PEAK, HLG_GAMMA = 1000.0, 1.2  # cd/m2, and the system's gamma for it
# BT.2020's primaries in BT.709's, for blue, green, red (ITU-R BT.2087)
PRIMARIES = np.array([[1.1187, -0.1006, -0.0182], [-0.0083, 1.1329, -0.1246], [-0.0728, -0.5876, 1.6605]], np.float32)
LEVELS = 4095  # of linear light on the way to 8 bits


def for_screens(image: np.ndarray, transfer: int) -> np.ndarray:
    """uint8 BGR (H, W, 3) as a screen of standard range shows it.

    Args:
      image: uint8 BGR by the curve of `transfer` and BT.2020's primaries.
      transfer: FFmpeg's number of a curve; an image by another than `PQ` and `HLG` comes back as it is.
    """
    if transfer not in (PQ, HLG):
        return image
    linear, encoded = _tables(transfer)
    light = cv2.transform(cv2.LUT(image, linear), PRIMARIES)
    return encoded[np.clip(light * LEVELS + 0.5, 0, LEVELS).astype(np.uint16)]


@functools.cache
def _tables(transfer: int) -> tuple[np.ndarray, np.ndarray]:
    """float32 (256,): light of each level, 1 is `WHITE`; and uint8 (LEVELS + 1,): the sRGB level of each light."""
    signal = np.arange(256) / 255
    if transfer == PQ:  # SMPTE ST 2084
        root = signal ** (32 / 2523)
        light = 10_000 * (np.maximum(root - 3424 / 4096, 0) / (2413 / 128 - 2392 / 128 * root)) ** (8192 / 1305)
    else:  # ARIB STD-B67
        scene = np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - 0.55991073) / 0.17883277) + 0.28466892) / 12)
        light = HLG_PEAK * scene**HLG_GAMMA
    values = np.arange(LEVELS + 1) / LEVELS
    srgb = np.where(values <= 0.0031308, 12.92 * values, 1.055 * values ** (1 / 2.4) - 0.055)
    return (light / WHITE).astype(np.float32), np.round(255 * srgb).astype(np.uint8)
