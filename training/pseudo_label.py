"""
Draw boxes on pairs without labels, with a detector that was trained elsewhere, to train on them.

    python -m training.pseudo_label CLIPS --detector yolox_nano.onnx -o DATA/clips_pseudo

CLIPS is a bag, or has the folders rgb (or vi) and ir with the frames of one clip or with videos of
the same names. Each image of a pair is searched alone. Sure boxes of the camera that sees more
become objects; all that is less sure, or that only the other camera sees, becomes a region to
ignore. The labels state their origin, and so does the card of a model that is trained on them.
"""

from argparse import ArgumentParser
from argparse import RawDescriptionHelpFormatter
from collections.abc import Collection
from collections.abc import Iterator
from collections.abc import Sequence
from dataclasses import dataclass
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch import Tensor

from tdfusion_ros.atomic import write_file
from tdfusion_ros.core.config import IrConfig
from tdfusion_ros.core.data import Detections
from tdfusion_ros.core.errors import FusionError
from tdfusion_ros.core.thermal import ThermalScaler
from tdfusion_ros.formats.image_files import encode_jpeg
from tdfusion_ros.formats.image_files import write_image
from training import shell
from training.checkpoint import make_folder
from training.data.augmentation import whole
from training.data.boxes import PSEUDO_LABELS
from training.data.clips import clip_sample
from training.data.clips import open_clips
from training.data.datasets import CLASSES
from training.data.datasets import Sample
from training.measure.predictors import found_boxes
from training.method.detection import pair_iou
from training.method.pretrained import describe_file
from training.method.pretrained import load_yolox

SAME = 0.5  # intersection over union above which two boxes show the same object
JPEG_QUALITY = 95


@dataclass(frozen=True)
class Thresholds:
    """How sure a detector must be."""

    sure: float = 0.5
    """Score from which a box is an object."""
    doubtful: float = 0.15
    """Score from which a box may be an object."""


def read_pairs(path: str, every: int) -> Iterator[Sample]:
    """Yield every n-th pair of each clip of a path; FusionError if one cannot be read."""
    for clip in open_clips(path):
        scaler = ThermalScaler(IrConfig(crop='none'))
        for number, pair in enumerate(itertools.islice(clip, 0, None, every)):
            if pair.rgb is None or pair.ir is None:
                continue
            yield clip_sample(pair, scaler, f'{Path(clip.name).name}_{number * every:05d}')


@torch.inference_mode()
def search(detector: nn.Module, image: np.ndarray) -> Detections:
    """Return what a detector finds in an (H, W, 3) uint8 RGB image."""
    rgb = whole(Sample('', image, image[..., 0])).rgb
    return found_boxes(detector, rgb, (image.shape[0], image.shape[1]))


def labels_of(of_rgb: Detections, of_ir: Detections, limits: Thresholds) -> list[dict[str, Any]]:
    """Return objects and regions to ignore of a pair, as COCO annotations."""
    sums = [found.scores[found.scores >= limits.sure].sum() for found in (of_rgb, of_ir)]
    best, other = (of_rgb, of_ir) if sums[0] >= sums[1] else (of_ir, of_rgb)
    rows: list[dict[str, Any]] = []
    kept: list[Tensor] = []
    for found in (best, other):
        boxes = torch.from_numpy(found.boxes_xyxy)
        for box, score, class_id in zip(boxes, found.scores, found.class_ids, strict=True):
            if score < limits.doubtful or any(pair_iou(box, other) > SAME for other in kept):
                continue
            kept.append(box)
            is_object = found is best and score >= limits.sure
            x0, y0, x1, y1 = (round(v, 1) for v in box.tolist())
            sides = [round(x1 - x0, 1), round(y1 - y0, 1)]
            if min(sides) >= 1:
                row = {'category_id': int(class_id), 'bbox': [x0, y0, *sides]}
                rows.append({**row, 'iscrowd': int(not is_object)})
    return rows


def write(
    folder: Path, pairs: Iterator[Sample], detector: nn.Module, absent: Collection[int]
) -> dict[str, Any]:
    """
    Write the images of all pairs, and return images and annotations of their COCO file.

    :param absent: classes that do not occur: what the detector takes for them is background.
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for camera in ('rgb', 'ir'):
        make_folder(folder / camera, 'folder of images', '-o')
    for pair in pairs:
        found = search(detector, pair.rgb), search(detector, np.dstack([pair.ir] * 3))
        for row in labels_of(*found, Thresholds()):
            if row['category_id'] in absent:
                continue
            annotations.append({'id': len(annotations) + 1, 'image_id': len(images), **row})
        height, width = pair.ir.shape
        place = {'file_name': f'{pair.name}.jpg', 'height': height, 'width': width}
        images.append({'id': len(images), **place})
        jpeg = encode_jpeg(pair.rgb, JPEG_QUALITY)
        write_file(folder / 'rgb' / f'{pair.name}.jpg', jpeg.tobytes())
        write_image(folder / 'ir' / f'{pair.name}.png', pair.ir)
    return {'images': images, 'annotations': annotations}


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the arguments, search all pairs, and write a data set."""
    parser = ArgumentParser(
        prog='python -m training.pseudo_label',
        description=__doc__,
        formatter_class=RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add('clips', metavar='CLIPS', help='folder with rgb (or vi) and ir')
    add('--detector', required=True, metavar='FILE', help='ONNX file of YOLOX-Nano')
    add('--classes', nargs='+', default=list(CLASSES), metavar='NAME', help='what to look for')
    add('--absent', nargs='+', default=[], metavar='NAME', help='classes that do not occur there')
    add('--every', type=int, default=1, metavar='N', help='use every N-th pair')
    add('-o', '--output', required=True, metavar='FOLDER', help='data set to write')
    options = parser.parse_args(arguments)
    if options.every < 1:
        parser.error('--every takes a number of 1 or more')
    folder, limits = Path(options.output), Thresholds()
    if (folder / 'annotations.json').exists():
        raise FusionError(f'{folder} exists: delete it, or name another with -o')
    if unknown := sorted(set(options.absent) - set(options.classes)):
        parser.error(f'--absent {unknown[0]}: name it in --classes, too')
    detector = load_yolox(options.detector, options.classes)
    absent = {options.classes.index(name) for name in options.absent}
    content = write(folder, read_pairs(options.clips, options.every), detector, absent)
    if not content['images']:
        raise FusionError(
            f'{options.clips} has no pairs: rgb (or vi) and ir must have the same frames'
        )
    origin = (
        f'{describe_file(options.detector)}; objects from a score of {limits.sure}, '
        f'regions to ignore from {limits.doubtful}'
    ) + (f'; no {" and no ".join(options.absent)} there' if absent else '')
    categories = [{'id': i, 'name': name} for i, name in enumerate(options.classes)]
    content |= {'categories': categories, 'info': {PSEUDO_LABELS: origin}}
    write_file(folder / 'annotations.json', json.dumps(content))
    kept = [row for row in content['annotations'] if not row['iscrowd']]
    objects = [options.classes[row['category_id']] for row in kept]
    counts = ', '.join(f'{objects.count(name)} {name}' for name in options.classes)
    print(f'{folder}: {len(content["images"])} pairs, {counts}')


if __name__ == '__main__':
    shell.run('pseudo_label', main)
