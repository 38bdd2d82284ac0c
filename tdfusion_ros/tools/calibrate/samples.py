"""What is read to calibrate: some pairs of the input, and a bag's camera_info and TF."""

from collections.abc import Iterable
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from tdfusion_ros.core.config import IrConfig
from tdfusion_ros.core.data import Frame
from tdfusion_ros.core.errors import BagError
from tdfusion_ros.core.errors import CalibrationError
from tdfusion_ros.core.errors import FrameError
from tdfusion_ros.core.thermal import ThermalScaler
from tdfusion_ros.formats.bags import BagReader
from tdfusion_ros.formats.bags import INFO_TYPE
from tdfusion_ros.formats.offline import NamedPair
from tdfusion_ros.tools.calibrate.geometry import Size
from tdfusion_ros.tools.calibrate.patch_matching import GrayPair

TF_TYPE = 'tf2_msgs/msg/TFMessage'


@dataclass(frozen=True, eq=False)
class Pairs:
    """
    Pairs to calibrate from.

    :param gray: (rgb, ir), each (H, W); rgb uint8, ir float32 in [0, 1].
    :param frames: frame ids of rgb and ir; empty where they have none.
    """

    gray: list[GrayPair]
    frames: tuple[str, str]

    @property
    def rgb_hw(self) -> Size:
        """Size of the rgb images [px]."""
        return self.gray[0][0].shape[:2]

    @property
    def ir_hw(self) -> Size:
        """Size of the ir images [px]."""
        return self.gray[0][1].shape[:2]


def some_pairs(source: Iterable[NamedPair], number: int, ir: IrConfig) -> Pairs:
    """
    Return up to ``number`` pairs, spread evenly; never more than twice as many are held.

    What was made while a camera stalled is left out.

    :raises BagError: if there is none, or if they are of several sizes.
    """
    kept: list[tuple[GrayPair, tuple[str, str]]] = []
    stride = 1
    scaler = ThermalScaler(ir)
    for count, (name, rgb_frame, ir_frame) in enumerate(_fresh(source)):
        if count % stride:
            continue
        try:
            scaler.reset()  # each pair by itself: they may be minutes apart
            heat = scaler.scale(ir_frame.pixels)
            kept.append(((_gray(rgb_frame), heat), (rgb_frame.frame_id, ir_frame.frame_id)))
        except FrameError as error:
            raise BagError(f'pair {name} cannot be used: {error}') from None
        if len(kept) == 2 * number:
            kept, stride = kept[::2], 2 * stride
    if not kept:
        raise BagError(
            'no pair was found; compare the stamps of both cameras, see sync.max_skew_ms and '
            'sync.ir_time_offset_ms'
        )
    sizes = {(rgb.shape, heat.shape) for (rgb, heat), _ in kept}
    if len(sizes) > 1:
        raise BagError(
            f'the pairs are of {len(sizes)} different sizes, so not of one rig; calibrate each '
            'rig by itself'
        )
    spread = np.linspace(0, len(kept) - 1, min(number, len(kept))).round().astype(int)
    return Pairs([kept[i][0] for i in spread], kept[0][1])


def _fresh(source: Iterable[NamedPair]) -> Iterator[tuple[str, Frame, Frame]]:
    for name, match in source:
        if match.mode == 'fused' and match.rgb is not None and match.ir is not None:
            yield name, match.rgb, match.ir


def _gray(rgb: Frame) -> np.ndarray:
    pixels = np.ascontiguousarray(rgb.pixels)
    if pixels.dtype != np.uint8:
        raise FrameError('bad_encoding', "the rgb image has 16 bits; is it the ir camera's?")
    return pixels if pixels.ndim == 2 else cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)


def camera_info(reader: BagReader, image_topic: str, stream: str) -> Any:
    """
    Return the first camera_info beside an image topic of a bag.

    :raises CalibrationError: if there is none, or if the images are rectified.
    """
    if 'rect' in image_topic.rpartition('/')[2] or '_rect/' in image_topic:
        raise CalibrationError(
            f'{image_topic} looks rectified, so K and D of its camera_info do not belong to it; '
            f'name the raw images with --{stream}-topic'
        )
    topic = image_topic.removesuffix('/compressed').rpartition('/')[0] + '/camera_info'
    if reader.topics().get(topic) == INFO_TYPE:
        for _, _, message in reader.messages(topic):
            return message
    raise CalibrationError(
        f'bag {reader.path} has no {topic}; record it, or give --{stream}-info FILE'
    )


def static_transforms(reader: BagReader) -> list[Any]:
    """Return the messages of /tf_static, of whatever namespace."""
    topics = [
        topic
        for topic, kind in reader.topics().items()
        if kind == TF_TYPE and topic.endswith('/tf_static')
    ]
    return [message for _, _, message in reader.messages(*topics)] if topics else []
