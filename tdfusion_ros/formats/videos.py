"""Video files: two of them as cameras, and one for results; OpenCV decodes and encodes."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace as changed
from heapq import merge
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from tdfusion_ros.atomic import NewOutput
from tdfusion_ros.core.config import FusionConfig
from tdfusion_ros.core.contract import Contract
from tdfusion_ros.core.data import Frame
from tdfusion_ros.core.data import FusionResult
from tdfusion_ros.core.errors import BagError
from tdfusion_ros.core.errors import OutputError
from tdfusion_ros.core.overlay import draw_result
from tdfusion_ros.core.pairing_policy import OTHER
from tdfusion_ros.core.synchronizer import FramePair
from tdfusion_ros.core.synchronizer import Synchronizer
from tdfusion_ros.formats.image_files import SUFFIXES

CODECS = {'.mp4': 'mp4v', '.m4v': 'mp4v', '.mov': 'mp4v', '.mkv': 'mp4v', '.avi': 'MJPG'}
START_NS = 10**18  # stamp of the first frame: written as stamps since 1970 are


class VideoFile:
    """
    A video; frame k was taken k / ``rate_hz`` after ``first_ns``. BagError: not decodable.

    :param rate_hz: as the file states it; ``length``: number of frames, stated until ``ended``.
    """

    def __init__(self, path: Path, first_ns: int = START_NS) -> None:
        self.path, self.first_ns, self.ended = path, first_ns, False
        if not path.is_file():
            raise BagError(f'{path} is not a video: expected a file')
        if path.suffix.lower() in SUFFIXES:
            raise BagError(f'{path} is an image: name two videos, or two folders of images')
        if str(path) != str(path).encode(errors='replace').decode():  # OpenCV would crash
            raise BagError(f'{str(path)!a} has a name that is not UTF-8: rename it')
        video = cv2.VideoCapture(str(path))
        self.rate_hz = float(video.get(cv2.CAP_PROP_FPS))
        self.length = self.stated = max(0, int(video.get(cv2.CAP_PROP_FRAME_COUNT)))
        readable, image = video.read()
        video.release()
        if not readable:
            raise BagError(
                f'{path} is not a video that OpenCV can decode, or its codec is missing here: '
                'convert it, as with ffmpeg -i IN -c:v mpeg4 -q:v 2 OUT.mp4'
            )
        if not 0 < self.rate_hz <= 1000:
            raise BagError(f'{path} states {self.rate_hz:g} frames a second, expected 1 to 1000')
        height, width = image.shape[:2]
        count = self.stated or 'an unstated number of'
        self.text = f'{path} ({count} frames of {width}x{height}, {self.rate_hz:g} Hz)'

    def time_ns(self, index: int) -> int:
        """Return the stamp of a frame [ns]."""
        return self.first_ns + round(index * 1e9 / self.rate_hz)

    def count(self) -> int:
        """Return the number of frames, counted where the file does not state it."""
        if not self.length:
            video = cv2.VideoCapture(str(self.path))
            while video.grab():
                self.length += 1
        return self.length

    def pixels(self, index: int) -> np.ndarray:
        """Return one frame, (H, W, 3) uint8 RGB; BagError if the file ends before it."""
        video = cv2.VideoCapture(str(self.path))
        if self.stated:
            video.set(cv2.CAP_PROP_POS_FRAMES, index)
        for _ in range(0 if self.stated else index):  # OpenCV cannot seek there
            video.grab()
        readable, image = video.read()
        video.release()
        if not readable:
            raise BagError(f'{self.path} has no frame {index}')
        return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)

    def frames(self, stream: str) -> Iterator[tuple[int, str, Frame]]:
        """Yield stamp, stream and frame of each image, in order."""
        video, count, self.ended = cv2.VideoCapture(str(self.path)), 0, False
        try:
            while (found := video.read())[0]:
                stamp_ns = self.time_ns(count)
                count += 1
                pixels = cv2.cvtColor(found[1], cv2.COLOR_BGR2RGB)
                yield stamp_ns, stream, Frame(pixels, stamp_ns, f'{stream}_optical_frame')
            self.ended, self.length = True, count
        finally:
            video.release()


class VideoSource:
    """
    The pairs of two videos that start at the same time; ``sync.*_time_offset_ms`` shift them.

    Frames are paired by time, as in a bag, where both videos have frames.
    """

    def __init__(self, rgb: Path, ir: Path, config: FusionConfig) -> None:
        at_ns = {stream: START_NS + ns for stream, ns in config.sync.offsets_ns.items()}
        self.videos = {s: VideoFile(p, at_ns[s]) for s, p in (('rgb', rgb), ('ir', ir))}
        self.rate_hz = min(video.rate_hz for video in self.videos.values())
        self.total = min(video.length for video in self.videos.values())
        self.info: Any = None
        self.errors: dict[str, str] = {}
        self.skipped: dict[str, str] = {}
        sync = changed(config.sync, rgb_time_offset_ms=0.0, ir_time_offset_ms=0.0)
        self._limit_ns, self._limit = round(sync.limit_ms * 1e6), sync.limit_name
        self._synchronizer = Synchronizer(changed(config, sync=sync))
        self.counts = self._synchronizer.counts

    @property
    def dropped(self) -> Counter[str]:
        """Frames that became part of no pair, by cause; not those beyond the other video."""
        return self._synchronizer.dropped

    def remarks(self) -> list[str]:
        """Return how rates and lengths differ, and which video ends early."""
        found, videos = [], list(self.videos.values())
        rates = [f'{video.path} has {video.rate_hz:g} Hz' for video in videos]
        lengths_s = [video.length / video.rate_hz for video in videos]
        if videos[0].rate_hz != videos[1].rate_hz:
            limit = f'at most {self._limit_ns / 1e6:g} ms apart ({self._limit})'
            found.append(f'{", ".join(rates)}: frames are paired by time, {limit}')
        if abs(lengths_s[0] - lengths_s[1]) > 1 / self.rate_hz:
            both = (f'{v.path} lasts {s:.2f} s' for v, s in zip(videos, lengths_s, strict=True))
            found.append(f'{", ".join(both)}: the rest of the longer one has no partner')
        for video in videos:
            if video.ended and video.length < 0.98 * video.stated - 1:
                counts = f'{video.length} of {video.stated} frames'
                found.append(f'{video.path} ends after {counts}: it is damaged or cut off')
        return found

    def __iter__(self) -> Iterator[FramePair]:
        begin_ns = max(video.first_ns for video in self.videos.values()) - self._limit_ns
        streams = [video.frames(stream) for stream, video in self.videos.items()]
        for stamp_ns, stream, frame in merge(*streams, key=lambda item: item[0]):
            other = self.videos[OTHER[stream]]
            if other.ended and stamp_ns > other.time_ns(other.length - 1) + self._limit_ns:
                break
            if stamp_ns >= begin_ns:
                yield from self._synchronizer.push(stream, frame)
        yield from self._synchronizer.finish()


class VideoSink:
    """
    Write fused images, or with ``overlay`` those with boxes, to a new video file.

    An image is repeated until the time of the next one. A video without images does not appear.

    :raises OutputError: if it cannot be written.
    """

    def __init__(
        self, path: Path, contract: Contract, source: VideoSource, *, replace: bool, overlay: bool
    ) -> None:
        self._path, self._contract, self._rate_hz = path, contract, source.rate_hz
        self._overlay, self._count, self._first_ns = overlay, 0, 0
        self._last: np.ndarray = np.zeros((0, 0, 3), np.uint8)
        self._file = NewOutput(path, replace=replace)
        self._video = cv2.VideoWriter()

    def write(self, pair: FramePair, result: FusionResult) -> None:
        image, stamp_ns = result.image, pair.reference.stamp_ns
        if self._overlay:
            image = draw_result(result, self._contract, pair.warning)
        if not self._count:
            self._first_ns = stamp_ns
            codec = cv2.VideoWriter.fourcc(*CODECS[self._path.suffix.lower()])
            size = image.shape[1::-1]
            if not self._video.open(str(self._file.partial), codec, self._rate_hz, size):
                raise OutputError(
                    f'{self._path} cannot be encoded by this OpenCV; name an .avi file or a folder'
                )
        missing = round((stamp_ns - self._first_ns) * self._rate_hz / 1e9) - self._count
        image = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
        for put in (*[self._last] * missing, image):
            self._video.write(put)
            self._count += 1
        self._last = image

    def __enter__(self) -> 'VideoSink':
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._video.release()
        try:
            if kind is None and self._count:
                self._check()
                self._file.commit()
        finally:
            self._file.discard()

    def _check(self) -> None:
        """Raise OutputError if the file lacks frames: OpenCV does not report a full disk."""
        try:
            complete = VideoFile(self._file.partial).stated == self._count
        except BagError:
            complete = False
        if not complete:
            raise OutputError(f'{self._path} could not be written completely: is the disk full?')
