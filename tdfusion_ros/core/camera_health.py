"""
Tell from the pictures themselves whether a camera still shows the world.

Thermal cameras close a shutter every few minutes to calibrate themselves (FFC) and repeat their
last picture meanwhile, for 0.3 to 1 s; no driver says so. Cameras also hang, lose their cable, or
look into a lens cap. Frames are judged by a grid of about 20 000 of their pixels, so the cost does
not grow with the image. Stamps and the order of arrival decide, never a clock: a bag is judged
offline as it was live.
"""

from collections import deque
from statistics import median

import cv2
import numpy as np

from tdfusion_ros.core.data import Frame

PROBE_PIXELS = 20_000
# A repeated picture stays identical, a sensor's noise changes a tenth of the pixels and more even
# after an 8-bit gain control. In between lies a burnt-in clock or a telemetry row.
CHANGED = 0.001
# Of 597 real ir images (MSRS, M3FD, FMB, LLVIP, M3SVD, RoadScene, TNO, VIFB) none has a standard
# deviation below 5.5 gray levels, or a correlation of neighboring probes below 0.69.
FLAT_LEVELS = 1.0
NOISE_CORRELATION = 0.3
# A stream may repeat each picture (a Lepton sends 27 Hz and sees 9) or lose a frame: that is no
# stall before this many of its own periods.
PERIODS = 2.5
# One frame of the other camera may be the first after a pause of both: several show that it lives.
WITNESSES = 3


def probe(pixels: np.ndarray) -> np.ndarray:
    """
    Return a grid of pixels of an image.

    :param pixels: (H, W) or (H, W, 3); of three channels the middle one is taken.
    :returns: (h, w) of the same dtype, contiguous. The first rows are left out: cameras put
        telemetry there.
    """
    if pixels.ndim == 3:
        pixels = pixels[..., 1]
    step = max(1, round((pixels.size / PROBE_PIXELS) ** 0.5))
    return np.ascontiguousarray(pixels[step // 2 :: step, step // 2 :: step])


def is_repeated(grid: np.ndarray, before: np.ndarray | None) -> bool:
    """Tell whether a picture is the one before, but for what a burnt-in clock changes."""
    if before is None or grid.shape != before.shape or grid.dtype != before.dtype:
        return False
    return bool(np.count_nonzero(grid != before) <= CHANGED * grid.size)


def is_flat(grid: np.ndarray) -> bool:
    """
    Tell whether a picture shows nothing: no spread, or noise in which neighbors differ freely.

    Counts of 16 bits have no fixed meaning, so a closed shutter is known by its noise: a scene is
    blurred by the lens and correlates over neighboring probes in both directions, noise does not,
    nor does the column pattern of a sensor across its columns.
    """
    deviation = float(cv2.meanStdDev(grid)[1][0, 0])
    if deviation < FLAT_LEVELS:
        return True
    neighbors = (grid[:, 1:], grid[:, :-1]), (grid[1:], grid[:-1])
    steps = [cv2.norm(a, b, cv2.NORM_L2SQR) / a.size for a, b in neighbors if a.size]
    return 1.0 - max(steps) / (2.0 * deviation**2) < NOISE_CORRELATION


def light(grid: np.ndarray) -> str:
    """Return ``dark`` or ``saturated`` for an 8-bit rgb picture that shows little, else ``ok``."""
    if grid.dtype == np.uint8 and np.count_nonzero(grid < 16) > 0.95 * grid.size:
        return 'dark'
    if grid.dtype == np.uint8 and np.count_nonzero(grid > 250) > 0.5 * grid.size:
        return 'saturated'
    return 'ok'


class CameraMonitor:
    """
    Follow one camera beside another one: its last news, and what the other showed since.

    :param stall_ns: nothing new for this long is a stall, unless it is usual for the camera [ns].
    :param start_ns: the same before the camera's rate is known, as for its first frame [ns].
    :param is_ir: a flat ir picture is a fault; a flat rgb picture may be the night.
    """

    def __init__(self, stall_ns: int, start_ns: int, *, is_ir: bool) -> None:
        self._stall_ns = stall_ns
        self._start_ns = start_ns
        self._is_ir = is_ir
        self._grid: np.ndarray | None = None
        self._latest_ns: int | None = None
        self._news_ns = 0
        self._flat_ns: int | None = None
        self._periods: dict[str, deque[int]] = {
            what: deque(maxlen=15) for what in ('frame', 'news')
        }
        self._other_ns: tuple[int, int] | None = None  # its stamp at our last frame, its latest
        self._other_frames = 0  # since our last frame
        self._other_news = 0  # since our last news
        self.fault = ''
        self.fault_ns = 0
        self.picture = 'ok'

    def see(self, frame: Frame) -> bool:
        """
        Take the camera's next frame; return whether it shows anything new.

        Then ``fault`` is '', ``flat`` or ``frozen``, and ``fault_ns`` for how long it has been so.
        """
        grid, at_ns = probe(frame.pixels), frame.stamp_ns
        new = not is_repeated(grid, self._grid)
        if self._latest_ns is None or at_ns < self._latest_ns:  # the first, or a bag begins anew
            self._news_ns, self._flat_ns = at_ns, None
        else:
            self._periods['frame'].append(at_ns - self._latest_ns)
        if new:
            if at_ns > self._news_ns:
                self._periods['news'].append(at_ns - self._news_ns)
            self._news_ns, self._other_news = at_ns, 0
        self._grid, self._latest_ns = grid, at_ns
        self._other_frames = 0
        if self._other_ns is not None:
            self._other_ns = self._other_ns[1], self._other_ns[1]
        self._judge(grid, at_ns)
        return new

    def witness(self, stamp_ns: int, *, new: bool) -> None:
        """
        Take note of a frame of the other camera: this one may be ``missing`` by now.

        :param new: whether it shows anything new.
        """
        since_ns = stamp_ns if self._other_ns is None else min(self._other_ns[0], stamp_ns)
        self._other_ns = since_ns, stamp_ns
        self._other_frames += 1
        self._other_news += new
        silent_ns = stamp_ns - since_ns
        lives = self._other_frames >= WITNESSES
        if self._stall_ns and lives and silent_ns > self._limit_ns('frame'):
            self.fault, self.fault_ns = 'missing', silent_ns

    def _judge(self, grid: np.ndarray, at_ns: int) -> None:
        flat, still_ns = is_flat(grid), at_ns - self._news_ns
        moved = self._other_news >= WITNESSES  # else both may show one still, as in a simulation
        self.fault, self.fault_ns, self.picture = '', 0, 'ok'
        if not flat:
            self._flat_ns = None
        elif self._flat_ns is None:
            self._flat_ns = at_ns
        if not self._is_ir:
            self.picture = light(grid)
            if flat or self.picture != 'ok':  # a black night is the same from frame to frame
                return
        if not self._stall_ns:
            return
        if self._flat_ns is not None:
            self.fault, self.fault_ns = 'flat', at_ns - self._flat_ns
        elif moved and still_ns > self._limit_ns('news'):
            self.fault, self.fault_ns = 'frozen', still_ns
        self.picture = self.fault or self.picture

    def _limit_ns(self, what: str) -> float:
        periods = self._periods[what]
        if len(periods) < 3:  # what is usual is not known yet
            return self._start_ns
        return max(self._stall_ns, PERIODS * median(periods))
