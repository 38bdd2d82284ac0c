"""Load pairs of messages to time with: recorded ones or images of folders, resized on request."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
import sys
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
from tdfusion_ros.formats.image_files import encode_image
from tdfusion_ros.formats.image_files import encode_jpeg
from tdfusion_ros.formats.sources import FolderSource
from tdfusion_ros.tools.options import counted

MAX_PAIRS = 40  # all stay in memory; the demo bag has 82
JPEG_QUALITY = 92  # as in the demo bag

Pair = tuple[Any, Any]


@dataclass(frozen=True)
class PairSource:
    """
    Where pairs come from.

    :param paths: a bag, or a folder of rgb and one of ir images.
    :param topics: rgb and ir topic of the bag; empty: found by their names.
    :param size_hw: size to which both images are resized [px]; None: not resized.
    :param raw: convert compressed images to raw ones, which most camera drivers send.
    """

    paths: tuple[Path, ...]
    topics: tuple[str, str] = ('', '')
    size_hw: tuple[int, int] | None = None
    raw: bool = False


def load_pairs(source: PairSource, sync: SyncConfig) -> list[Pair]:
    """Return up to 40 pairs of messages (rosbags' classes), in order, or raise BagError."""
    if len(source.paths) not in (1, 2):
        raise BagError('pairs come from one bag or two folders')
    pairs, sizes = [], set()
    refused: list[str] = []
    folders = FolderSource(*source.paths) if len(source.paths) == 2 else None
    found = _from_folders(folders) if folders else _from_bag(source, sync)
    for rgb, ir in found:
        try:
            pair = _converted(rgb, source), _converted(ir, source)
            sizes.add(tuple(messages.to_frame(message).size_hw for message in pair))
        except FrameError as error:  # the node would drop it too
            refused.append(str(error))
            continue
        pairs.append(pair)
        if len(pairs) == MAX_PAIRS:
            break
    refused += folders.skipped.values() if folders else ()
    if not pairs:
        why = '; '.join(dict.fromkeys(refused)) or 'no frames match within sync.max_skew_ms'
        raise BagError(f'no pairs to time: {why}')
    if len(sizes) > 1:
        raise BagError('the images have different sizes; choose one, as --size 640x480')
    if refused:
        print(
            f'left out: {counted(len(refused), "pair")}, the first: {refused[0]}', file=sys.stderr
        )
    return pairs


def image_encoding(message: Any) -> str:
    """Return the encoding or format of an image message, such as ``mono8`` or ``jpg``."""
    return message.format if hasattr(message, 'format') else message.encoding


def _from_bag(source: PairSource, sync: SyncConfig) -> Iterable[Pair]:
    policy = NearestPolicy(sync)
    with BagReader(source.paths[0]) as reader:
        topics = reader.find(*source.topics)
        print(reader.describe(topics), file=sys.stderr)  # stdout has results of programs
        for topic, _, message in reader.messages(topics.rgb, topics.ir):
            stream = 'rgb' if topic == topics.rgb else 'ir'
            for pair in policy.push(stream, messages.stamp_ns(message.header), message):
                yield pair.rgb, pair.ir
        for pair in policy.flush():
            yield pair.rgb, pair.ir
        for topic in (topics.rgb, topics.ir):
            if not reader.count(topic):
                raise BagError(f'no pairs to time: {topic} has no images')


def _from_folders(folders: FolderSource) -> Iterable[Pair]:
    for pair in folders:
        if pair.rgb is not None and pair.ir is not None:
            yield _message(pair.rgb), _message(pair.ir)


def _converted(message: Any, source: PairSource) -> Any:
    compressed = hasattr(message, 'format')
    if source.size_hw is None and not (source.raw and compressed):
        return message
    frame = messages.to_frame(message)
    pixels = np.ascontiguousarray(frame.pixels)
    if source.size_hw is not None:
        pixels = cv2.resize(pixels, source.size_hw[::-1])
    made = Frame(pixels, frame.stamp_ns, frame.frame_id)
    if source.raw or not compressed:
        return _message(made)
    if bytes(message.data[:2]) == b'\xff\xd8':
        suffix, data = '.jpg', encode_jpeg(pixels, JPEG_QUALITY)
    else:
        suffix, content = encode_image(pixels)
        data = np.frombuffer(content, np.uint8)
    types = bag_types()
    head = messages.header(types, made)
    kind = 'sensor_msgs/msg/CompressedImage'
    return types.make(kind, header=head, format=suffix[1:], data=data)


def _message(frame: Frame) -> Any:
    types = bag_types()
    return messages.image(types, messages.header(types, frame), frame.pixels)
