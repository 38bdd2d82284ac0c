"""A result folder of ``tdfusion fuse``, read as the bag that its results would be."""

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from functools import partial
import json
import os
from pathlib import Path
import re
from typing import Any

import numpy as np

from tdfusion_ros.core.config import SyncConfig
from tdfusion_ros.core.data import Detections
from tdfusion_ros.core.data import Frame
from tdfusion_ros.core.errors import BagError
from tdfusion_ros.formats import messages
from tdfusion_ros.formats import result_topics
from tdfusion_ros.formats.bag_topics import IMAGE_TYPES
from tdfusion_ros.formats.bags import bag_types
from tdfusion_ros.formats.bags import typestore
from tdfusion_ros.formats.image_files import camera_files
from tdfusion_ros.formats.image_files import read_image
from tdfusion_ros.formats.sinks import DETECTIONS
from tdfusion_ros.formats.sinks import MASK_CLASSES
from tdfusion_ros.formats.sinks import OVERLAY
from tdfusion_ros.formats.sinks import SEGMENTATION
from tdfusion_ros.formats.sinks import SKIPPED
from tdfusion_ros.formats.sinks import STALLED
from tdfusion_ros.formats.videos import START_NS
from tdfusion_ros.formats.videos import VideoFile

STAMP = re.compile('[0-9]{19}')  # a name that is a time since 1970 [ns]
STALL = 'diagnostic_msgs/msg/DiagnosticArray'
TYPES = {f'/{topic}': kind for topic, kind in result_topics.TYPES.items()}
TEMPERATURES, MASK_LABELS = f'/{result_topics.TEMPERATURES}', f'/{result_topics.MASK_LABELS}'
Images = dict[str, Callable[[], np.ndarray]]  # by name: what reads the image


def camera_images(paths: Sequence[Path], sync: SyncConfig) -> dict[str, Images]:
    """Return by topic the images of two folders or videos RGB IR, as tdfusion fuse names them."""
    topics = '/rgb/image_raw', '/ir/image_raw'
    if not any(path.is_file() for path in paths):
        files = camera_files(*paths).values()
        return {topic: _readers(one) for topic, one in zip(topics, files, strict=True)}
    first_ns = START_NS + sync.offsets_ns['rgb']
    videos = [VideoFile(path, first_ns) for path in paths]
    return {
        topic: {f'{v.time_ns(k):019d}': partial(v.pixels, k) for k in range(v.count())}
        for topic, v in zip(topics, videos, strict=True)
    }


def _readers(files: Mapping[str, Path]) -> Images:
    return {name: partial(read_image, path) for name, path in files.items()}


class ResultFolder:
    """
    The results of a folder, with the reading methods of a BagReader; an image is read when needed.

    :param cameras: what was fused, see :func:`camera_images`.
    :param timed: whether the images are named by their stamps; else stamp k is k seconds.
    :raises BagError: if ``detections.json`` is not as ``tdfusion fuse`` writes it, or no rgb
        image has the name of a result.
    """

    def __init__(self, path: Path, cameras: Mapping[str, Images] | None = None) -> None:
        self.path, self.warnings = path, list[str]()
        self._found, self._stalls = _read(path / DETECTIONS), _read(path / STALLED)
        lists = (rows for rows in self._found.values() if isinstance(rows, list))
        self._measured = any(
            isinstance(r, dict) and messages.MEASUREMENTS[0] in r for rows in lists for r in rows
        )
        self._images = dict(cameras or {})
        rgb = self._images.get('/rgb/image_raw', {})
        if cameras and self._found and not rgb.keys() & self._found.keys():
            raise BagError(
                f'no rgb image of --inputs has the name of a result in {path}, as '
                f"'{min(self._found)}': name the two folders or videos that were fused"
            )
        names = sorted({*self._found, *(n for names in self._images.values() for n in names)})
        self.timed = all(STAMP.fullmatch(n) and int(n) < 2**31 * 10**9 for n in names)
        self._names = {int(n) if self.timed else k * 10**9: n for k, n in enumerate(names, 1)}
        for name, folder in (('fused', '.'), (OVERLAY, OVERLAY), (SEGMENTATION, SEGMENTATION)):
            if (path / folder).is_dir():
                files = {stem: path / folder / f'{stem}.png' for stem in self._found}
                self._images[f'/{name}/image_raw'] = _readers(files)
        names_file = path / MASK_CLASSES
        text = names_file.read_text('utf-8', 'replace') if names_file.is_file() else ''
        self._mask_classes = text.splitlines()
        skipped = _read(path / SKIPPED)
        for name, why in list(skipped.items())[:1]:
            self.warnings.append(f'{len(skipped)} skipped, the first is {name}: {why}')

    def topics(self) -> dict[str, str]:
        """Return the message type of every topic."""
        optional = {TEMPERATURES: self._measured, MASK_LABELS: self._mask_classes}
        names = '/detections', *(topic for topic, is_there in optional.items() if is_there)
        stall = {'/diagnostics': STALL} if self._stalls else {}
        images = dict.fromkeys(self._images, IMAGE_TYPES[0])
        return {**images, **stall, **{topic: TYPES[topic] for topic in names}}

    def serialized(self, *topics: str) -> Iterator[tuple[str, int, bytes]]:
        """Yield topic, stamp [ns] and message as CDR, of images the header alone."""
        kinds, serialize = self.topics(), typestore().serialize_cdr
        for stamp_ns, name in self._names.items():
            for topic in topics:
                if name not in self._images.get(topic, self._found):
                    continue
                if topic in self._images:
                    message = self._image(stamp_ns, np.zeros((1, 1), np.uint8))
                elif topic == MASK_LABELS:
                    types, head = bag_types(), _header(stamp_ns)
                    message = messages.label_info(types, head, self._mask_classes, 0.0)
                elif topic != '/diagnostics':
                    message = self._array(stamp_ns, self._found[name], topic)
                elif name in self._stalls:
                    message = self._stall(stamp_ns, self._stalls[name])
                else:
                    continue
                yield topic, stamp_ns, bytes(serialize(message, kinds[topic]))

    def deserialize(self, topic: str, data: bytes) -> Any:
        """Return the message that :meth:`serialized` has yielded."""
        return typestore().deserialize_cdr(data, self.topics()[topic])

    def messages(self, topic: str, at_ns: int) -> Iterator[tuple[str, int, Any]]:
        """Yield topic, stamp and message of one stamp [ns]; BagError if it cannot be read."""
        name = self._names[at_ns]
        if topic in self._images:
            yield topic, at_ns, self._image(at_ns, self._images[topic][name]())
        else:
            yield topic, at_ns, self._array(at_ns, self._found[name], topic)

    def _image(self, stamp_ns: int, pixels: np.ndarray) -> Any:
        return messages.image(bag_types(), _header(stamp_ns), pixels)

    def _array(self, stamp_ns: int, rows: Any, topic: str) -> Any:
        try:
            names = list(dict.fromkeys(str(row['class']) for row in rows))
            found = Detections(
                np.array([row['box_xyxy'] for row in rows], np.float32).reshape(-1, 4),
                np.array([row['score'] for row in rows], np.float32).reshape(-1),
                np.array([names.index(str(row['class'])) for row in rows], np.int64),
                ids=np.array([row.get('id', 0) for row in rows], np.int64),
            )
            measured = messages.temperatures_of(rows)
        except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
            raise BagError(
                f'{self.path / DETECTIONS} has an entry without class, score and box_xyxy: '
                f'{error!r}'
            ) from None
        array = messages.detection_array(bag_types(), _header(stamp_ns), found, names)
        if topic != TEMPERATURES:
            return array
        return messages.temperature_array(bag_types(), array, measured)

    def _stall(self, stamp_ns: int, entry: Any) -> Any:
        known = entry if isinstance(entry, dict) else {}
        mode, mark = (str(known.get(key, '')) for key in ('mode', 'mark'))
        return messages.stall_warning(bag_types(), _header(stamp_ns), mode, mark)


def _header(stamp_ns: int) -> Any:
    return messages.header(bag_types(), Frame(np.zeros((1, 1), np.uint8), stamp_ns))


def _read(path: Path) -> dict[str, Any]:
    """Return the content of a JSON file by image name, nothing if there is none."""
    try:
        content = json.loads(path.read_text()) if path.is_file() else {}
        if isinstance(content, dict) and all(map(_is_file_name, content)):
            return content
    except (OSError, ValueError, RecursionError) as error:
        raise BagError(f'{path} cannot be read: {error}') from None
    raise BagError(f'{path} is not a file of tdfusion fuse: expected a list for each image name')


def _is_file_name(name: str) -> bool:
    try:
        return Path(name).name == name and b'\0' not in os.fsencode(name)
    except UnicodeEncodeError:
        return False
