"""Thermal counts to [0, 1], hot is bright: one function for training, robot and offline run."""

import cv2
import numpy as np

from tdfusion_ros.core.config import IrConfig
from tdfusion_ros.core.errors import FrameError

JUMP = 0.5  # of the smoothed range, by the median
SHRUNK = 0.25  # of the smoothed range


class ThermalScaler:
    """
    Scale thermal frames to [0, 1] without flicker.

    8-bit images are taken as the camera scaled them (value / 255). 16-bit counts have no fixed
    meaning, so their percentiles become 0 and 1, smoothed over time: a range that followed every
    frame would let one hot spot darken the whole picture. What moves the whole picture, as a
    change of gain or the shutter does, begins a new range at once.
    """

    def __init__(self, config: IrConfig) -> None:
        self._config = config
        self._range: np.ndarray | None = None  # low percentile, median, high percentile

    def reset(self) -> None:
        """Forget the smoothed range, as after a jump in time."""
        self._range = None

    def scale(self, counts: np.ndarray) -> np.ndarray:
        """
        Return the frame in [0, 1], hot is bright.

        :param counts: (H, W) uint8 or uint16; or (H, W, 3), order R, G, B; or (H, W) float32 in
            [0, 1], which is used as it is.
        :returns: (H, W) float32 in [0, 1].
        :raises FrameError: ``bad_encoding`` if the channels differ and ``ir.color`` is refuse.
        """
        if counts.ndim == 3:
            counts = gray(counts, luma=self._config.color == 'luma')
        low, high = self._limits(counts)
        if self._config.invert:
            low, high = high, low
        if counts.dtype == np.uint8:  # a table of 256 values is faster than arithmetic
            return cv2.LUT(counts, _ramp(np.arange(256, dtype=np.float32), low, high))
        return _ramp(counts.astype(np.float32), low, high)

    def _limits(self, counts: np.ndarray) -> tuple[float, float]:
        if counts.dtype == np.float32:
            return 0.0, 1.0
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
        shares = self._config.percentile_low, 50.0, self._config.percentile_high
        now = np.percentile(counts[::4, ::4], shares)
        now[2] = max(now[2], now[0] + 1.0)
        if self._range is not None and not _is_jump(self._range, now):
            keep = self._config.smoothing
            now = keep * self._range + (1 - keep) * now
        self._range = now
        return float(now[0]), float(now[2])


def _is_jump(before: np.ndarray, now: np.ndarray) -> bool:
    """
    Tell whether the whole picture has changed its range, rather than a part its temperature.

    A hot spot moves one end of the range and hardly the median; an offset or a gain moves the
    median, too. Where a gain falls around the median, the range shrinks far beyond what a hot spot
    does that was smoothed before it could widen it.
    """
    spread = before[2] - before[0]
    moved = abs(now[1] - before[1])
    return bool(moved > JUMP * spread or now[2] - now[0] < SHRUNK * spread)


def gray(pixels: np.ndarray, *, luma: bool = False) -> np.ndarray:
    """
    Return the one channel of a thermal image that is stored as three equal ones.

    :param pixels: (H, W, 3), order R, G, B.
    :param luma: return the luma of an image in false colors instead of refusing it.
    :raises FrameError: ``bad_encoding`` if the channels differ by more than JPEG makes them.
    """
    if is_gray(pixels):
        return np.ascontiguousarray(pixels[..., 1])
    if luma:
        return cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_RGB2GRAY)
    raise FrameError(
        'bad_encoding',
        'the ir image is in false colors, which cannot be read back as temperature: switch the '
        'camera to gray (white-hot), or set ir.color to luma to take what there is',
    )


def is_gray(pixels: np.ndarray) -> bool:
    """Tell whether the channels of (H, W, 3) differ by no more than JPEG makes them, 8 levels."""
    probe = pixels[::8, ::8].astype(np.int32)
    return bool(np.abs(probe - probe[..., :1]).max() <= 8)


def _ramp(values: np.ndarray, low: float, high: float) -> np.ndarray:
    scale = np.float32(1.0 / (high - low))
    return np.clip((values - np.float32(low)) * scale, 0.0, 1.0)
