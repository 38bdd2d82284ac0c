"""Color images as networks take them; for the robot, offline commands and training."""

import cv2
import numpy as np

from tdfusion_ros.core.errors import FrameError


def rgb_image(pixels: np.ndarray) -> np.ndarray:
    """
    Return the pixels of a color frame as (H, W, 3) uint8, order R, G, B, contiguous.

    :param pixels: (H, W) uint8; or (H, W, 3), uint8, or uint16 in the range of 16 bits.
    :raises FrameError: ``bad_encoding`` for one channel of more than 8 bits: thermal counts.
    """
    if pixels.ndim == 2:
        if pixels.dtype != np.uint8:
            raise FrameError(
                'bad_encoding',
                f'the rgb image has one channel of {8 * pixels.itemsize} bits, as thermal counts '
                'have, expected color or 8 bits; are rgb and ir swapped?',
            )
        return cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_GRAY2RGB)
    if pixels.dtype == np.uint16:
        pixels = cv2.convertScaleAbs(np.ascontiguousarray(pixels), alpha=255 / 65535)
    if pixels.strides[1:] == (3, -1):  # bgr8 as a reversed view: 30 times faster than NumPy
        return cv2.cvtColor(pixels[..., ::-1], cv2.COLOR_BGR2RGB)
    return np.ascontiguousarray(pixels)
