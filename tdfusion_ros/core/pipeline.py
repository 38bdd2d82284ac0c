"""The way of a pair through the house, on one screen."""

from dataclasses import replace
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
from tdfusion_ros.core.synchronizer import FramePair
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
        self._calibration = calibration
        self._wanted = wanted_classes(config.class_filter, contract.classes)
        self._scaler = ThermalScaler(config.ir)
        self._registration = Registration(calibration)
        self._last_ns = 0

    def fresh(self) -> 'Pipeline':
        """Return a pipeline with the same settings and engine that has seen no frame."""
        return Pipeline(self._config, self.contract, self._calibration, self.backend)

    def reset(self) -> None:
        """Forget the thermal range of earlier frames."""
        self._scaler.reset()
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

    def process_pair(self, match: FramePair, *, fused: bool = True) -> FusionResult:
        """
        Make a result of a pair, or of the one camera that is left.

        :param fused: as of :meth:`process`; of one camera, its own image is always shown.
        :raises FrameError: if a frame cannot be used.
        """
        if match.rgb is not None and match.ir is not None:
            return self.process(match.rgb, match.ir, fused=fused)
        if match.rgb is not None:
            return self._rgb_only(match.rgb)
        assert match.ir is not None
        return self._ir_only(
            match.ir, None if match.reference is match.ir else match.reference.size_hw
        )

    def process(self, rgb: Frame, ir: Frame, *, fused: bool = True) -> FusionResult:
        """
        Fuse two frames that belong together.

        :param fused: False: nobody wants the fused image, only the detections.
        :raises FrameError: if a frame cannot be used.
        """
        begun = perf_counter_ns()
        color, heat = _color(rgb.pixels), self._heat(ir, rgb.stamp_ns)
        scaled = perf_counter_ns()
        pair = RegisteredPair(color, *self._registration.apply(heat, rgb.size_hw))
        marks = [begun, scaled, perf_counter_ns()]
        return self._finish(pair, self._network(pair, fused), marks)

    def _rgb_only(self, rgb: Frame) -> FusionResult:
        """Show the rgb image as it is, and search it with a black ir image beside it."""
        begun = perf_counter_ns()
        self._scaler.reset()  # the shutter that hides ir now changes its offsets
        nothing = np.zeros(rgb.size_hw, np.float32), np.zeros(rgb.size_hw, bool)
        pair = RegisteredPair(_color(rgb.pixels), *nothing)
        marks = [begun, perf_counter_ns(), perf_counter_ns()]
        return self._finish(pair, self._search(pair, pair.rgb), marks)

    def _ir_only(self, ir: Frame, size_hw: tuple[int, int] | None) -> FusionResult:
        """
        Show the ir image in gray on the rgb grid, and search it with a black rgb image.

        :param size_hw: of the rgb grid; None: no rgb image ever came, so it stays on its own.
        """
        begun = perf_counter_ns()
        heat = self._heat(ir, ir.stamp_ns)
        scaled = perf_counter_ns()
        if size_hw is None:
            valid = np.ones(heat.shape, bool)
        else:
            heat, valid = self._registration.apply(heat, size_hw)
        pair = RegisteredPair(np.zeros((*heat.shape, 3), np.uint8), heat, valid)
        shown = cv2.cvtColor(cv2.convertScaleAbs(heat, alpha=255), cv2.COLOR_GRAY2RGB)
        marks = [begun, scaled, perf_counter_ns()]
        return self._finish(pair, self._search(pair, shown), marks)

    def _heat(self, ir: Frame, stamp_ns: int) -> np.ndarray:
        if stamp_ns < self._last_ns:  # a bag begins anew: what was learnt is of another time
            self._scaler.reset()
        self._last_ns = stamp_ns
        return self._scaler.scale(ir.pixels)

    def _search(self, pair: RegisteredPair, shown: np.ndarray) -> RawOutput:
        """Return what the network detects, and another image than what it would fuse."""
        return replace(self._network(pair, fused=False), fused=shown)

    def _finish(self, pair: RegisteredPair, raw: RawOutput, marks: list[int]) -> FusionResult:
        """
        Read the network's output.

        :param marks: when the first stage began, and when each before the network ended [ns].
        """
        marks.append(perf_counter_ns())
        size_hw = pair.ir.shape[0], pair.ir.shape[1]
        found = detections(raw.boxes_xyxy, raw.scores, size_hw, self._config, self._wanted)
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


def _color(pixels: np.ndarray) -> np.ndarray:
    if pixels.dtype != np.uint8:
        raise FrameError('bad_encoding', "the rgb image has 16 bits; is it the ir camera's?")
    if pixels.ndim == 2:
        return cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_GRAY2RGB)
    if pixels.strides[1:] == (3, -1):  # bgr8 read backwards: 30 times faster than NumPy
        return cv2.cvtColor(pixels[..., ::-1], cv2.COLOR_BGR2RGB)
    return np.ascontiguousarray(pixels)
