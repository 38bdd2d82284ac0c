"""
Detect from the images themselves that a camera has stalled.

Thermal cameras close a shutter every few minutes to calibrate themselves (FFC) and repeat their
last image meanwhile, for 0.3 to 1 s; no driver reports it. Cameras also hang, lose their cable, or
have a lens cap on. A grid of about 20 000 pixels of each image is examined, so the cost does not
grow with the image. Only stamps and the order of arrival count, not the clock, so that a bag gives
the same result offline and live.
"""

from collections import deque
from statistics import median

import numpy as np

from tdfusion_ros.core.data import Frame
from tdfusion_ros.core.flatness import is_coarse
from tdfusion_ros.core.flatness import is_flat

PROBE_PIXELS = 20_000
# A repeated image is identical. A sensor's noise changes a tenth of the pixels or more, even after
# an 8-bit gain control. In between are images with a clock or a telemetry row.
CHANGED = 0.001
# A stream may repeat each image (a Lepton sends 27 Hz and measures 9) or lose a frame: it has not
# stalled before this many of its own periods.
PERIODS = 2.5
# One frame of the other camera may be the first one after a pause of both cameras.
MIN_OTHER_FRAMES = 3
RECENT = 60  # frames from which is known how late a camera's images arrive


def probe(pixels: np.ndarray) -> np.ndarray:
    """Return a grid of (H, W) or of green, (h, w), contiguous, without first rows: telemetry."""
    if pixels.ndim == 3:
        pixels = pixels[..., 1]
    step = max(1, round((pixels.size / PROBE_PIXELS) ** 0.5))
    return np.ascontiguousarray(pixels[step // 2 :: step, step // 2 :: step])


def is_repeated(grid: np.ndarray, before: np.ndarray | None) -> bool:
    """Return whether two grids show the same image, except for a clock in it."""
    if before is None or grid.shape != before.shape or grid.dtype != before.dtype:
        return False
    changed = grid != before
    if grid.dtype == np.float32:
        changed &= np.isfinite(grid) | np.isfinite(before)  # NaN differs from NaN
    return bool(np.count_nonzero(changed) <= CHANGED * grid.size)


def exposure(grid: np.ndarray) -> str:
    """Return ``dark`` or ``saturated`` for an 8-bit rgb image that shows little, else ``ok``."""
    if grid.dtype == np.uint8 and np.count_nonzero(grid < 16) > 0.95 * grid.size:
        return 'dark'
    if grid.dtype == np.uint8 and np.count_nonzero(grid > 250) > 0.5 * grid.size:
        return 'saturated'
    return 'ok'


class CameraMonitor:
    """
    Follow one camera, and compare it with the other camera of the rig.

    :param stall_ns: nothing new for this long is a stall, unless the camera is that slow; 0:
        never.
    :param start_ns: the same while the camera's rate is unknown, as before its first frame [ns].
    :param is_ir: a flat ir image is a fault; a flat rgb image may be the night.

    After each call ``fault`` is ``missing``, ``frozen``, ``flat``, ``coarse`` or '', ``fault_ns``
    is its duration, and ``image_state`` is ``ok``, ``dark``, ``saturated``, ``frozen``, ``flat``
    or ``coarse``.
    """

    def __init__(self, stall_ns: int, start_ns: int, *, is_ir: bool) -> None:
        self._stall_ns = stall_ns
        self._start_ns = start_ns
        self._is_ir = is_ir
        self._grid: np.ndarray | None = None
        self._latest_ns: int | None = None
        self._changed_ns = 0  # when the image last changed
        self._flat_ns: int | None = None  # since when it is flat
        self._frame_periods_ns: deque[int] = deque(maxlen=15)
        self._change_periods_ns: deque[int] = deque(maxlen=15)
        # The other camera: its latest stamp, its frames since our last one, its new images since
        # ours changed; and our stamps minus its latest one then: smallest where ours are late.
        self._other_ns: int | None = None
        self._leads_ns: deque[int] = deque(maxlen=RECENT)
        self._silent_ns = 0  # stamp of the other camera since which ours is silent
        self._other_frames = 0
        self._other_changes = 0
        self.fault = ''
        self.fault_ns = 0
        self.image_state = 'ok'

    def update(self, frame: Frame) -> bool:
        """Take the camera's next frame and return whether it shows a new image."""
        grid, stamp_ns = probe(frame.pixels), frame.stamp_ns
        new = not is_repeated(grid, self._grid)
        if self._latest_ns is None or stamp_ns < self._latest_ns:  # the first, or a looping bag
            self._changed_ns, self._flat_ns = stamp_ns, None
            self._leads_ns.clear()
        else:
            self._frame_periods_ns.append(stamp_ns - self._latest_ns)
        if new:
            if stamp_ns > self._changed_ns:
                self._change_periods_ns.append(stamp_ns - self._changed_ns)
            self._changed_ns, self._other_changes = stamp_ns, 0
        self._grid, self._latest_ns = grid, stamp_ns
        self._other_frames = 0
        if self._other_ns is not None:
            self._leads_ns.append(stamp_ns - self._other_ns)
        self._examine(grid, stamp_ns)
        return new

    def update_other(self, stamp_ns: int, *, new: bool) -> None:
        """Record a frame of the other camera, and whether it is ``new``: ours may be missing."""
        if self._other_ns is None or stamp_ns < self._other_ns:  # the first, or a looping bag
            self._leads_ns.clear()
            self._silent_ns = stamp_ns
        self._other_ns = stamp_ns
        self._other_frames += 1
        self._other_changes += new
        if self._leads_ns and self._latest_ns is not None:
            # Both drivers may deliver several images at once: count from the latest time at which
            # ours would have arrived.
            self._silent_ns = self._latest_ns - min(self._leads_ns)
        silent_ns = stamp_ns - self._silent_ns
        if not self._stall_ns or self._other_frames < MIN_OTHER_FRAMES:
            return
        is_known = bool(self._leads_ns)  # else the images of the other may only be delivered late
        if silent_ns > (self._limit_ns(self._frame_periods_ns) if is_known else self._start_ns):
            self.fault, self.fault_ns = 'missing', silent_ns

    def _examine(self, grid: np.ndarray, stamp_ns: int) -> None:
        self.fault, self.fault_ns, self.image_state = '', 0, 'ok'
        same_ns = stamp_ns - self._changed_ns
        # If the other camera shows nothing new either, both may see a still, as in a simulation.
        other_changes = self._other_changes >= MIN_OTHER_FRAMES
        frozen = other_changes and same_ns > self._limit_ns(self._change_periods_ns)
        if not self._is_ir:
            self.image_state = exposure(grid)
            if self.image_state != 'ok' or not frozen or is_flat(grid):
                return  # at night, all images are the same black
        elif not is_flat(grid):
            self._flat_ns = None
        elif self._flat_ns is None:
            self._flat_ns = stamp_ns
        if not self._stall_ns:
            return
        coarse = self._is_ir and is_coarse(grid)
        if self._flat_ns is not None:
            self.fault = 'coarse' if coarse else 'flat'
            self.fault_ns = stamp_ns - self._flat_ns
        elif frozen:
            self.fault, self.fault_ns = 'frozen', same_ns
        elif coarse:
            self.image_state = 'coarse'
        self.image_state = self.fault or self.image_state

    def _limit_ns(self, periods_ns: deque[int]) -> float:
        if len(periods_ns) < 3:  # the camera's rate is unknown
            return self._start_ns
        return max(self._stall_ns, PERIODS * median(periods_ns))
