"""Scale thermal counts to [0, 1], hot is bright; for the robot, offline commands and training."""

import cv2
import numpy as np

from tdfusion_ros.core import no_data
from tdfusion_ros.core import temperature
from tdfusion_ros.core.calibration import cropped_size
from tdfusion_ros.core.calibration import Sides
from tdfusion_ros.core.camera_monitor import probe
from tdfusion_ros.core.config import crop_sides
from tdfusion_ros.core.config import IrConfig
from tdfusion_ros.core.data import Size
from tdfusion_ros.core.errors import FrameError
from tdfusion_ros.core.flatness import is_swapped
from tdfusion_ros.core.setting import numbers

# Shares of the smoothed range: the median moves further, or the new range is smaller.
JUMP = 0.5
SHRUNK = 0.25
FEW_LEVELS = 8  # of 255, between two percentiles; no real scene of 8 bits has so few
MIN_FLOAT_RANGE = 1e-3  # of an image of one temperature
BYTES = 'the bytes of each count were in the other order: correct is_bigendian in the driver'


class ThermalScaler:
    """
    Scale thermal frames to [0, 1] without flicker.

    8-bit images keep the scale of the camera (value / 255), and so do floating-point images that
    are in [0, 1] already. Counts of 16 bits and temperatures have no fixed range, so two of their
    percentiles become 0 and 1. This range is smoothed over time, or one hot spot
    would darken the whole image. A change of the whole image, by another gain or by the shutter,
    starts a new range at once.

    After each frame, ``seen`` is (h, w) bool where it holds a measurement, None: everywhere; and
    ``remarks`` says, by the name of a setting, what was left out or is doubtful. Single pixels
    without a measurement are filled, and count as seen. ``cut`` is what ``ir.crop`` cut off.
    ``counts`` is the cropped raw frame, None if the camera scaled it, and ``missing`` (h, w) bool
    where it has no measurement.
    """

    def __init__(self, config: IrConfig) -> None:
        self._config = config
        self._crop = crop_sides(config.crop)
        self._no_data = numbers('ir.no_data', config.no_data)
        self.reset()

    def reset(self) -> None:
        """Forget the smoothed range and what was recognized, for example after a jump in time."""
        self._range: np.ndarray | None = None  # low percentile, median, high percentile
        self._recognized: set[float] = set()
        self._is_above = False  # telemetry, not below the picture
        self.cut: Sides = 0, 0, 0, 0
        self.seen: np.ndarray | None = None
        self.counts: np.ndarray | None = None
        self.missing: np.ndarray | None = None
        self.remarks: dict[str, str] = {}

    def scale(self, counts: np.ndarray) -> np.ndarray:
        """
        Return the frame in [0, 1], hot is bright.

        :param counts: (H, W) uint8 or uint16; or (H, W, 3), order R, G, B; or (H, W) float32:
            temperatures, or values in [0, 1]; NaN: no value.
        :returns: (h, w) float32, cut by ``ir.crop``; 0 where too many neighbors have no value.
        :raises FrameError: ``bad_encoding`` if the channels differ and ``ir.color`` is ``refuse``;
            ``no_data`` if no pixel has a value.
        """
        self.remarks = {}
        counts = self._cropped(counts)
        if counts.ndim == 3:
            counts = gray(counts, luma=self._config.color == 'luma')
        if is_swapped(probe(counts)):
            counts = counts.byteswap()
            self.remarks['is_bigendian'] = BYTES
        mode = self._mode(counts)
        missing = self._find_missing(counts, mode)
        is_scaled = counts.dtype == np.uint8 or (counts.dtype, mode) == (np.float32, 'passthrough')
        self.counts, self.missing = None if is_scaled else counts, missing
        if problem := temperature.doubt(self.counts, missing, self._config):
            self.remarks[temperature.SETTING] = problem
        low, high = self._limits(counts, missing, mode)
        if mode != 'percentile' and (problem := _faint(counts, missing, (low, high))):
            self.remarks['ir.normalization'] = f'{mode}: {problem}'
        if self._config.invert:
            low, high = high, low
        if counts.dtype == np.uint8:  # a table of 256 values is faster than arithmetic
            scaled = cv2.LUT(counts, _ramp(np.arange(256, dtype=np.float32), low, high))
        else:
            scaled = _ramp(counts.astype(np.float32), low, high)
        unfilled = None
        if missing is not None:
            unfilled = no_data.holes(missing)
            no_data.fill(scaled, missing, unfilled)
        self.seen = None if unfilled is None else ~unfilled
        return scaled

    def _cropped(self, counts: np.ndarray) -> np.ndarray:
        height, width = counts.shape[:2]
        self.cut = sides_to_cut(self._config.crop, (height, width))
        if self._crop is None and (rows := self.cut[1]):
            self._is_above = no_data.is_above(counts, rows, self._is_above)
            self.cut = (rows, 0, 0, 0) if self._is_above else self.cut
        top, bottom, left, right = self.cut
        if not any((top, bottom, left, right)):
            return counts
        if min(cropped_size((height, width), self.cut)) < 1:
            what = f'{self._config.crop!r} leaves nothing of {width}x{height}'
            raise FrameError('no_data', f'ir.crop {what}')
        rows_left_out = f'left out {top} rows above, {bottom} below'
        self.remarks['ir.crop'] = f'{rows_left_out}, {left} columns left, {right} right'
        return counts[top : height - bottom, left : width - right]

    def _find_missing(self, counts: np.ndarray, mode: str) -> np.ndarray | None:
        """Return where there is no measurement, (h, w) bool; None: nowhere."""
        values, rows = dict.fromkeys(self._no_data or (), 0), slice(0, counts.shape[0])
        # In 8 bits, and in what is scaled already, any value may be the scene.
        if self._no_data is None and mode != 'passthrough' and counts.dtype != np.uint8:
            rows = no_data.picture_rows(counts)
            values = no_data.recognize(counts[rows], self._recognized)
            self._recognized.update(values)
        missing = no_data.equal_to(counts, values)
        if rows != slice(0, counts.shape[0]):
            missing = np.zeros(counts.shape, bool) if missing is None else missing
            missing[: rows.start] = missing[rows.stop :] = True
        if missing is not None:
            which = ', '.join(f'{value:g}' for value in sorted(values))
            share = f'left out {100 * missing.mean():.2g} % of the pixels'
            self.remarks['ir.no_data'] = f'{share} (value {which})' if which else share
        return missing

    def _mode(self, counts: np.ndarray) -> str:
        mode = self._config.normalization
        if mode == 'auto':
            keeps = counts.dtype == np.uint8 or (counts.dtype == np.float32 and _is_scaled(counts))
            mode = 'passthrough' if keeps else 'percentile'
        return mode

    def _limits(
        self, counts: np.ndarray, missing: np.ndarray | None, mode: str
    ) -> tuple[float, float]:
        if mode == 'passthrough':
            is_float = counts.dtype == np.float32
            return 0.0, 1.0 if is_float else float(np.iinfo(counts.dtype).max)
        if mode == 'fixed':
            return self._config.range_min, self._config.range_max
        # Every fourth pixel of every fourth row gives the percentiles within 0.1 % of the range.
        shares = self._config.percentile_low, 50.0, self._config.percentile_high
        values = counts[::4, ::4]
        if missing is not None:
            values = values[~missing[::4, ::4]]
        if not values.size:
            raise FrameError('no_data', 'no pixel of the ir image has a value')
        now = np.percentile(values, shares)
        now[2] = max(now[2], now[0] + (MIN_FLOAT_RANGE if counts.dtype == np.float32 else 1.0))
        if self._range is not None and not _is_jump(self._range, now):
            keep = self._config.smoothing
            now = keep * self._range + (1 - keep) * now
        self._range = now
        return float(now[0]), float(now[2])


def sides_to_cut(crop: str, sent_hw: Size) -> Sides:
    """Return what ``ir.crop`` cuts off images of a size; ``auto``: telemetry, below the image."""
    telemetry = 0, no_data.TELEMETRY_ROWS.get(sent_hw, 0), 0, 0
    top, bottom, left, right = crop_sides(crop) or telemetry
    return top, bottom, left, right


def _faint(counts: np.ndarray, missing: np.ndarray | None, limits: tuple[float, float]) -> str:
    """Return what is wrong if a scene becomes a few gray levels only; empty: nothing."""
    if counts.dtype == np.uint8 and limits == (0.0, 255.0):  # the camera chose the scale
        return ''
    values = counts[::8, ::8] if missing is None else counts[::8, ::8][~missing[::8, ::8]]
    low, high = np.percentile(values, (1, 99)) if values.size else limits
    levels = 255 * np.diff(np.clip((low, high), *limits))[0] / (limits[1] - limits[0])
    if levels >= FEW_LEVELS:
        return ''
    return (
        f'the scene is {low:g} to {high:g}, {levels:.0f} of 255 gray levels of {limits[0]:g} to '
        f'{limits[1]:g}: set ir.range_min and ir.range_max with fixed, or auto'
    )


def _is_scaled(values: np.ndarray) -> bool:
    """Return whether floating-point values are in [0, 1], as no image of temperatures is."""
    return bool(np.fmin.reduce(values, axis=None) >= 0 and np.fmax.reduce(values, axis=None) <= 1)


def _is_jump(before: np.ndarray, now: np.ndarray) -> bool:
    """
    Return whether the range of the whole image changed, and not only the temperature of a part.

    A hot spot moves one end of the range and hardly the median; another offset or gain moves the
    median, too. A lower gain around the median shrinks the range. A hot spot that leaves does not
    shrink it as much, because smoothing had kept it from widening the range.
    """
    spread = before[2] - before[0]
    moved = abs(now[1] - before[1])
    return bool(moved > JUMP * spread or now[2] - now[0] < SHRUNK * spread)


def gray(pixels: np.ndarray, *, luma: bool = False) -> np.ndarray:
    """
    Return one channel of a thermal image, (H, W, 3) RGB, that is stored as three equal ones.

    :param luma: return the luma of an image in false colors instead of an error.
    :raises FrameError: ``bad_encoding`` if the channels differ by more than JPEG makes them.
    """
    if is_gray(pixels):
        return np.ascontiguousarray(pixels[..., 1])
    if luma:
        return cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_RGB2GRAY)
    raise FrameError(
        'bad_encoding',
        'the ir image is in false colors, which cannot be converted back to temperature: switch '
        'the camera to gray (white-hot), or set ir.color to luma; or are rgb and ir swapped?',
    )


def is_gray(pixels: np.ndarray) -> bool:
    """Return whether the channels of (H, W, 3) differ by at most 8 levels, as JPEG makes them."""
    probe = pixels[::8, ::8].astype(np.int32)
    return bool(np.abs(probe - probe[..., :1]).max() <= 8)


def _ramp(values: np.ndarray, low: float, high: float) -> np.ndarray:
    scale = np.float32(1.0 / (high - low))
    return np.clip((values - np.float32(low)) * scale, 0.0, 1.0)
