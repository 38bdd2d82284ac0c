"""What the storage files of bags have in common: channels, messages, and limits of compression."""

from collections.abc import Callable
from collections.abc import Iterator
import re
import sys
from typing import NamedTuple

if sys.version_info >= (3, 14):
    from compression import zstd
else:  # rosbags depends on it
    from backports import zstd

MAX_UNPACKED = 1 << 30  # the largest image that is accepted has 0.4 GB
ZSTD_MAGIC = b'\x28\xb5\x2f\xfd'  # no message of ROS begins like this: its first byte is 0

Messages = Iterator[tuple[int, int, bytes]]
"""Channel id, time of recording [ns] and data of each."""
Warn = Callable[[str], None]
"""Takes a sentence about what is wrong with a bag and what is done about it."""


class Channel(NamedTuple):
    """One topic with one message type in one file; its messages are ``cdr``-encoded in ROS 2."""

    topic: str
    kind: str
    encoding: str


def message_type(name: str) -> str:
    """Return the name of a type as ROS 2 writes it, also for ``sensor_msgs/Image``."""
    return re.sub(r'^(\w+)/(\w+)$', r'\1/msg/\2', name)


def unpack_message(data: bytes) -> bytes:
    """Return a message, which zstd may have compressed; ValueError if damaged or too large."""
    if not data.startswith(ZSTD_MAGIC):
        return data
    unpacked, whole = unpack_zstd(data, MAX_UNPACKED)
    if not whole:
        raise ValueError('its compressed data are damaged')
    return unpacked


def unpack_zstd(data: bytes, limit: int) -> tuple[bytes, bool]:
    """Return up to ``limit`` unpacked bytes, and whether that is all; ValueError if damaged."""
    decompressor = zstd.ZstdDecompressor()
    try:
        unpacked = decompressor.decompress(data, limit)
    except zstd.ZstdError as error:
        raise ValueError(f'its compressed data are damaged ({error})') from None
    return unpacked, decompressor.eof
