"""Read the image pairs to calibrate from."""

from dataclasses import dataclass

import cv2
import numpy as np

from tdfusion_ros.core.calibration import Sides
from tdfusion_ros.core.calibration import Size
from tdfusion_ros.core.config import FusionConfig
from tdfusion_ros.core.errors import BagError
from tdfusion_ros.core.errors import FrameError
from tdfusion_ros.core.rgb_image import rgb_image
from tdfusion_ros.core.thermal import ThermalScaler
from tdfusion_ros.formats.sources import Source
from tdfusion_ros.formats.sources import why_no_pair

GrayPair = tuple[np.ndarray, np.ndarray]  # (H, W) uint8 rgb, (H, W) float32 ir in [0, 1]


@dataclass(frozen=True, eq=False)
class ImagePairs:
    """
    Pairs of one rig: (rgb, ir), each (H, W), uint8 and float32 in [0, 1]; with their names.

    :param ir_sent_hw: size of ir as sent, before ``cut`` was cut off; None: that of ``gray``.
    """

    gray: list[GrayPair]
    names: list[str]
    frame_ids: tuple[str, str] = ('', '')
    ir_sent_hw: Size | None = None
    cut: Sides = (0, 0, 0, 0)

    @property
    def rgb_hw(self) -> Size:
        return self.gray[0][0].shape[:2]

    @property
    def ir_hw(self) -> Size:
        return self.gray[0][1].shape[:2]


def read_pairs(source: Source, number: int, config: FusionConfig) -> ImagePairs:
    """
    Return up to ``number`` pairs, spread evenly; at most twice as many are in memory.

    Results that the synchronizer made while a camera stalled are left out, and pairs that cannot
    be used; ``source.errors`` says why.

    :raises BagError: if there is no pair, or if the pairs have different sizes.
    """
    kept: list[tuple[GrayPair, str]] = []
    scaler, stride, count = ThermalScaler(config.ir), 1, 0
    for pair in source:
        if pair.mode != 'fused' or pair.rgb is None or pair.ir is None:
            continue
        count += 1
        if (count - 1) % stride:
            continue
        try:
            scaler.reset()  # pairs may be minutes apart, so scale each on its own
            gray = cv2.cvtColor(rgb_image(pair.rgb.pixels), cv2.COLOR_RGB2GRAY)
            name = pair.stem or f'{pair.reference.stamp_ns / 1e9:.3f} s'
            kept.append(((gray, scaler.scale(pair.ir.pixels)), name))
        except FrameError as error:
            source.errors.setdefault(error.cause, str(error))
            continue
        frame_ids, sent = (pair.rgb.frame_id, pair.ir.frame_id), (pair.ir.size_hw, scaler.cut)
        if len(kept) == 2 * number:
            kept, stride = kept[::2], 2 * stride
    if not kept:
        raise BagError(f'no pair can be used: {why_no_pair(source, config.sync)}')
    sizes = {(rgb.shape, thermal.shape) for (rgb, thermal), _ in kept}
    if len(sizes) > 1:
        raise BagError(
            f'the pairs have {len(sizes)} different sizes, expected one; calibrate each rig and '
            'camera mode separately'
        )
    spread = np.linspace(0, len(kept) - 1, min(number, len(kept))).round().astype(int)
    gray_pairs, names = zip(*(kept[i] for i in spread), strict=True)
    return ImagePairs(list(gray_pairs), list(names), frame_ids, *sent)
