"""Frame pairs in the order of time: of a bag, of folders of frames, or of two video files."""

from collections.abc import Iterator
from dataclasses import dataclass
from dataclasses import replace
from pathlib import Path

import cv2

from tdfusion_ros.core.config import FusionConfig
from tdfusion_ros.core.config import SyncConfig
from tdfusion_ros.core.coverage import soft
from tdfusion_ros.core.errors import FusionError
from tdfusion_ros.core.rgb_image import rgb_image
from tdfusion_ros.core.synchronizer import FramePair
from tdfusion_ros.core.thermal import ThermalScaler
from tdfusion_ros.formats.bags import BagReader
from tdfusion_ros.formats.image_files import list_files
from tdfusion_ros.formats.sources import BagSource
from tdfusion_ros.formats.sources import FolderSource
from tdfusion_ros.formats.videos import CODECS
from tdfusion_ros.formats.videos import VideoSource
from training.data.datasets import Sample

RGB_FOLDERS = ('rgb', 'vi')


@dataclass(frozen=True)
class Clip:
    """A recording; each iteration reads it again."""

    name: str
    rgb: Path
    """A bag, a folder of images, or a video file."""
    ir: Path | None = None
    """None for a bag."""

    def __iter__(self) -> Iterator[FramePair]:
        if self.ir is None:
            with BagReader(self.rgb) as reader:
                pairs = BagSource(reader, reader.find(), FusionConfig())
                yield from (pair for pair in pairs if pair.mode == 'fused')
        elif self.rgb.is_dir():
            yield from FolderSource(self.rgb, self.ir)
        else:
            every = FusionConfig(sync=SyncConfig(stall_ms=0.0))  # frozen frames, too
            videos = VideoSource(self.rgb, self.ir, every)
            if remarks := videos.remarks():
                raise FusionError(f'{"; ".join(remarks)}: cut both videos to the same frames')
            for pair in videos:
                if pair.ir is not None and pair.mode == 'fused':
                    gray = cv2.cvtColor(pair.ir.pixels, cv2.COLOR_RGB2GRAY)
                    yield replace(pair, ir=replace(pair.ir, pixels=gray))


def open_clips(path: str) -> list[Clip]:
    """
    Return the clips of a path.

    :param path: a folder with rgb (or vi) and ir, which contain the frames of one clip or video
        files of the same stems; or a folder of such folders; or a bag.
    :raises FusionError: if it is none of these.
    """
    root = Path(path)
    rgb = next((root / name for name in RGB_FOLDERS if (root / name).is_dir()), None)
    if rgb is None:
        below = sorted(p for p in root.iterdir() if (p / 'ir').is_dir()) if root.is_dir() else []
        return [clip for folder in below for clip in open_clips(str(folder))] or [Clip(path, root)]
    ir = root / 'ir'
    videos = list_files(rgb, tuple(CODECS))
    if not videos:
        return [Clip(path, rgb, ir)]
    others = list_files(ir, tuple(CODECS))
    if alone := sorted(videos.keys() ^ others.keys()):
        raise FusionError(f'{root}: {alone[0]} has a video of one camera only: add the other one')
    return [Clip(f'{root}/{stem}', video, others[stem]) for stem, video in videos.items()]


def clip_sample(pair: FramePair, scaler: ThermalScaler, name: str = '') -> Sample:
    """Return both images of a registered pair; ``scaler`` of its clip smooths the range."""
    assert pair.rgb is not None and pair.ir is not None  # noqa: PT018
    sizes = [f'{image.pixels.shape[1]}x{image.pixels.shape[0]}' for image in (pair.rgb, pair.ir)]
    if sizes[0] != sizes[1]:
        raise FusionError(
            f'{name}: rgb is {sizes[0]}, ir {sizes[1]}, expected registered pairs of one size: '
            'register them, or use a data set with a calibration.yaml and --split'
        )
    ir = cv2.convertScaleAbs(scaler.scale(pair.ir.pixels), alpha=255)
    coverage = None if scaler.seen is None else soft(scaler.seen)
    return Sample(name, rgb_image(pair.rgb.pixels), ir, coverage=coverage)
