"""The library interface: fuse numpy arrays, with the pipeline of the ROS node."""

from collections import Counter
from dataclasses import dataclass
import logging
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np

from tdfusion_ros.build import build_pipeline
from tdfusion_ros.core import overlay
from tdfusion_ros.core.config import from_mapping
from tdfusion_ros.core.data import Detections
from tdfusion_ros.core.data import Frame
from tdfusion_ros.core.data import Temperatures
from tdfusion_ros.core.errors import FusionError
from tdfusion_ros.core.pipeline import Pipeline
from tdfusion_ros.core.temperature import SETTING

__all__ = ['Fuser', 'FusionError', 'Result', 'load']
log = logging.getLogger('tdfusion_ros')


@dataclass(frozen=True, eq=False, repr=False)
class Result:
    """
    A fused image and the detections in it.

    :param image: (H, W, 3) uint8, channel order R, G, B; the size of the rgb image.
    :param ir: (H, W) float32 in [0, 1], hot is bright: the network's infrared input,
        scaled and registered to the rgb image.
    :param coverage: (H, W) float32 in [0, 1], read-only: 1 where the thermal camera sees, with a
        soft border; 0 where it does not see, where ``ir`` is 0 and ``image`` is the rgb image.
    :param detections: boxes, scores, class ids and ids, best first.
    :param classes: the names of all classes of the model; a class id is an index into it.
    :param segmentation: (H, W) uint8, for each pixel an index into ``mask_classes``, where 0 is
        the background; None, and no such classes, if the model has no masks.
    """

    image: np.ndarray
    ir: np.ndarray
    coverage: np.ndarray
    detections: Detections
    classes: tuple[str, ...]
    segmentation: np.ndarray | None = None
    mask_classes: tuple[str, ...] = ()

    @property
    def valid(self) -> np.ndarray:
        """(H, W) bool: where the thermal camera sees."""
        return self.coverage > 0

    @property
    def boxes_xyxy(self) -> np.ndarray:
        """(N, 4) float32, best first: left, top, right, bottom [px of ``image``]."""
        return self.detections.boxes_xyxy

    @property
    def scores(self) -> np.ndarray:
        """(N,) float32 in [0, 1], descending."""
        return self.detections.scores

    @property
    def ids(self) -> np.ndarray | None:
        """(N,) int64 from 1: an object keeps its id; None without a stream or a tracker."""
        return self.detections.ids

    @property
    def temperatures(self) -> Temperatures | None:
        """Minimum, median and maximum inside each box, of ir of 16 bits; None for other ir."""
        return self.detections.temperatures

    @property
    def labels(self) -> list[str]:
        """Return the class name of each box."""
        return [self.classes[i] for i in self.detections.class_ids]

    def __repr__(self) -> str:
        height, width = self.image.shape[:2]
        found = ', '.join(f'{n} {label}' for label, n in Counter(self.labels).items())
        return f'Result({width}x{height}, detections: {found or "none"})'

    def draw(self) -> np.ndarray:
        """Return a copy of ``image`` with masks, boxes, labels and scores, (H, W, 3) uint8."""
        tinted = overlay.tint(self.image, self.segmentation, self.classes, self.mask_classes)
        return overlay.draw(tinted, self.detections, self.classes)


class Fuser:
    """
    Fuse pairs of images; :func:`load` makes one. Not thread-safe.

    No call influences another one, except in a fuser made by :meth:`stream`.
    """

    def __init__(
        self, pipeline: Pipeline, *, stateless: bool = True, in_any_unit: bool = False
    ) -> None:
        self._pipeline = pipeline
        self._stateless = stateless
        self._in_any_unit = in_any_unit  # floating-point ir
        self._has_doubted = False  # the temperatures

    @property
    def classes(self) -> tuple[str, ...]:
        """Return the names of the classes that the model detects."""
        return self._pipeline.contract.classes

    @property
    def backend(self) -> str:
        """Return the backend in use: ``cpu``, ``cuda`` or ``trt``."""
        return self._pipeline.backend.name

    def __call__(self, rgb: np.ndarray, ir: np.ndarray, *, time_s: float | None = None) -> Result:
        """
        Fuse one rgb and one ir image, taken at the same time.

        :param rgb: (H, W, 3) uint8, channel order R, G, B (OpenCV reads B, G, R:
            ``rgb = bgr[..., ::-1]``).
        :param ir: (h, w), hot is bright unless ``ir.invert`` is set. uint8 is used as it is;
            uint16 counts are scaled between two percentiles of the image, or as
            set by ``ir.normalization``; floating point must be in [0, 1] and is used as it is,
            unless ``ir.normalization`` is ``percentile`` or ``fixed``: then they may be
            temperatures, NaN: no value. (h, w, 3) is accepted if the three channels are equal.
            Without a calibration an ir image of another size is stretched to the size of rgb.
        :param time_s: of a stream: when the images were taken, by any clock, for the tracker [s];
            None: now.
        :raises ValueError: if an array has another shape or dtype, float ir leaves [0, 1], or
            ``time_s`` is not finite.
        :raises FusionError: if ir is in false colors, or the calibration maps nothing into it.
        """
        stamp_ns = 0  # not tracked
        if self._stateless:
            self._pipeline.reset()
        else:
            time_s = monotonic() if time_s is None else time_s
            try:
                stamp_ns = 1 + round(float(time_s) * 1e9)
            except (TypeError, ValueError, OverflowError):  # ValueError: NaN
                raise ValueError(f'time_s must be a time in seconds, got {time_s!r}') from None
        frames = Frame(_checked_rgb(rgb), stamp_ns), Frame(self._checked_ir(ir), stamp_ns)
        result = self._pipeline.process(*frames)
        if not self._has_doubted and (doubt := self._pipeline.remarks.get(SETTING)):
            self._has_doubted = True
            log.warning('%s: %s', SETTING, doubt)
        pair, masks = result.pair, (result.segmentation, self._pipeline.contract.mask_classes)
        found = result.detections, self.classes
        return Result(result.image, pair.ir, pair.coverage, *found, *masks)

    def stream(self) -> 'Fuser':
        """
        Return a fuser for the consecutive frames of one pair of cameras.

        It smooths the scaling of 16-bit ir over time, as the ROS node does, so that the image does
        not flicker, and tracks detections. It shares the backend with this one and starts without
        a history.
        """
        return Fuser(self._pipeline.fresh(), stateless=False, in_any_unit=self._in_any_unit)

    def _checked_ir(self, ir: Any) -> np.ndarray:
        array = np.asarray(ir)
        shaped = array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 3)
        if shaped and array.size and array.dtype in (np.uint8, np.uint16):
            return array
        if array.ndim != 2 or not array.size or not np.issubdtype(array.dtype, np.floating):
            raise ValueError(
                'ir must be (H, W) or (H, W, 3) uint8 or uint16, or (H, W) floating point in '
                f'[0, 1], got {_described(array)}'
            )
        low, high = float(array.min()), float(array.max())
        if not self._in_any_unit and not (low >= 0.0 and high <= 1.0):  # also false for NaN
            raise ValueError(
                f'floating point ir must be in [0, 1], got {low:g} to {high:g}; temperatures: set '
                "ir={'normalization': 'percentile'}; counts are uint16"
            )
        return array.astype(np.float32)


def load(
    model: str | Path = 'msrs_rt',
    *,
    backend: str = 'auto',
    calibration: str | Path | None = None,
    **settings: Any,
) -> Fuser:
    """
    Load a model and return a function that fuses images with it.

    :param model: the name of a shipped bundle; or a bundle's folder: a ``Path``, or text with a
        slash, as ``'./mine'``.
    :param backend: ``auto``, ``cpu``, ``cuda`` or ``trt``; the choice of ``auto`` is logged.
    :param calibration: a calibration file (YAML, ir to rgb); None or empty: both cameras have the
        same field of view.
    :param settings: any other setting of :class:`tdfusion_ros.core.config.FusionConfig`, as
        ``score_threshold=0.5`` or ``ir={'invert': True}``. Settings that only concern topics
        and pairing have no effect here.
    :raises FusionError: if a setting, the model, the calibration or the backend cannot be used.
    """
    name = model if isinstance(model, str) else str(model.expanduser().absolute())
    own = {'model': name, 'backend': backend, 'calibration': str(calibration or '')}
    config = from_mapping({**own, **settings})
    in_any_unit = config.ir.normalization in ('percentile', 'fixed')
    return Fuser(build_pipeline(config, log.info), in_any_unit=in_any_unit)


def _checked_rgb(rgb: Any) -> np.ndarray:
    array = np.asarray(rgb)
    if array.ndim != 3 or array.shape[2] != 3 or array.dtype != np.uint8 or not array.size:
        raise ValueError(f'rgb must be (H, W, 3) uint8, got {_described(array)}')
    return array


def _described(array: np.ndarray) -> str:
    return f'{array.dtype} of shape {array.shape}'
