"""Read boxes from YOLO text, VOC XML and COCO JSON; all become pixels on the edges of pixels."""

from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Mapping
from collections.abc import Sequence
import json
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import numpy as np

from tdfusion_ros.core.errors import FusionError
from training.data.pair_files import read_bytes
from training.data.pair_files import read_text

Boxes = tuple[np.ndarray, np.ndarray]
"""boxes_xyxy (N, 4) float32 in pixels, class_ids (N,) int64."""


class BoxSource(NamedTuple):
    """The boxes of a data set: for which names there are any, and how to read those of one."""

    place: Path
    classes: tuple[str, ...]
    names: Collection[str]
    read: Callable[[str, tuple[int, int]], Boxes]


def read_yolo(path: Path, size_hw: tuple[int, int], class_of: Sequence[int]) -> Boxes:
    """
    Read a YOLO label file (class cx cy w h, normalized by width and height).

    :param class_of: class index of each number that the file may use.
    :returns: an empty file is an image without objects.
    """
    rows = [line.split() for line in read_text(path).splitlines() if line.strip()]
    try:
        if any(len(row) != 5 for row in rows):
            raise ValueError
        values = np.array(rows, dtype=np.float64).reshape(-1, 5)
        numbers = [int(row[0]) for row in rows]
    except ValueError:
        raise FusionError(f'{path}: each line must be "class cx cy w h": correct it') from None
    if unknown := [n for n in numbers if not 0 <= n < len(class_of)]:
        raise FusionError(
            f'{path} holds class {unknown[0]}, known are 0 to {len(class_of) - 1}: '
            'correct it, or add the name to classes.txt'
        )
    center, size = values[:, 1:3], values[:, 3:5]
    # x belongs to the width and y to the height: swapped, a wide image loses its right side.
    scale = np.array([size_hw[1], size_hw[0]] * 2)
    boxes = np.concatenate((center - size / 2, center + size / 2), 1) * scale
    return checked(path, boxes, [class_of[n] for n in numbers], size_hw)


def read_voc(path: Path, size_hw: tuple[int, int], index_of: Mapping[str, int]) -> Boxes:
    """
    Read a VOC annotation.

    :param index_of: class index of each name, in lower case.

    xmin and xmax are taken as the edges of the box: the labeling tools that made the thermal
    sets write xmax = width for a box at the right border, and no offset of one pixel.
    """
    parser = ElementTree.XMLParser(target=_NoDoctype())
    try:
        parser.feed(read_bytes(path))
        root = parser.close()
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise FusionError(f'{path} is no VOC annotation ({error}): write it again') from None
    stated = tuple(_number(root.findtext(f'size/{side}', '0')) for side in ('height', 'width'))
    if any(stated) and stated != size_hw:
        raise FusionError(
            f'{path} is for a picture of {stated[1]:g}x{stated[0]:g}, its pair is '
            f'{size_hw[1]}x{size_hw[0]}: boxes and pictures must have one size; correct <size>'
        )
    objects = root.findall('object')
    names = [item.findtext('name', '').strip().lower() for item in objects]
    if unknown := [name for name in names if name not in index_of]:
        raise FusionError(
            f'{path} holds the class {unknown[0]!r}, known are {", ".join(index_of)}: correct it'
        )
    sides = ('xmin', 'ymin', 'xmax', 'ymax')
    rows = [[_number(item.findtext(f'bndbox/{side}', '')) for side in sides] for item in objects]
    return checked(path, np.array(rows, np.float64), [index_of[name] for name in names], size_hw)


def yolo_source(folder: Path, classes: tuple[str, ...], class_of: Sequence[int]) -> BoxSource:
    """Return the source of a folder of YOLO label files."""
    names = {path.stem for path in folder.glob('*.txt')}
    return BoxSource(
        folder,
        classes,
        names,
        lambda name, size_hw: read_yolo(folder / f'{name}.txt', size_hw, class_of),
    )


def voc_source(folder: Path, classes: tuple[str, ...], index_of: Mapping[str, int]) -> BoxSource:
    """Return the source of a folder of VOC annotations."""
    names = {path.stem for path in folder.glob('*.xml')}
    return BoxSource(
        folder,
        classes,
        names,
        lambda name, size_hw: read_voc(folder / f'{name}.xml', size_hw, index_of),
    )


def coco_source(path: Path) -> BoxSource:
    """Return the source of a COCO file, which names its classes; crowds are left out."""
    try:
        content = json.loads(read_text(path))
        categories = sorted(content['categories'], key=lambda category: category['id'])
        index_of = {category['id']: i for i, category in enumerate(categories)}
        images = {image['id']: image for image in content['images']}
        found: dict[str, list] = {Path(i['file_name']).stem: [] for i in images.values()}
        sizes = {
            Path(i['file_name']).stem: (i.get('height'), i.get('width')) for i in images.values()
        }
        for one in content['annotations']:
            if not one.get('iscrowd', 0):
                x, y, width, height = map(float, one['bbox'])
                stem = Path(images[one['image_id']]['file_name']).stem
                row = [x, y, x + width, y + height], index_of[one['category_id']]
                found[stem].append(row)
        classes = tuple(str(category['name']) for category in categories)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FusionError(
            f'{path} is no COCO annotation ({type(error).__name__}: {error}): it needs images, '
            'annotations and categories that refer to each other; write it again'
        ) from None
    if len(found) != len(content['images']):
        raise FusionError(f'{path} names a picture twice: list each pair once, by its rgb file')

    def read(name: str, size_hw: tuple[int, int]) -> Boxes:
        if any(sizes[name]) and sizes[name] != size_hw:
            height, width = sizes[name]
            raise FusionError(
                f'{path} says that {name} is {width}x{height}, it is {size_hw[1]}x{size_hw[0]}: '
                'boxes and pictures must have one size; write it again'
            )
        rows = np.array([row for row, _ in found[name]], np.float64)
        return checked(path, rows, [index for _, index in found[name]], size_hw)

    return BoxSource(path, classes, found.keys(), read)


def checked(
    path: Path, boxes: np.ndarray, class_ids: Sequence[int], size_hw: tuple[int, int]
) -> Boxes:
    """
    Return the boxes cut at the border of the picture.

    :raises FusionError: if a box is not finite, empty, or lies outside of the picture.
    """
    height, width = size_hw
    boxes = boxes.reshape(-1, 4)
    inside = np.clip(boxes, 0, [width, height, width, height])
    good = np.isfinite(boxes).all(1) & (inside[:, 2:] > inside[:, :2]).all(1)
    if not good.all():
        row = int(np.argmin(good))
        corners = ', '.join(f'{value:g}' for value in boxes[row])
        raise FusionError(
            f'{path}: box {row + 1} ({corners}) is empty or lies outside of its picture, which '
            f'is {width}x{height}: correct or delete it'
        )
    return inside.astype(np.float32), np.array(class_ids, dtype=np.int64)


class _NoDoctype(ElementTree.TreeBuilder):
    """Refuses documents that declare entities: no label file needs them, every attack does."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        raise ValueError('it has a DOCTYPE')


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float('nan')
