"""The pictures of one camera as they are on the wire, with the time they are sent at."""

from collections.abc import Sequence
import struct
from typing import Any

from tdfusion_ros.formats.bags import typestore

STAMP = struct.Struct('<iI')  # sec and nanosec of the header, first in both kinds of message
AT = 4  # behind the four bytes that say how a message is serialized (CDR, little endian)
SKEW_NS = 1_000_000  # of ir: cameras that are triggered together are never quite so


def stamp_of(data: bytes) -> int:
    """Return the time in the header of a serialized image [ns]."""
    sec, nanosec = STAMP.unpack_from(data, AT)
    return sec * 1_000_000_000 + nanosec


class Stream:
    """One camera: its topic, and its pictures as they are on the wire."""

    def __init__(self, name: str, images: Sequence[Any]) -> None:
        self.type = images[0].__msgtype__
        self.compressed = hasattr(images[0], 'format')
        self.topic = f'/{name}/image_raw' + ('/compressed' if self.compressed else '')
        self._data = [bytearray(typestore().serialize_cdr(image, self.type)) for image in images]

    def message(self, number: int, stamp_ns: int) -> bytes:
        """Return a picture with this time [ns] in its header."""
        data = self._data[number % len(self._data)]
        STAMP.pack_into(data, AT, *divmod(stamp_ns, 1_000_000_000))
        return bytes(data)
