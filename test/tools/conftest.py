"""Folders of real images."""

import cv2
import pytest


@pytest.fixture
def folders(demo_pairs, tmp_path):
    """Return two folders of three real images each."""
    for name in ('rgb', 'ir'):
        (tmp_path / name).mkdir()
    for pair in demo_pairs[:3]:
        name = f'{pair.reference.stamp_ns}.png'
        cv2.imwrite(str(tmp_path / 'rgb' / name), pair.rgb.pixels[..., ::-1])
        cv2.imwrite(str(tmp_path / 'ir' / name), pair.ir.pixels)
    return tmp_path / 'rgb', tmp_path / 'ir'
