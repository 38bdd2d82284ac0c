"""The images of one camera, serialized once and sent with a new stamp each time."""

from collections.abc import Sequence
import struct
from typing import Any

from tdfusion_ros.formats.bags import typestore

STAMP = struct.Struct('<iI')  # header.stamp.sec and nanosec, the first fields of both image types
STAMP_OFFSET = 4  # after the CDR encapsulation header
SKEW_NS = 1_000_000  # of ir to rgb: real triggered cameras are never exactly simultaneous


class Stream:
    """One camera (``rgb`` or ``ir``): its topic and its serialized images, sent in a cycle."""

    def __init__(self, name: str, images: Sequence[Any]) -> None:
        self.type: str = images[0].__msgtype__
        self.transport = 'compressed' if hasattr(images[0], 'format') else 'raw'
        suffix = '/compressed' if self.transport == 'compressed' else ''
        self.topic = f'/{name}/image_raw{suffix}'
        self._data = [bytearray(typestore().serialize_cdr(image, self.type)) for image in images]

    def message(self, number: int, stamp_ns: int) -> bytes:
        """Return the image of this number in the cycle, with a stamp [ns]."""
        data = self._data[number % len(self._data)]
        STAMP.pack_into(data, STAMP_OFFSET, *divmod(stamp_ns, 1_000_000_000))
        return bytes(data)
