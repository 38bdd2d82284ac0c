"""Where the offline commands get their frame pairs: a bag, or two folders of images."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from typing import Protocol

from tdfusion_ros.core.config import FusionConfig
from tdfusion_ros.core.data import Frame
from tdfusion_ros.core.errors import BagError
from tdfusion_ros.core.errors import FrameError
from tdfusion_ros.core.synchronizer import FramePair
from tdfusion_ros.core.synchronizer import Synchronizer
from tdfusion_ros.formats import messages
from tdfusion_ros.formats.bag_topics import ImageTopics
from tdfusion_ros.formats.bags import BagReader
from tdfusion_ros.formats.decode import SizeGuard
from tdfusion_ros.formats.image_files import image_files
from tdfusion_ros.formats.image_files import read_image


class Source(Protocol):
    """
    Frame pairs in the order of their stamps or names, the same each time.

    :param total: the number of rgb images.
    :param info: the last sensor_msgs/CameraInfo of rgb, None where there is none.
    :param errors: by cause, the message about the first frame that could not be used.
    """

    total: int
    info: Any
    errors: dict[str, str]

    @property
    def dropped(self) -> Counter[str]:
        """Frames that became part of no pair, by cause."""

    def __iter__(self) -> Iterator[FramePair]: ...


class BagSource:
    """The pairs of a bag and, while a camera stalls, what replaces them, as in the live node."""

    def __init__(self, reader: BagReader, topics: ImageTopics, config: FusionConfig) -> None:
        self.total = reader.count(topics.rgb)
        self.info: Any = None
        self._reader = reader
        self._topics = topics
        self._synchronizer = Synchronizer(config)
        self.errors: dict[str, str] = {}
        self._guards = {'rgb': SizeGuard(), 'ir': SizeGuard()}
        self._refused: Counter[str] = Counter()

    @property
    def dropped(self) -> Counter[str]:
        """Frames that became part of no pair, by cause."""
        return self._refused + self._synchronizer.dropped

    def __iter__(self) -> Iterator[FramePair]:
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
                cause = f'{stream}.{error.cause}'
                self._refused[cause] += 1
                self.errors.setdefault(cause, str(error))
                continue
            yield from self._synchronizer.push(stream, frame)
        yield from self._synchronizer.flush()


class FolderSource:
    """
    The pairs of two folders of images: files of the same stem, whatever the suffix.

    :raises BagError: naming the folder, or the file that has no partner.
    """

    def __init__(self, rgb: Path, ir: Path) -> None:
        self.dropped: Counter[str] = Counter()
        self.errors: dict[str, str] = {}
        self.info: Any = None
        self._files = {'rgb': image_files(rgb), 'ir': image_files(ir)}
        alone = sorted(self._files['rgb'].keys() ^ self._files['ir'].keys())
        if alone:
            folder = rgb if alone[0] in self._files['rgb'] else ir
            raise BagError(
                f'{len(alone)} {"image has" if len(alone) == 1 else "images have"} no partner of '
                f"the same stem, the first is '{alone[0]}' in {folder}"
            )
        self.total = len(self._files['rgb'])

    def __iter__(self) -> Iterator[FramePair]:
        for stem in sorted(self._files['rgb']):
            rgb, ir = (Frame(read_image(files[stem]), 0) for files in self._files.values())
            yield FramePair(rgb, ir, 'fused', rgb, 0, stem=stem)
