"""
Measure on unlabeled video: how steady the fused image is, and how many boxes appear.

    python -m training.clips --bundle models/msrs_rt --fusion runs/direct CLIP...

CLIP is a bag, or a folder with rgb (or vi) and ir: images of one clip, or video files of the same
names; or a folder of such folders. The first table has the mean change of luma from one frame to
the next in gray levels, percentiles of it over all pixels, and the ratio to the larger change of
both sources: above 1 the fused image flickers, or shows what moves in rgb alone and what moves in
ir alone. "rgb or ir" is the larger change at each pixel: an image that shows all motion of both.
The second table has the boxes of each bundle: in a clip without cars, each car is a mistake.
Twins are two boxes that overlap by more than 0.3, of one class or person and car: mostly two boxes
of one object.
"""

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
import math
from pathlib import Path

import cv2
import numpy as np
import torch
from tqdm import tqdm

from tdfusion_ros.atomic import add_output
from tdfusion_ros.atomic import check_file
from tdfusion_ros.atomic import write_json
from tdfusion_ros.build import build_pipeline
from tdfusion_ros.core.config import FusionConfig
from tdfusion_ros.core.config import IrConfig
from tdfusion_ros.core.data import Detections
from tdfusion_ros.core.errors import FusionError
from tdfusion_ros.core.synchronizer import FramePair
from tdfusion_ros.core.thermal import ThermalScaler
from training import shell
from training.data.clips import clip_sample
from training.data.clips import open_clips
from training.measure import tables
from training.measure.metrics import Table
from training.measure.predictors import luma_levels
from training.measure.predictors import run_fuser
from training.method.detection import pair_iou

PERCENTILES = (50, 90, 99)
OVERLAP = 0.3
"""Two boxes of one object overlap by more."""
CONFUSED = frozenset(('person', 'car'))
"""Classes where one object gets two boxes by mistake; a rider and a bicycle do overlap."""
EITHER = 'rgb or ir'
"""At each pixel the larger change: what a steady image that shows all motion would have."""
PairFuser = Callable[[FramePair], tuple[np.ndarray, Detections | None]]
"""Returns the fused luma, (H, W) uint8, and the detections of a bundle."""


class Steadiness:
    """The distribution of |luma - luma of the frame before| over all pixels of a clip."""

    def __init__(self) -> None:
        self.counts = np.zeros(256, np.int64)
        self._last: np.ndarray | None = None

    def add(self, luma: np.ndarray) -> np.ndarray:
        """Add the next frame, (H, W) uint8, and return its change; the first has none."""
        change = cv2.absdiff(luma, luma if self._last is None else self._last)
        if self._last is not None:
            self.count(change)
        self._last = luma
        return change

    def count(self, change: np.ndarray) -> None:
        """Add the change of a frame, (H, W) uint8."""
        self.counts += np.bincount(change.ravel(), minlength=256)

    def row(self) -> dict[str, float]:
        """Return the mean change and its percentiles, in gray levels."""
        share = self.counts.cumsum() / self.counts.sum()
        mean = float((self.counts * np.arange(256)).sum() / self.counts.sum())
        return {
            'mean change': mean,
            **{f'p{p}': float(np.searchsorted(share, p / 100)) for p in PERCENTILES},
        }


def run_pair_fuser(run: str) -> PairFuser:
    """Return a function that uses the fusion network of a run."""
    fuse = run_fuser(run)
    scaler = ThermalScaler(IrConfig())
    return lambda pair: (fuse(clip_sample(pair, scaler)), None)


def bundle_pair_fuser(model: str, score: float, tracker: str) -> tuple[PairFuser, tuple[str, ...]]:
    """Return a function that runs a bundle as the robot does, and the names of its classes."""
    config = FusionConfig(model=model, backend='cpu', score_threshold=score, tracker=tracker)
    pipeline = build_pipeline(config)

    def run(pair: FramePair) -> tuple[np.ndarray, Detections]:
        result = pipeline.process_pair(pair)
        return luma_levels(result.image), result.detections

    return run, pipeline.contract.classes


def measure_clip(
    pairs: Iterable[FramePair],
    fused: Mapping[str, PairFuser],
    classes: Mapping[str, Sequence[str]],
) -> tuple[Table, Table]:
    """Return how much images change, with ratio to the larger source, and what bundles detect."""
    changes = {name: Steadiness() for name in ('rgb', 'ir', EITHER, *fused)}
    found: dict[str, list[Detections]] = {name: [] for name in classes}
    scaler = ThermalScaler(IrConfig())
    for number, pair in enumerate(pairs):
        sample = clip_sample(pair, scaler)
        of_rgb = changes['rgb'].add(luma_levels(sample.rgb))
        of_either = np.maximum(of_rgb, changes['ir'].add(sample.ir))
        if number:
            changes[EITHER].count(of_either)
        for name, fuse in fused.items():
            luma, detections = fuse(pair)
            changes[name].add(luma)
            if detections is not None:
                found[name].append(detections)
    if not changes['rgb'].counts.any():
        raise FusionError('a clip needs two frames or more: name a longer one')
    table = {name: change.row() for name, change in changes.items()}
    larger = max(table[name]['mean change'] for name in ('rgb', 'ir'))
    for row in table.values():
        row['of the larger source'] = row['mean change'] / larger if larger else math.nan
    return table, {name: box_row(found[name], names) for name, names in classes.items()}


def box_row(found: Sequence[Detections], classes: Sequence[str]) -> dict[str, float]:
    """Return by class the boxes per frame, and the shares of frames with boxes and with twins."""
    row: dict[str, float] = {}
    for index, name in enumerate(classes):
        counts = np.array([(one.class_ids == index).sum() for one in found])
        row[f'{name}s a frame'] = float(counts.mean())
        row[f'frames with {name}'] = float((counts > 0).mean())
    row['frames with twins'] = float(np.mean([has_twins(one, classes) for one in found]))
    return row


def has_twins(found: Detections, classes: Sequence[str]) -> bool:
    """Return whether two boxes are likely to be of one object: the same class, or person, car."""
    boxes = torch.from_numpy(found.boxes_xyxy)
    overlapping = (pair_iou(boxes[:, None], boxes) > OVERLAP).triu(1).nonzero().tolist()
    pairs = ({classes[found.class_ids[i]] for i in indices} for indices in overlapping)
    return any(len(kinds) == 1 or kinds == CONFUSED for kinds in pairs)


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the arguments, measure, print."""
    parser = shell.parser('training.clips', __doc__)
    add = parser.add_argument
    add('clips', nargs='+', metavar='CLIP', help='bags, or folders')
    add('--bundle', action='append', default=[], metavar='FOLDER', help='repeatable')
    add('--fusion', action='append', default=[], metavar='RUN', help='a fusion run; repeatable')
    add('--score', type=float, default=FusionConfig().score_threshold, help="default: the node's")
    add('--tracker', choices=('none', 'iou'), default='iou', help='none: each frame by itself')
    add_output(parser, 'write the figures as JSON')
    options = parser.parse_args(arguments)
    check_file(options.output, map(Path, options.clips), overwrite=options.overwrite)
    content = {}
    clips = [clip for path in options.clips for clip in open_clips(path)]
    for clip in clips:
        # Smoothing starts again with each clip.
        fusers = {run: run_pair_fuser(run) for run in options.fusion}
        classes = {}
        for model in options.bundle:
            fusers[model], classes[model] = bundle_pair_fuser(
                model, options.score, options.tracker
            )
        pairs = tqdm(clip, unit='pair', disable=None)
        steadiness, boxes = measure_clip(pairs, fusers, classes)
        print(f'{clip.name}\n{tables.format_table(steadiness)}')
        if boxes:
            print(f'boxes at a score_threshold of {options.score:g}\n{tables.format_table(boxes)}')
        found = {'steadiness': steadiness, 'boxes': boxes}
        content[clip.name] = {name: tables.rounded(table) for name, table in found.items()}
    write_json(options.output, content)


if __name__ == '__main__':
    shell.run('clips', main)
