"""Thermal counts to [0, 1], hot is bright: one function for training, robot and offline run."""

import cv2
import numpy as np

from tdfusion_ros.core.config import IrConfig
from tdfusion_ros.core.errors import FrameError


class ThermalScaler:
    """
    Scale thermal frames to [0, 1] without flicker.

    8-bit images are taken as the camera scaled them (value / 255). 16-bit counts have no fixed
    meaning, so their percentiles become 0 and 1, smoothed over time: a range that followed every
    frame would let one hot spot darken the whole picture.
    """

    def __init__(self, config: IrConfig) -> None:
        self._config = config
        self._range: tuple[float, float] | None = None

    def reset(self) -> None:
        """Forget the smoothed range, as after a jump in time."""
        self._range = None

    def scale(self, counts: np.ndarray) -> np.ndarray:
        """
        Return the frame in [0, 1], hot is bright.

        :param counts: (H, W) uint8 or uint16; or (H, W, 3) with three equal channels.
        :returns: (H, W) float32 in [0, 1].
        :raises FrameError: ``bad_encoding`` if the channels differ: a palette is no temperature.
        """
        if counts.ndim == 3:
            counts = grey(counts)
        low, high = self._limits(counts)
        if self._config.invert:
            low, high = high, low
        if counts.dtype == np.uint8:  # a table of 256 values is faster than arithmetic
            return cv2.LUT(counts, _ramp(np.arange(256, dtype=np.float32), low, high))
        return _ramp(counts.astype(np.float32), low, high)

    def _limits(self, counts: np.ndarray) -> tuple[float, float]:
        mode = self._config.normalization
        if mode == 'auto':
            mode = 'passthrough' if counts.dtype == np.uint8 else 'percentile'
        if mode == 'passthrough':
            return 0.0, float(np.iinfo(counts.dtype).max)
        if mode == 'fixed':
            return self._config.range_min, self._config.range_max
        return self._smoothed(counts)

    def _smoothed(self, counts: np.ndarray) -> tuple[float, float]:
        # Every fourth pixel of every fourth row gives the percentiles within 0.1 % of the range.
        now = np.percentile(
            counts[::4, ::4], (self._config.percentile_low, self._config.percentile_high)
        )
        low, high = float(now[0]), float(max(now[1], now[0] + 1.0))
        if self._range is not None:
            keep = self._config.smoothing
            low = keep * self._range[0] + (1 - keep) * low
            high = keep * self._range[1] + (1 - keep) * high
        self._range = low, high
        return low, high


def grey(pixels: np.ndarray) -> np.ndarray:
    """
    Return the one channel of a thermal image that is stored as three equal ones.

    :param pixels: (H, W, 3).
    :raises FrameError: ``bad_encoding`` if the channels differ by more than JPEG makes them.
    """
    probe = pixels[::8, ::8].astype(np.int32)
    if np.abs(probe - probe[..., :1]).max() > 8:
        raise FrameError(
            'bad_encoding',
            'the ir image is coloured: switch the camera to grey '
            '(white-hot), a palette cannot be read back as temperature',
        )
    return np.ascontiguousarray(pixels[..., 1])


def _ramp(values: np.ndarray, low: float, high: float) -> np.ndarray:
    scale = np.float32(1.0 / (high - low))
    return np.clip((values - np.float32(low)) * scale, 0.0, 1.0)
