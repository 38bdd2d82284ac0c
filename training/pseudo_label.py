"""
Draw boxes on pairs without labels, with a detector that was trained elsewhere, to train on them.

    python -m training.pseudo_label CLIPS --detector yolox_nano.onnx -o DATA/clips_pseudo
    python -m training.pseudo_label DATA --split train --detector yolox_nano.onnx -o DATA_more

CLIPS is a bag, or has the folders rgb (or vi) and ir with the frames of one clip or with videos of
the same names. With --split, DATA is a data set, whose own labels stay: in classes that it labels,
what else the detector finds is a region to ignore. A file searches rgb, ir and with --fusion the
fused image, a run what it reads; all of them at several --scales, with --mirrored also their
mirror images. The score of an object is the mean over all these views, so one that few of them
show scores low. Confident boxes become objects, others regions to ignore. The labels state their
origin, and so does the card of a model that is trained on them.
"""

from argparse import ArgumentParser
from argparse import Namespace
from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Iterator
from collections.abc import Sequence
from dataclasses import replace
import itertools
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from tdfusion_ros.atomic import check_outside
from tdfusion_ros.atomic import NewOutput
from tdfusion_ros.atomic import write_file
from tdfusion_ros.core.config import IrConfig
from tdfusion_ros.core.data import Detections
from tdfusion_ros.core.errors import FusionError
from tdfusion_ros.core.thermal import ThermalScaler
from tdfusion_ros.formats.image_files import encode_jpeg
from tdfusion_ros.formats.image_files import write_image
from training import shell
from training.data.augmentation import whole
from training.data.boxes import IGNORED
from training.data.boxes import PSEUDO_LABELS
from training.data.classes import correspondence
from training.data.clips import clip_sample
from training.data.clips import open_clips
from training.data.datasets import CLASSES
from training.data.datasets import Sample
from training.data.mixture import open_data
from training.measure.cross_set import relabel
from training.measure.predictors import found_boxes
from training.measure.predictors import Input
from training.measure.predictors import input_of
from training.measure.predictors import open_input
from training.method.detection import pair_iou
from training.method.pretrained import describe_file
from training.method.pretrained import is_pretrained
from training.method.pretrained import load_yolox
from training.method.task_networks import check_classes
from training.method.task_networks import read_detector

SAME = 0.45  # intersection over union above which two boxes show the same object
SURE = 0.22
DOUBTFUL = 0.06
"""Mean scores over the views from which a box is an object, or may be one."""
JPEG_QUALITY = 95


def read_pairs(path: str, every: int) -> Iterator[Sample]:
    """Yield every n-th pair of each clip of a path; FusionError if one cannot be read."""
    for clip in open_clips(path):
        scaler = ThermalScaler(IrConfig(crop='none'))
        for number, pair in enumerate(itertools.islice(clip, 0, None, every)):
            if pair.rgb is None or pair.ir is None:
                continue
            yield clip_sample(pair, scaler, f'{Path(clip.name).name}_{number * every:05d}')


def read_split(path: str, split: str, classes: Sequence[str]) -> Iterator[Sample]:
    """Yield the samples of a split, with the labels that it has, in ``classes``."""
    data = open_data(path, split)
    known = data.classes if data.boxes else ()
    labeled = np.array([bool(kinds) for kinds in correspondence(known, classes)])
    for sample in data:
        labels = relabel(sample, known, classes)
        yield replace(labels, rgb=sample.rgb, ir=sample.ir, labeled=labeled)


@torch.inference_mode()
def search(
    detector: nn.Module, image: np.ndarray, scale: float, mirrored: bool = False
) -> Detections:
    """Return what a detector finds in an (H, W, 3) uint8 RGB image magnified by ``scale``."""
    method = cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA
    image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=method)
    if mirrored:
        image = np.ascontiguousarray(image[:, ::-1])
    rgb = whole(Sample('', image, image[..., 0])).rgb
    found = found_boxes(detector, rgb, (image.shape[0], image.shape[1]))
    boxes = found.boxes_xyxy
    if mirrored:
        boxes = np.stack((image.shape[1] - boxes[:, [2, 0]], boxes[:, [1, 3]]), -1).reshape(-1, 4)
    return replace(found, boxes_xyxy=boxes / np.float32(scale))


def agree(views: Sequence[Detections]) -> list[tuple[np.ndarray, float, int]]:
    """
    Return box, score and class of each object that views of one pair show, best score first.

    The box is the mean of its boxes by their scores, the score the mean over all views. Source:
    weighted boxes fusion (Solovyev et al., 2021).
    """
    boxes = np.concatenate([found.boxes_xyxy for found in views])
    scores = np.concatenate([found.scores for found in views])
    class_ids = np.concatenate([found.class_ids for found in views])
    view = np.repeat(range(len(views)), [len(found.scores) for found in views])
    places = torch.from_numpy(boxes)
    same = (pair_iou(places[:, None], places) > SAME).numpy() & (class_ids[:, None] == class_ids)
    groups: dict[int, dict[int, int]] = {}  # by its surest row: the row of each view
    for row in np.argsort(-scores, kind='stable').tolist():
        first = next((each for each in groups if same[row, each]), row)
        groups.setdefault(first, {}).setdefault(int(view[row]), row)
    objects = []
    for first, members in groups.items():
        rows = list(members.values())
        box = np.average(boxes[rows], 0, scores[rows]).astype(np.float32)
        objects.append((box, float(scores[rows].sum()) / len(views), int(class_ids[first])))
    return sorted(objects, key=lambda each: -each[1])


def labels_of(sample: Sample, parts: Sequence[Detections]) -> list[dict[str, Any]]:
    """
    Return the objects and the regions to ignore of a pair, as COCO annotations.

    :param sample: with the labels that are known. :param parts: what was found, by view.
    """
    rows = [_row(*one) for one in zip(sample.boxes_xyxy, sample.class_ids, strict=True)]
    kept = [torch.from_numpy(box) for box in sample.boxes_xyxy]
    for box, score, class_id in agree(parts):
        place = torch.from_numpy(box)
        if score < DOUBTFUL or any(pair_iou(place, other) > SAME for other in kept):
            continue
        kept.append(place)
        known = sample.labeled is not None and sample.labeled[class_id]
        row = _row(box, class_id, ignored=score < SURE or known)
        rows += [row] * (min(row['bbox'][2:]) >= 1)
    return rows


def _row(box: np.ndarray, class_id: int, ignored: bool = False) -> dict[str, Any]:
    x0, y0, x1, y1 = (round(v, 1) for v in box.tolist())
    bbox = [x0, y0, round(x1 - x0, 1), round(y1 - y0, 1)]
    ignored = ignored or class_id == IGNORED
    return {'category_id': max(int(class_id), 0), 'bbox': bbox, 'iscrowd': int(ignored)}


def write(
    folder: Path,
    pairs: Iterator[Sample],
    find: Callable[[Sample], list[Detections]],
    absent: Collection[int],
) -> dict[str, Any]:
    """
    Write the images of all pairs, and return images and annotations of their COCO file.

    :param find: returns what was found in each view.
    :param absent: classes that do not occur: their detections are background.
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    names: set[str] = set()
    for pair in tqdm(pairs, unit='pair', disable=None):
        for row in labels_of(pair, find(pair)):
            if row['category_id'] in absent:
                continue
            annotations.append({'id': len(annotations) + 1, 'image_id': len(images), **row})
        height, width = pair.ir.shape
        name = pair.name.replace('/', '_')
        while name in names:  # of a/b_c and of a_b/c
            name += '_'
        names.add(name)
        place = {'file_name': f'{name}.jpg', 'height': height, 'width': width}
        images.append({'id': len(images), **place})
        jpeg = encode_jpeg(pair.rgb, JPEG_QUALITY)
        write_file(folder / 'rgb' / f'{name}.jpg', jpeg.tobytes())
        write_image(folder / 'ir' / f'{name}.png', pair.ir)
    return {'images': images, 'annotations': annotations}


def make_parser() -> ArgumentParser:
    """Return the parser of the options."""
    parser = shell.parser('training.pseudo_label', __doc__)
    add = parser.add_argument
    add(
        'pairs',
        metavar='CLIPS|DATA',
        help='folder with rgb (or vi) and ir, or with --split a data set',
    )
    add('--split', default='', metavar='NAME', help='use the pairs and labels of a data set')
    add('--detector', required=True, nargs='+', metavar='FILE|RUN', help='YOLOX-Nano, or runs')
    add('--fusion', default='', metavar='RUN', help='a FILE searches its fused image, too')
    add('--scales', nargs='+', type=float, default=[1.0], metavar='S', help='of searched images')
    add('--mirrored', action='store_true', help='search the mirror images, too')
    add('--classes', nargs='+', default=list(CLASSES), metavar='NAME', help='what to look for')
    add('--absent', nargs='+', default=[], metavar='NAME', help='classes that do not occur there')
    add('--every', type=int, default=1, metavar='N', help='use every N-th pair')
    text = 'data set to write'
    add('-o', '--output', type=Path, required=True, metavar='FOLDER', help=text)
    return parser


def views_of(detector: str, options: Namespace) -> list[tuple[nn.Module, Input]]:
    """Return a detector with each input that it searches; FusionError for other classes."""
    if is_pretrained(detector):
        network: nn.Module = load_yolox(detector, options.classes)
        names = filter(None, ('rgb', 'ir', options.fusion))
        return [(network, open_input(name)) for name in names]
    network, known = read_detector(detector)
    check_classes(detector, known, tuple(options.classes))
    source, fusion = input_of(detector)
    return [(network.eval(), open_input(fusion or source))]


def origin_of(options: Namespace) -> str:
    """Return what the labels state of how they were made."""
    origins = [describe_file(one) if is_pretrained(one) else one for one in options.detector]
    origin = (
        f'{", ".join(origins)}, on {"rgb, ir and fused" if options.fusion else "rgb and ir"} at '
        f'{", ".join(map(str, options.scales))} times their size'
        f'{" and mirrored" if options.mirrored else ""}; '
        f'objects from a mean score of {SURE}, '
        f'regions to ignore from {DOUBTFUL}'
    )
    return origin + (f'; no {" and no ".join(options.absent)} there' if options.absent else '')


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the arguments, search all pairs, and write a data set."""
    parser = make_parser()
    options = parser.parse_args(arguments)
    if options.every < 1:
        parser.error('--every takes a number of 1 or more')
    if not all(0.1 <= scale <= 10 for scale in options.scales):
        parser.error('--scales takes numbers from 0.1 to 10')
    if unknown := sorted(set(options.absent) - set(options.classes)):
        parser.error(f'--absent {unknown[0]}: name it in --classes, too')
    absent = {options.classes.index(name) for name in options.absent}
    views = [view for one in options.detector for view in views_of(one, options)]
    mirrors = (False, True) if options.mirrored else (False,)

    def find(pair: Sample) -> list[Detections]:
        return [
            search(detector, image, scale, mirrored)
            for detector, read in views
            for image in read(pair)
            for scale in options.scales
            for mirrored in mirrors
        ]

    if options.split:
        pairs = read_split(options.pairs, options.split, options.classes)
    else:
        pairs = read_pairs(options.pairs, options.every)
    check_outside(options.output, [Path(options.pairs)])
    with NewOutput(options.output) as folder:
        content = write(folder, pairs, find, absent)
        if not content['images']:
            raise FusionError(
                f'{options.pairs} has no pairs: rgb (or vi) and ir must have the same frames'
            )
        categories = [{'id': i, 'name': name} for i, name in enumerate(options.classes)]
        content |= {'categories': categories, 'info': {PSEUDO_LABELS: origin_of(options)}}
        write_file(folder / 'annotations.json', json.dumps(content))
    kept = [row for row in content['annotations'] if not row['iscrowd']]
    objects = [options.classes[row['category_id']] for row in kept]
    counts = ', '.join(f'{objects.count(name)} {name}' for name in options.classes)
    print(f'{options.output}: {len(content["images"])} pairs, {counts}')


if __name__ == '__main__':
    shell.run('pseudo_label', main)
