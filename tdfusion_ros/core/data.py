"""The values that modules exchange: checked when they are made, never changed afterwards."""

from collections.abc import Iterator
from dataclasses import dataclass
from dataclasses import field
from math import nan

import numpy as np

Size = tuple[int, int]  # height, width [px]
ZERO_CELSIUS_K = 273.15
MAX_SIDE_PX = 8192  # larger images are refused


def _require(condition: bool, expected: str, array: np.ndarray) -> None:
    if not condition:
        raise ValueError(f'expected {expected}, got {array.dtype} {array.shape}')


@dataclass(frozen=True, eq=False)
class Frame:
    """
    One image as the sensor sent it.

    :param pixels: (H, W) or (H, W, 3), uint8 or uint16, color in the order R, G, B; or an ir image
        of temperatures, or scaled to [0, 1] already: (H, W) float32, NaN where there is no value.
    :param stamp_ns: time of exposure, as the driver states it [ns].
    :param frame_id: the optical frame of the camera.
    :param encoding: as the message stated it, for example ``mono16`` or ``jpeg``; ``pixels`` are
        decoded.
    """

    pixels: np.ndarray
    stamp_ns: int
    frame_id: str = ''
    encoding: str = ''

    def __post_init__(self) -> None:
        p = self.pixels
        gray, color = p.ndim == 2, p.ndim == 3 and p.shape[2] == 3
        counts = (gray or color) and p.dtype in (np.uint8, np.uint16)
        _require(
            p.size > 0 and (counts or (gray and p.dtype == np.float32)),
            '(H, W) or (H, W, 3) uint8 or uint16, or (H, W) float32',
            p,
        )

    @property
    def size_hw(self) -> Size:
        """Height and width [px]."""
        return self.pixels.shape[0], self.pixels.shape[1]


@dataclass(frozen=True, eq=False)
class RegisteredPair:
    """
    Both images on the grid of the rgb camera.

    :param rgb: (H, W, 3) uint8, order R, G, B.
    :param ir: (H, W) float32 in [0, 1], hot is bright.
    :param coverage: (H, W) float32 in [0, 1]: 1 where the thermal camera sees, with a soft border;
        0 where it does not see, where ``ir`` is 0 and the fused image is ``rgb``.
    """

    rgb: np.ndarray
    ir: np.ndarray
    coverage: np.ndarray

    def __post_init__(self) -> None:
        rgb, grid = self.rgb, self.rgb.shape[:2]
        _require(rgb.shape == (*grid, 3) and rgb.dtype == np.uint8, '(H, W, 3) uint8', rgb)
        for image in (self.ir, self.coverage):
            _require(image.shape == grid and image.dtype == np.float32, f'{grid} float32', image)

    @property
    def valid(self) -> np.ndarray:
        """(H, W) bool: where the thermal camera sees."""
        return self.coverage > 0

    @property
    def size_hw(self) -> Size:
        """Height and width [px]."""
        return self.ir.shape[0], self.ir.shape[1]


@dataclass(frozen=True, eq=False)
class RawOutput:
    """What the graph returns, shaped as in ``Contract``; None: not needed, or no masks."""

    fused: np.ndarray | None
    boxes_xyxy: np.ndarray
    scores: np.ndarray
    segmentation: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Temperatures:
    """
    What the thermal camera measured inside each box: minimum, median and maximum.

    :param counts: (N, 3) float64, as the camera sent them; NaN: it measured nothing in this box.
    :param kelvin: (N, 3) float64, the same in kelvin; NaN: not known.
    """

    counts: np.ndarray
    kelvin: np.ndarray

    def __post_init__(self) -> None:
        for values in (self.counts, self.kelvin):
            _require(values.shape == (len(self.counts), 3), '(N, 3)', values)


@dataclass(frozen=True, eq=False)
class Detections:
    """
    The detected objects, best first.

    :param boxes_xyxy: (N, 4) float32, pixels of the fused image: left, top, right, bottom.
    :param scores: (N,) float32 in [0, 1].
    :param class_ids: (N,) int64, indices into the contract's classes.
    :param temperatures: None: not measured, as in 8 bits.
    :param ids: (N,) int64 from 1: an object keeps its id; None: not tracked.
    """

    boxes_xyxy: np.ndarray
    scores: np.ndarray
    class_ids: np.ndarray
    temperatures: Temperatures | None = None
    ids: np.ndarray | None = None

    def __post_init__(self) -> None:
        count = len(self)
        _require(self.boxes_xyxy.shape == (count, 4), f'({count}, 4)', self.boxes_xyxy)
        for column in (self.class_ids, self.ids):
            if column is not None:
                _require(column.shape == (count,), f'({count},)', column)

    def __len__(self) -> int:
        return len(self.scores)

    def rows(self) -> Iterator[tuple[list[float], float, int, int]]:
        """Yield box, score, class id and id (0: none) of each detection as plain numbers."""
        ids = np.zeros(len(self), np.int64) if self.ids is None else self.ids
        columns = self.boxes_xyxy, self.scores, self.class_ids, ids
        return zip(*(column.tolist() for column in columns), strict=True)

    @property
    def highest_c(self) -> list[float]:
        """Return the highest temperature inside each box [°C]; NaN: not known."""
        if self.temperatures is None:
            return [nan] * len(self)
        return (self.temperatures.kelvin[:, 2] - ZERO_CELSIUS_K).tolist()


@dataclass(frozen=True, eq=False)
class FusionResult:
    """
    The image to show and the objects in it, with the time of each stage [ns].

    :param fused: (H, W, 3) uint8 RGB on the rgb camera's grid: fused; rgb or gray ir while the
        other camera is missing; None if the backend omitted it because nobody needs it.
    :param segmentation: (H, W) uint8, the index of the class of each pixel into the contract's
        ``mask_classes``; None if the bundle has no masks, or nobody needs them.
    """

    fused: np.ndarray | None
    detections: Detections
    pair: RegisteredPair
    stage_ns: dict[str, int] = field(default_factory=dict)
    segmentation: np.ndarray | None = None

    @property
    def image(self) -> np.ndarray:
        """``fused``, for callers that asked for it."""
        if self.fused is None:
            raise ValueError('there is no fused image: it was not requested')
        return self.fused
