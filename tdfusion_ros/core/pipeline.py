"""The way of a pair through the house, on one screen."""

from time import perf_counter_ns
from typing import Protocol

import cv2
import numpy as np

from tdfusion_ros.core.calibration import Calibration
from tdfusion_ros.core.config import FusionConfig
from tdfusion_ros.core.contract import Contract
from tdfusion_ros.core.data import Frame
from tdfusion_ros.core.data import FusionResult
from tdfusion_ros.core.data import RawOutput
from tdfusion_ros.core.data import RegisteredPair
from tdfusion_ros.core.errors import FrameError
from tdfusion_ros.core.postprocess import detections
from tdfusion_ros.core.postprocess import wanted_classes
from tdfusion_ros.core.registration import Registration
from tdfusion_ros.core.thermal import ThermalScaler


class Backend(Protocol):
    """An engine that runs the graph of a bundle."""

    name: str

    def run(self, rgb: np.ndarray, ir: np.ndarray, *, fused: bool = True) -> RawOutput:
        """
        Run the graph on (H, W, 3) uint8 and (H, W) float32, both contiguous.

        :param fused: False: nobody wants the fused image; an engine may leave it out.
        """


class Pipeline:
    """Turn a pair of frames into a fused image and detections."""

    def __init__(
        self, config: FusionConfig, contract: Contract, calibration: Calibration, backend: Backend
    ) -> None:
        self.contract = contract
        self.backend = backend
        self._config = config
        self._wanted = wanted_classes(config.class_filter, contract.classes)
        self._scaler = ThermalScaler(config.ir)
        self._registration = Registration(calibration)
        self._last_ns = 0

    def reconfigure(self, config: FusionConfig) -> None:
        """
        Take the live settings of another config from the next pair on; the engine stays.

        :raises ConfigError: if it names a class that the model does not know.
        """
        if config is self._config:
            return
        self._wanted = wanted_classes(config.class_filter, self.contract.classes)
        if config.ir != self._config.ir:
            self._scaler = ThermalScaler(config.ir)
        self._config = config

    def process(self, rgb: Frame, ir: Frame, *, fused: bool = True) -> FusionResult:
        """
        Fuse two frames that belong together.

        :param fused: False: nobody wants the fused image, only the detections.
        :raises FrameError: if a frame cannot be used.
        """
        marks = [perf_counter_ns()]
        if rgb.stamp_ns < self._last_ns:  # a bag begins anew: what was learnt is of another time
            self._scaler.reset()
        self._last_ns = rgb.stamp_ns
        colour = _colour(rgb.pixels)
        heat = self._scaler.scale(ir.pixels)
        marks.append(perf_counter_ns())
        pair = RegisteredPair(colour, *self._registration.apply(heat, rgb.size_hw))
        marks.append(perf_counter_ns())
        raw = self._network(pair, fused)
        marks.append(perf_counter_ns())
        found = detections(raw.boxes_xyxy, raw.scores, rgb.size_hw, self._config, self._wanted)
        marks.append(perf_counter_ns())
        names = ('thermal', 'registration', 'network', 'postprocess')
        stage_ns = dict(zip(names, np.diff(marks).tolist(), strict=True))
        return FusionResult(raw.fused, found, pair, stage_ns)

    def _network(self, pair: RegisteredPair, fused: bool) -> RawOutput:
        height, width = pair.ir.shape
        multiple = self.contract.size_multiple
        below, right = -height % multiple, -width % multiple
        if not below and not right:
            return self.backend.run(pair.rgb, np.ascontiguousarray(pair.ir), fused=fused)
        rgb, ir = (
            cv2.copyMakeBorder(image, 0, below, 0, right, cv2.BORDER_REPLICATE)
            for image in (pair.rgb, pair.ir)
        )
        raw = self.backend.run(rgb, ir, fused=fused)
        if raw.fused is None:
            return raw
        cut = np.ascontiguousarray(raw.fused[:height, :width])
        return RawOutput(cut, raw.boxes_xyxy, raw.scores)


def _colour(pixels: np.ndarray) -> np.ndarray:
    if pixels.dtype != np.uint8:
        raise FrameError('bad_encoding', "the rgb image has 16 bits; is it the ir camera's?")
    if pixels.ndim == 2:
        return cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_GRAY2RGB)
    if pixels.strides[1:] == (3, -1):  # bgr8 read backwards: 30 times faster than NumPy
        return cv2.cvtColor(pixels[..., ::-1], cv2.COLOR_BGR2RGB)
    return np.ascontiguousarray(pixels)
