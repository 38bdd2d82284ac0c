"""Fuse a bag or two folders of images without ROS: every pair, in order, the same each time."""

from collections import Counter
from collections.abc import Iterator
import json
from pathlib import Path
from typing import Any
from typing import NamedTuple
from typing import Protocol

import cv2

from tdfusion_ros.core.config import FusionConfig
from tdfusion_ros.core.data import Frame
from tdfusion_ros.core.data import FusionResult
from tdfusion_ros.core.errors import BagError
from tdfusion_ros.core.errors import FrameError
from tdfusion_ros.core.synchronizer import FramePair
from tdfusion_ros.core.synchronizer import Synchronizer
from tdfusion_ros.formats import foxglove as annotations
from tdfusion_ros.formats import messages
from tdfusion_ros.formats.bags import bag_types
from tdfusion_ros.formats.bags import BagReader
from tdfusion_ros.formats.bags import BagWriter
from tdfusion_ros.formats.bags import ImageTopics
from tdfusion_ros.formats.bags import INFO_TYPE
from tdfusion_ros.formats.decode import SizeGuard
from tdfusion_ros.formats.image_files import image_files
from tdfusion_ros.formats.image_files import read_image


class NamedPair(NamedTuple):
    """The frames of one result; ``name`` is a file stem, or the stamp that the result carries."""

    name: str
    match: FramePair


class Source(Protocol):
    """Where pairs come from; ``dropped`` counts by cause what did not become one."""

    dropped: Counter[str]
    total: int

    def __iter__(self) -> Iterator[NamedPair]:
        """Yield pairs in the order of their stamps or names."""


class BagSource:
    """The pairs of a bag, and what replaces them while a camera stalls, as in the live node."""

    def __init__(self, reader: BagReader, topics: ImageTopics, config: FusionConfig) -> None:
        self.total = reader.count(topics.rgb)
        self.info: Any = None
        self._reader = reader
        self._topics = topics
        self._synchronizer = Synchronizer(config)
        self._guards = {'rgb': SizeGuard(), 'ir': SizeGuard()}
        self._bad: Counter[str] = Counter()

    @property
    def dropped(self) -> Counter[str]:
        """Frames that did not become part of a pair, by cause."""
        return self._bad + self._synchronizer.dropped

    def __iter__(self) -> Iterator[NamedPair]:
        streams = {self._topics.rgb: 'rgb', self._topics.ir: 'ir'}
        for topic, _, message in self._reader.messages(*streams, self._topics.rgb_info):
            if topic not in streams:
                self.info = message
                continue
            stream = streams[topic]
            try:
                frame = messages.to_frame(message)
                self._guards[stream].check(frame.size_hw)
            except FrameError as error:
                self._bad[f'{stream}.{error.cause}'] += 1
                continue
            yield from map(_named, self._synchronizer.push(stream, frame))
        yield from map(_named, self._synchronizer.flush())


class FolderSource:
    """
    The pairs of two folders of images: files of the same stem, whatever the suffix.

    Stills have no stamps, so no camera can stall; whoever named the files has paired them.

    :raises BagError: naming the folder or the file that has no partner.
    """

    def __init__(self, rgb: Path, ir: Path) -> None:
        self.dropped: Counter[str] = Counter()
        self._files = {'rgb': image_files(rgb), 'ir': image_files(ir)}
        alone = sorted(self._files['rgb'].keys() ^ self._files['ir'].keys())
        if alone:
            where = rgb if alone[0] in self._files['rgb'] else ir
            raise BagError(
                f'{len(alone)} images have no partner of the same stem, the first is '
                f"'{alone[0]}' in {where}"
            )
        self.total = len(self._files['rgb'])

    def __iter__(self) -> Iterator[NamedPair]:
        for name in sorted(self._files['rgb']):
            frames = {}
            for stream, files in self._files.items():
                frames[stream] = Frame(read_image(files[name]), 0)
            yield NamedPair(
                name, FramePair(frames['rgb'], frames['ir'], 'fused', frames['rgb'], 0)
            )


class BagSink:
    """Write results to a bag, on the topics of the live node."""

    def __init__(
        self, writer: BagWriter, classes: tuple[str, ...], threshold: float, source: BagSource
    ) -> None:
        self._writer = writer
        self._classes = classes
        self._threshold = threshold
        self._source = source
        self._begun = False

    def write(self, named: NamedPair, result: FusionResult) -> None:
        """Write the messages of one result, timed by the stamp that they carry."""
        match = named.match
        types, at = bag_types(), match.head.stamp_ns
        head = messages.header(types, match.head)
        if not self._begun:
            self._begun = True
            labels = messages.label_info(types, head, self._classes, self._threshold)
            self._writer.write(
                '/label_info', 'vision_msgs/msg/LabelInfo', at, labels, latched=True
            )
        info = self._source.info
        if info is not None and (info.height, info.width) == match.head.size_hw:
            self._writer.write(
                '/fused/camera_info', INFO_TYPE, at, messages.camera_info(head, info)
            )
        if match.warning:
            self._writer.write(
                '/diagnostics',
                'diagnostic_msgs/msg/DiagnosticArray',
                at,
                messages.stall_warning(types, head, match.mode, match.warning),
            )
        found, classes = result.detections, self._classes
        made = {
            ('/fused/image_raw', 'sensor_msgs/msg/Image'): messages.image(
                types, head, result.fused
            ),
            ('/detections', 'vision_msgs/msg/Detection2DArray'): messages.detection_array(
                types, head, found, classes
            ),
            ('/fused/annotations', annotations.KIND): annotations.image_annotations(
                types, head, match, found, classes
            ),
        }
        for (topic, kind), message in made.items():
            self._writer.write(topic, kind, at, message)


class FolderSink:
    """
    Write results to a folder: ``NAME.png`` each, and ``detections.json`` at the end.

    Where a camera stalled, ``stalled.json`` says by name what was wrong.
    """

    def __init__(self, folder: Path, classes: tuple[str, ...]) -> None:
        self._folder = folder
        self._classes = classes
        self._found: dict[str, list[dict[str, Any]]] = {}
        self._marks: dict[str, dict[str, str]] = {}
        try:
            folder.mkdir(parents=True)
        except OSError as error:
            raise BagError(f'folder {folder} cannot be made: {error}; name a new one') from None

    def write(self, named: NamedPair, result: FusionResult) -> None:
        """Write the fused image of one result and note its detections."""
        if named.match.warning:
            self._marks[named.name] = {'mode': named.match.mode, 'mark': named.match.warning}
        path = self._folder / f'{named.name}.png'
        if not cv2.imwrite(str(path), cv2.cvtColor(result.fused, cv2.COLOR_RGB2BGR)):
            raise BagError(f'{path} cannot be written')
        found = result.detections
        self._found[named.name] = [
            {
                'class': self._classes[class_id],
                'score': round(score, 6),
                'box_xyxy': [round(v, 3) for v in box],
            }
            for box, score, class_id in zip(
                found.boxes_xyxy.tolist(),
                found.scores.tolist(),
                found.class_ids.tolist(),
                strict=True,
            )
        ]

    def close(self) -> None:
        """Write the detections and the marks."""
        for name, content in (('detections', self._found), ('stalled', self._marks)):
            if content or name == 'detections':
                text = json.dumps(content, indent=1)
                (self._folder / f'{name}.json').write_text(text + '\n', encoding='utf-8')


def _named(match: FramePair) -> NamedPair:
    return NamedPair(str(match.head.stamp_ns), match)
