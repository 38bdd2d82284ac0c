"""Pairs of messages to time with: recorded ones, or images of folders, resized where asked."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from tdfusion_ros.core.config import SyncConfig
from tdfusion_ros.core.data import Frame
from tdfusion_ros.core.errors import BagError
from tdfusion_ros.core.errors import FrameError
from tdfusion_ros.core.nearest_policy import NearestPolicy
from tdfusion_ros.formats import messages
from tdfusion_ros.formats.bags import bag_types
from tdfusion_ros.formats.bags import BagReader
from tdfusion_ros.formats.sources import FolderSource

LIMIT = 40  # held in memory; the demo bag has 37
JPEG_QUALITY = 92  # as in the demo bag

Pair = tuple[Any, Any]


@dataclass(frozen=True)
class Source:
    """
    Where pairs come from.

    :param paths: a bag, or a folder of rgb and one of ir images.
    :param topics: rgb and ir topic of the bag; empty: found by their names.
    :param size_hw: both images are resized to it [px]; None: they stay as they are.
    :param raw: make raw images of compressed ones, as most camera drivers send them.
    """

    paths: tuple[Path, ...]
    topics: tuple[str, str] = ('', '')
    size_hw: tuple[int, int] | None = None
    raw: bool = False


def load_pairs(source: Source, sync: SyncConfig) -> list[Pair]:
    """
    Return up to 40 pairs of messages (rosbags' classes), in the order of their stamps or names.

    :raises BagError: if there is none, or if their sizes differ.
    """
    if len(source.paths) not in (1, 2):
        raise BagError('pairs come from one bag or two folders')
    found = _recorded(source, sync) if len(source.paths) == 1 else _stored(source)
    pairs, sizes = [], set()
    for rgb, ir in found:
        try:
            pair = _wanted(rgb, source), _wanted(ir, source)
            sizes.add(tuple(messages.to_frame(message).size_hw for message in pair))
        except FrameError:  # the node would drop it, too
            continue
        pairs.append(pair)
        if len(pairs) == LIMIT:
            break
    if not pairs:
        raise BagError('no pairs to time')
    if len(sizes) > 1:
        raise BagError('the images are of different sizes; choose one, as --size 640x480')
    return pairs


def kind(message: Any) -> str:
    """Return how a message carries its image, as ``mono8`` or ``jpg``."""
    return message.format if hasattr(message, 'format') else message.encoding


def _recorded(source: Source, sync: SyncConfig) -> Iterable[Pair]:
    policy = NearestPolicy(sync)
    with BagReader(source.paths[0]) as reader:
        topics = reader.find(*source.topics)
        for topic, _, message in reader.messages(topics.rgb, topics.ir):
            stream = 'rgb' if topic == topics.rgb else 'ir'
            for pair in policy.push(stream, messages.stamp_ns(message.header), message):
                yield pair.rgb, pair.ir
        for pair in policy.flush():
            yield pair.rgb, pair.ir


def _stored(source: Source) -> Iterable[Pair]:
    for _, match in islice(FolderSource(*source.paths), LIMIT):
        yield _message(match.rgb), _message(match.ir)


def _wanted(message: Any, source: Source) -> Any:
    compressed = hasattr(message, 'format')
    if source.size_hw is None and not (source.raw and compressed):
        return message
    frame = messages.to_frame(message)
    pixels = np.ascontiguousarray(frame.pixels)
    if source.size_hw is not None:
        pixels = cv2.resize(pixels, source.size_hw[::-1])
    suffix = ''
    if compressed and not source.raw:
        suffix = '.png' if bytes(message.data[:4]) == b'\x89PNG' else '.jpg'
    return _message(Frame(pixels, frame.stamp_ns, frame.frame_id), suffix)


def _message(frame: Frame, suffix: str = '') -> Any:
    types, pixels = bag_types(), frame.pixels
    head = messages.header(types, frame)
    if pixels.ndim == 3 and pixels.dtype != np.uint8:
        raise BagError('a color image has 16 bits per channel; cameras send 8')
    if not suffix:
        return messages.image(types, head, pixels)
    if pixels.ndim == 3:
        pixels = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    quality = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY] if suffix == '.jpg' else []
    data = cv2.imencode(suffix, pixels, quality)[1]
    return types.get('sensor_msgs/msg/CompressedImage')(
        header=head, format=suffix[1:], data=data.reshape(-1)
    )
