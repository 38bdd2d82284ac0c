"""Where the offline commands get their frame pairs: a bag, two folders of images or videos."""

from array import array
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
import struct
from typing import Any

from tdfusion_ros.core.config import FusionConfig
from tdfusion_ros.core.config import SyncConfig
from tdfusion_ros.core.data import Frame
from tdfusion_ros.core.errors import BagError
from tdfusion_ros.core.errors import FrameError
from tdfusion_ros.core.errors import FusionError
from tdfusion_ros.core.pair_counts import PairCounts
from tdfusion_ros.core.stamps import advise_waiting
from tdfusion_ros.core.stamps import CameraTimes
from tdfusion_ros.core.stamps import check_stamp
from tdfusion_ros.core.stamps import clock_difference_ms
from tdfusion_ros.core.stamps import describe_difference
from tdfusion_ros.core.stamps import describe_stamps
from tdfusion_ros.core.stamps import lag_ms
from tdfusion_ros.core.stamps import rate_hz
from tdfusion_ros.core.synchronizer import FramePair
from tdfusion_ros.core.synchronizer import Synchronizer
from tdfusion_ros.formats import messages
from tdfusion_ros.formats.bag_topics import ImageTopics
from tdfusion_ros.formats.bags import BagReader
from tdfusion_ros.formats.decode import SizeGuard
from tdfusion_ros.formats.image_files import camera_files
from tdfusion_ros.formats.image_files import different_orientations
from tdfusion_ros.formats.image_files import read_image
from tdfusion_ros.formats.videos import VideoSource


class BagSource:
    """
    The pairs of a bag and, while a camera stalls, what replaces them, as in the live node.

    ``total`` is the number of rgb images, ``info`` the last sensor_msgs/CameraInfo of rgb, if any,
    ``errors`` has by cause the message about the first frame that could not be used, and
    ``counts`` the possible pairs: record there why a pair gave no result.

    :param times: ``header``: the drivers' stamps count; ``recorded``: the times of recording, for
        drivers that do not stamp.
    """

    def __init__(
        self, reader: BagReader, topics: ImageTopics, config: FusionConfig, times: str = 'header'
    ) -> None:
        self.total = reader.count(topics.rgb)
        self.info: Any = None
        self._reader = reader
        self._topics = topics
        self._sync = config.sync
        self._synchronizer = Synchronizer(config)
        self.counts = self._synchronizer.counts
        self._recorded = times == 'recorded'
        self.errors: dict[str, str] = {}
        self.skipped: dict[str, str] = {}
        self._guards = {'rgb': SizeGuard(), 'ir': SizeGuard()}
        self._refused: Counter[str] = Counter()
        self._times = {s: CameraTimes(array('q'), array('q')) for s in self._guards}

    @property
    def dropped(self) -> Counter[str]:
        """Frames that became part of no pair, by cause."""
        return self._refused + self._synchronizer.dropped

    def remarks(self) -> list[str]:
        """Return what is wrong with the stamps, and how far the clocks are apart."""
        wrong = (describe_stamps(stream, t.stamps_ns) for stream, t in self._times.items())
        found = [line for lines in wrong for line in lines]
        for stream, times in self._times.items():
            if not times.stamps_ns:
                found.append(f'{getattr(self._topics, stream)} has no image that can be read')
        if any('are 0' in line for line in found):
            return [*found, 'to use the times of recording instead: --times recorded']
        ahead_ms = clock_difference_ms(self._times['rgb'], self._times['ir'])
        offsets_ns = self._sync.offsets_ns
        left_ms = (ahead_ms or 0.0) + (offsets_ns['ir'] - offsets_ns['rgb']) / 1e6
        if ahead_ms is not None and abs(left_ms) > self._sync.limit_ms:
            wanted_ms = offsets_ns['ir'] / 1e6 - left_ms
            limit = f'{self._sync.limit_name} is {self._sync.limit_ms:g}'
            offset = ''
            if left_ms != ahead_ms:
                offset = f', and {left_ms / 1e3:.3f} s with the time offsets that are set'
            found.append(
                f'{describe_difference(ahead_ms)} (median){offset}; {limit}; if both cameras saw '
                f'the same moments, set sync.ir_time_offset_ms={wanted_ms:.1f}'
            )
        if number := sum(self.counts.lost[cause] for cause in ('queue_full', 'too_old')):
            rates_hz = {stream: rate_hz(times) for stream, times in self._times.items()}
            waiting = advise_waiting(lag_ms(*self._times.values()), rates_hz, self._sync)
            found.append(
                f'lost as one image comes late in the bag: {number}; {waiting}'.strip('; ')
            )
        return found

    def __iter__(self) -> Iterator[FramePair]:
        streams = {self._topics.rgb: 'rgb', self._topics.ir: 'ir'}
        for topic, time_ns, data in self._reader.serialized(*streams, self._topics.rgb_info):
            stream = streams.get(topic, 'rgb')
            try:
                message = self._reader.deserialize(topic, data)
                if topic not in streams:
                    self.info = message
                    continue
                frame = self._frame(stream, message, time_ns)
            except FrameError as error:
                self._refuse(f'{stream}.{error.cause}', error)
            except BagError as error:
                self._refuse(f'{stream}.unreadable', error)
                if topic in streams:
                    with suppress(struct.error, IndexError):  # it may end before its stamp
                        stamp_ns = messages.cdr_stamp_ns(data)
                        self.counts.see(stream, stamp_ns, f'{stream}.unreadable')
            else:
                yield from self._synchronizer.push(stream, frame)
        yield from self._synchronizer.finish()

    def _frame(self, stream: str, message: Any, time_ns: int) -> Frame:
        """Return the frame of a message, whose size and stamp are checked."""
        times = self._times[stream]
        stamp_ns = time_ns if self._recorded else messages.stamp_ns(message.header)
        times.stamps_ns.append(stamp_ns)
        times.arrivals_ns.append(time_ns)
        check_stamp(stamp_ns)
        try:
            frame = messages.to_frame(message)
            self._guards[stream].check(frame.size_hw)
        except FrameError as error:
            self.counts.see(stream, stamp_ns, f'{stream}.{error.cause}')
            raise
        return replace(frame, stamp_ns=stamp_ns) if self._recorded else frame

    def _refuse(self, cause: str, error: FusionError) -> None:
        self._refused[cause] += 1
        self.errors.setdefault(cause, str(error))


class FolderSource:
    """
    The pairs of two folders: files of one stem; or of one folder, given twice.

    :param skip_bad: leave out images without a partner.
    :raises BagError: naming the first image without a partner otherwise.
    """

    def __init__(self, rgb: Path, ir: Path, *, skip_bad: bool = False) -> None:
        self.dropped: Counter[str] = Counter()
        self.errors: dict[str, str] = {}
        self.skipped: dict[str, str] = {}
        self.info: Any = None
        self.counts = PairCounts(SyncConfig())
        self._files = camera_files(rgb, ir)
        self._turned: list[str] = []
        self._stems = sorted(self._files['rgb'].keys() & self._files['ir'].keys())
        alone = sorted(self._files['rgb'].keys() ^ self._files['ir'].keys())
        for stem in alone:
            folder = ir if stem in self._files['rgb'] else rgb
            self.skipped[stem] = f"'{stem}' has no image of the same stem in {folder}"
            self.errors.setdefault('no_partner', self.skipped[stem])
        if alone and not (skip_bad and self._stems):
            folder = rgb if alone[0] in self._files['rgb'] else ir
            rename = '; give both files of a pair the same name, except for the suffix'
            advice = '; to leave them out: --skip-bad' if self._stems else rename
            raise BagError(
                f'{len(alone)} {"image has" if len(alone) == 1 else "images have"} no partner of '
                f"the same stem, the first is '{alone[0]}' in {folder}{advice}"
            )
        self.dropped += Counter(no_partner=len(alone))  # adds no zero
        self.total = len(self._stems)

    def remarks(self) -> list[str]:
        """Return in how many pairs the files state different orientations, with the first."""
        number, first = len(self._turned), self._turned[:1]
        more = f'{number} pairs state different orientations, the first: ' if number > 1 else ''
        return [more + text for text in first]

    def __iter__(self) -> Iterator[FramePair]:
        self._turned.clear()
        for stem in self._stems:
            paths = {stream: files[stem] for stream, files in self._files.items()}
            self.counts.pair(0, 0)  # files have no stamps
            rgb, ir = (self._read(stream, path) for stream, path in paths.items())
            if rgb is None or ir is None:
                self.counts.lose('rgb.unreadable' if rgb is None else 'ir.unreadable')
            if rgb is not None and ir is not None:
                if text := different_orientations(**paths):
                    self._turned.append(text)
                yield FramePair(rgb, ir, 'fused', rgb, 0, stem=stem)

    def _read(self, stream: str, path: Path) -> Frame | None:
        try:
            return Frame(read_image(path), 0)
        except BagError as error:
            self.dropped[f'{stream}.unreadable'] += 1
            self.errors.setdefault(f'{stream}.unreadable', str(error))
            self.skipped[path.stem] = str(error)
            return None


Source = BagSource | FolderSource | VideoSource
"""Frame pairs in the order of their stamps or names, the same each time."""


def why_no_pair(source: Source, sync: SyncConfig) -> str:
    """Return why a source has no pair that can be used, or what to set."""
    bad_stamp = ('no_stamp', 'negative_stamp')  # the remarks say more
    errors = [text for cause, text in source.errors.items() if not cause.endswith(bad_stamp)]
    if found := [*errors, *source.remarks()]:
        return '; '.join(found)
    return f'compare the stamps of both cameras; set sync.ir_time_offset_ms or {sync.limit_name}'
