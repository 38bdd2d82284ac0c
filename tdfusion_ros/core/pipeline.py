"""From two frames to a fused image and detections."""

from collections.abc import Callable
from collections.abc import Generator
from dataclasses import replace
from functools import partial
from time import perf_counter_ns
from typing import Protocol

import cv2
import numpy as np

from tdfusion_ros.core.calibration import Calibration
from tdfusion_ros.core.calibration import cropped
from tdfusion_ros.core.calibration import Identity
from tdfusion_ros.core.calibration import Sides
from tdfusion_ros.core.camera_monitor import is_repeated
from tdfusion_ros.core.camera_monitor import probe
from tdfusion_ros.core.config import FusionConfig
from tdfusion_ros.core.contract import Contract
from tdfusion_ros.core.coverage import composite
from tdfusion_ros.core.coverage import soft
from tdfusion_ros.core.data import Detections
from tdfusion_ros.core.data import Frame
from tdfusion_ros.core.data import FusionResult
from tdfusion_ros.core.data import RawOutput
from tdfusion_ros.core.data import RegisteredPair
from tdfusion_ros.core.data import Size
from tdfusion_ros.core.data import Temperatures
from tdfusion_ros.core.postprocess import detections
from tdfusion_ros.core.postprocess import wanted_classes
from tdfusion_ros.core.registration import Registration
from tdfusion_ros.core.registration import rgb_to_ir
from tdfusion_ros.core.rgb_image import rgb_image
from tdfusion_ros.core.synchronizer import FramePair
from tdfusion_ros.core.temperature import measure
from tdfusion_ros.core.thermal import ThermalScaler
from tdfusion_ros.core.tracker import Tracker
from tdfusion_ros.core.tracker import WEAK

STAGES = ('thermal', 'registration', 'network', 'postprocess')
ALIKE = 1.1  # largest ratio of two aspect ratios that may be of one field of view
Run = Callable[[], tuple[RawOutput, int]]  # the result, and how long it took [ns]


class Engine(Protocol):
    """What runs the graph of a bundle."""

    def run(
        self,
        rgb: np.ndarray,
        ir: np.ndarray,
        coverage: np.ndarray,
        *,
        fused: bool = True,
        segmentation: bool = True,
    ) -> RawOutput:
        """Run on (H, W, 3) uint8 and twice (H, W) float32; may omit what is not wanted."""


class Backend(Engine, Protocol):
    """One that says what it is, as ``cpu`` and ``ONNX Runtime 1.31``."""

    name: str
    engine: str


def _doubt_of(calibration: Calibration, rgb_hw: Size, ir_hw: Size) -> dict[str, str]:
    """Return by setting what is wrong with images of these sizes without a calibration."""
    ratio = (rgb_hw[1] * ir_hw[0]) / (rgb_hw[0] * ir_hw[1])
    if not isinstance(calibration, Identity) or max(ratio, 1 / ratio) <= ALIKE:
        return {}
    rgb, ir = (f'{width}x{height}' for height, width in (rgb_hw, ir_hw))
    return {
        'calibration': f'rgb is {rgb} and ir {ir}: without a calibration ir is stretched over '
        'rgb, so people may be in different places; run tdfusion calibrate'
    }


class Pipeline:
    """Turn frame pairs into fused images and detections."""

    def __init__(
        self, config: FusionConfig, contract: Contract, calibration: Calibration, backend: Backend
    ) -> None:
        self.contract = contract
        self.backend = backend
        self._config = config
        self._given = self._calibration = calibration
        self._cut: tuple[Size, Sides] | None = None  # of the calibration
        self._wanted = wanted_classes(config.class_filter, contract.classes)
        self._scaler = ThermalScaler(config.ir)
        self._registration = Registration(calibration)
        self._doubts: dict[str, str] = {}
        self._tracker = Tracker()
        self._last_ns = 0
        self._ir: tuple[np.ndarray | None, int] = None, 0  # a grid of the last new image, its time
        nothing = np.zeros((0, 0), np.float32)
        self._coverage = nothing, nothing  # of the last pair, and what the graph gets for it

    def fresh(self) -> 'Pipeline':
        """Return a pipeline with the same settings and backend that has processed no frame."""
        return Pipeline(self._config, self.contract, self._given, self.backend)

    def reset(self) -> None:
        """Forget the thermal range and the objects of earlier frames."""
        self._scaler.reset()
        self._tracker.reset()
        self._last_ns = 0

    @property
    def remarks(self) -> dict[str, str]:
        """Return what was left out of the last ir image, or is doubtful, by setting."""
        return self._scaler.remarks | self._doubts

    def reconfigure(self, config: FusionConfig) -> None:
        """Use the live settings of another config from the next pair on, or raise ConfigError."""
        if config is self._config:
            return
        self._wanted = wanted_classes(config.class_filter, self.contract.classes)
        if config.ir != self._config.ir:
            self._scaler = ThermalScaler(config.ir)
        self._config = config

    def overlap(self) -> int:
        """Let :meth:`steps` of pairs overlap; return how many the backend can run at once."""
        return getattr(self.backend, 'overlap', lambda: 1)()

    def recalibrate(self, calibration: Calibration) -> None:
        """Use another calibration from the next pair on."""
        if calibration is not self._given:
            self._given, self._cut = calibration, None

    def process(self, rgb: Frame, ir: Frame, *, fused: bool = True) -> FusionResult:
        """Fuse two frames that belong together, as :meth:`process_pair`."""
        return self.process_pair(FramePair(rgb, ir, 'fused', rgb), fused=fused)

    def process_pair(self, pair: FramePair, **wanted: bool) -> FusionResult:
        """Fuse a pair; arguments and errors as of :meth:`steps`."""
        steps = self.steps(pair, **wanted)
        try:
            steps.send(next(steps))
        except StopIteration as end:
            return end.value
        raise AssertionError('steps yields once')

    def steps(
        self,
        pair: FramePair,
        *,
        fused: bool = True,
        measured: bool = True,
        segmentation: bool = True,
    ) -> Generator[Run, Run, FusionResult]:
        """
        Fuse a pair, or the image that is there, in two steps; or raise FrameError.

        Yields a function that runs the network, perhaps in another thread while the next pair
        begins, and takes one that returns its result. Pairs end in the order in which they began.

        :param fused: False: the fused image is not needed; ``segmentation``: False: no masks are.
        :param measured: return the temperatures of the detections, if ir has more than 8 bits.
        """
        marks_ns = [perf_counter_ns()]
        rgb = None if pair.rgb is None else rgb_image(pair.rgb.pixels)
        ir = self._scale(pair)
        marks_ns.append(perf_counter_ns())
        registered = self._register(pair, rgb, ir)
        find = self._finder(pair, registered.size_hw, measured=measured)
        both = rgb is not None and ir is not None
        run = self._network(registered, fused=fused and both, segmentation=segmentation)
        marks_ns.append(perf_counter_ns())
        raw, network_ns = (yield run)()  # from here on, the settings may belong to a later pair
        marks_ns.append(perf_counter_ns())
        image = raw.fused if both else registered.rgb
        if rgb is None:
            gray = cv2.convertScaleAbs(registered.ir, alpha=255)
            image = cv2.cvtColor(gray, cv2.COLOR_GRAY2RGB)
        found = find(raw)
        marks_ns.append(perf_counter_ns())
        stage_ns = dict(zip(STAGES, np.diff(marks_ns).tolist(), strict=True))
        stage_ns['network'] = network_ns  # without the wait for an earlier pair
        return FusionResult(image, found, registered, stage_ns, raw.segmentation)

    def _finder(
        self, pair: FramePair, size_hw: Size, *, measured: bool
    ) -> Callable[[RawOutput], Detections]:
        """Return what makes detections of raw boxes, with the settings of this moment."""
        how, stamp_ns = (self._config, self._wanted), pair.reference.stamp_ns
        measure_boxes = self._thermometer(pair, size_hw) if measured else None
        tracks = self._config.tracker == 'iou' and stamp_ns != 0  # images of files have none
        stale = tracks and self._is_stale(pair)

        def find(raw: RawOutput) -> Detections:
            share = WEAK if tracks else 1.0
            found = detections(raw.boxes_xyxy, raw.scores, size_hw, *how, share=share)
            if tracks:
                threshold = how[0].score_threshold
                found = self._tracker.update(found, stamp_ns, threshold, stale=stale)
            if measure_boxes:
                found = replace(found, temperatures=measure_boxes(found.boxes_xyxy))
            return found

        return find

    def _is_stale(self, pair: FramePair) -> bool:
        """Return whether ir shows the last image again: a shutter, a slow or a missing camera."""
        stamp_ns = pair.reference.stamp_ns
        grid = None if pair.ir is None else probe(pair.ir.pixels)
        if grid is not None and is_repeated(grid, self._ir[0]):
            return 0 <= stamp_ns - self._ir[1] <= self._config.sync.max_age_ms * 1e6
        self._ir = grid, stamp_ns
        return False

    def _scale(self, pair: FramePair) -> np.ndarray | None:
        if pair.ir is None:
            self._scaler.reset()  # the camera may come back with other offsets: a shutter, a cable
            return None
        stamp_ns = (pair.rgb or pair.ir).stamp_ns
        if stamp_ns < self._last_ns:  # a bag loops: the range belongs to a later time
            self._scaler.reset()
        self._last_ns = stamp_ns
        return self._scaler.scale(pair.ir.pixels)

    def _register(
        self, pair: FramePair, rgb: np.ndarray | None, ir: np.ndarray | None
    ) -> RegisteredPair:
        """Return both images on the rgb grid, a missing one as black."""
        size_hw = pair.reference.size_hw
        if pair.ir is None or ir is None:
            ir, coverage = np.zeros(size_hw, np.float32), np.zeros(size_hw, np.float32)
        elif pair.reference is pair.ir:  # no rgb image has arrived so far: the grid is unknown
            seen, size_hw = self._scaler.seen, ir.shape[:2]
            coverage = np.ones(size_hw, np.float32) if seen is None else soft(seen)
        else:
            self._crop_calibration(pair.ir.size_hw)
            self._doubts = _doubt_of(self._calibration, size_hw, (ir.shape[0], ir.shape[1]))
            ir, coverage = self._registration.apply(ir, size_hw, self._scaler.seen)
        rgb = np.zeros((*size_hw, 3), np.uint8) if rgb is None else rgb
        return RegisteredPair(rgb, ir, coverage)

    def _crop_calibration(self, sent_hw: Size) -> None:
        """Let a calibration of whole ir images follow what ``ir.crop`` cuts off."""
        if self._cut != (sent_hw, self._scaler.cut):
            self._cut = sent_hw, self._scaler.cut
            self._calibration = cropped(self._given, *self._cut)
            self._registration = Registration(self._calibration)

    def _thermometer(
        self, pair: FramePair, size_hw: Size
    ) -> Callable[[np.ndarray], Temperatures] | None:
        """Return what measures boxes in the raw ir image, if it is raw."""
        counts, missing = self._scaler.counts, self._scaler.missing
        if counts is None:
            return None
        calibration = Identity() if pair.reference is pair.ir else self._calibration
        to_ir = partial(rgb_to_ir, calibration, rgb_size_hw=size_hw, ir_size_hw=counts.shape[:2])
        return partial(
            measure, counts=counts, missing=missing, to_ir=to_ir, config=self._config.ir
        )

    def _network(self, pair: RegisteredPair, **wanted: bool) -> Run:
        """Return what runs the network on images padded to multiples of ``size_multiple``."""
        rgb, ir = (self._padded(image) for image in (pair.rgb, pair.ir))
        if self._coverage[0] is not pair.coverage:  # it stays the same while the geometry does
            reads_it = self.contract.reads_coverage
            given = pair.coverage if reads_it else np.ones_like(pair.coverage)
            self._coverage = pair.coverage, self._padded(given)
            self._coverage[1].flags.writeable = False
        return partial(self._run, pair, (rgb, ir, self._coverage[1]), **wanted)

    def _run(
        self, pair: RegisteredPair, images: tuple[np.ndarray, ...], **wanted: bool
    ) -> tuple[RawOutput, int]:
        (rgb, ir, coverage), (height, width) = images, pair.size_hw
        start_ns = perf_counter_ns()
        raw = self.backend.run(rgb, ir, coverage, **wanted)
        if raw.segmentation is not None:
            raw = replace(raw, segmentation=raw.segmentation[:height, :width])
        if raw.fused is not None:
            image = np.ascontiguousarray(raw.fused[:height, :width])
            if not self.contract.reads_coverage:
                image = composite(pair.rgb, image, pair.coverage)
            raw = replace(raw, fused=image)
        return raw, perf_counter_ns() - start_ns

    def _padded(self, image: np.ndarray) -> np.ndarray:
        """Return an image with sides that are multiples of the contract's ``size_multiple``."""
        bottom, right = (-side % self.contract.size_multiple for side in image.shape[:2])
        if not bottom and not right:
            return np.ascontiguousarray(image)
        return cv2.copyMakeBorder(image, 0, bottom, 0, right, cv2.BORDER_REPLICATE)
