"""Read boxes from YOLO and KAIST text, VOC XML and COCO JSON; coordinates are edges, in pixels."""

from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Mapping
from collections.abc import Sequence
import json
from pathlib import Path
from pathlib import PureWindowsPath
import re
from typing import NamedTuple
from xml.etree import ElementTree

import numpy as np

from tdfusion_ros.core.errors import FusionError
from tdfusion_ros.formats.image_files import composed
from tdfusion_ros.formats.image_files import pair_names
from tdfusion_ros.formats.plain_yaml import read_yaml
from tdfusion_ros.formats.read_errors import reading
from training.data.pair_files import read_bytes
from training.data.pair_files import read_text

Boxes = tuple[np.ndarray, np.ndarray]
"""boxes_xyxy (N, 4) float32 in pixels, class_ids (N,) int64 or ``IGNORED``."""
IGNORED = -1
"""Class of a region of unknown content, which counts neither in a loss nor in a metric."""
PSEUDO_LABELS = 'pseudo_labels'
"""Entry of the ``info`` of a COCO file: which detector drew its boxes."""


FILES = {
    **dict.fromkeys(('yolo', 'kaist'), '/*.txt'),
    'labelimg': '/classes.txt',
    **{'voc': '/*.xml', 'coco': ''},
}
"""Formats of labels, and which files a place of them has; labelimg is YOLO beside the images."""


class BoxSource(NamedTuple):
    """The boxes of a data set: the pairs that have labels, and how to read the boxes of one."""

    place: Path
    classes: tuple[str, ...]
    names: Collection[str]
    read: Callable[[str, tuple[int, int]], Boxes]
    """Takes the name of a pair and the size (H, W) of its images."""
    origin: str = ''
    """Which detector drew the boxes; empty: people did."""


def class_names(root: Path, place: Path) -> tuple[Path, tuple[str, ...]]:
    """
    Return a file that lists the classes of a data set, in the order of numbers, and the list.

    :param place: of the labels, where LabelImg writes the list.
    :raises FusionError: if files differ, as in copies of a data set, or one has a class twice.
    """
    files = [root / 'classes.txt', place / 'classes.txt', root / 'data.yaml']
    lists = [(_yaml_names if file.suffix == '.yaml' else lines_of)(file) for file in files]
    stated = {names: file for names, file in zip(lists, files, strict=True) if names}
    if len(stated) > 1:
        differing = '; '.join(f'{file}: {", ".join(names)}' for names, file in stated.items())
        raise FusionError(f'lists of classes differ ({differing}): delete the wrong ones')
    names, file = next(iter(stated.items()), ((), files[0]))
    if twice := next((name for name in names if names.count(name) > 1), ''):
        raise FusionError(f'{file} has the class {twice!r} twice: correct it')
    return file, names


def _yaml_names(path: Path) -> tuple[str, ...]:
    """Return the class names in a data.yaml, a list or a mapping of numbers; empty without it."""
    if not path.is_file():
        return ()
    with reading(FusionError, f'{path} must have "names: [NAME, ...]"', TypeError, KeyError):
        names = read_yaml(read_text(path))['names']
        if isinstance(names, str):
            raise TypeError(f'names is {names!r}')
        return tuple(str(names[i]) for i in range(len(names)))


def lines_of(path: Path) -> tuple[str, ...]:
    """Return the lines of a file that are not empty; none without the file."""
    lines = read_text(path).splitlines() if path.is_file() else []
    return tuple(line.strip() for line in lines if line.strip())


def read_yolo(path: Path, size_hw: tuple[int, int], class_of: Sequence[int]) -> Boxes:
    """Read YOLO labels, classes of numbers by ``class_of``; an empty file has no objects."""
    lines = [line.split() for line in read_text(path).splitlines() if line.strip()]
    for number, fields in enumerate(lines, start=1):
        if len(fields) != 5:
            hint = 'a sixth value is a confidence: remove it; more are a polygon: make it a box'
            raise FusionError(
                f'{path}: line {number} has {len(fields)} values, expected "class cx cy w h"'
                f'{f" ({hint})" if len(fields) > 5 else ""}: correct it'
            )
    try:
        values = np.array(lines, dtype=np.float64).reshape(-1, 5)
        if (values[:, 0] % 1 != 0).any():
            raise ValueError
    except ValueError:
        raise FusionError(
            f'{path}: each line must be "class cx cy w h" in numbers, the class a whole one: '
            'correct it'
        ) from None
    if unknown := sorted({n for n in values[:, 0].tolist() if not 0 <= n < len(class_of)}):
        raise FusionError(
            f'{path} contains class {", ".join(f"{n:g}" for n in unknown)}, known are 0 to '
            f'{len(class_of) - 1}: '
            'correct it, or add the name to classes.txt'
        )
    center, size = values[:, 1:3], values[:, 3:5]
    if (values[:, 1:] > 2).any():
        raise FusionError(
            f'{path} has coordinates in pixels, expected shares of width and height, 0 to 1: '
            'divide them'
        )
    scale = np.array([size_hw[1], size_hw[0]] * 2)  # x by the width, y by the height
    boxes = np.concatenate((center - size / 2, center + size / 2), 1) * scale
    return clip_boxes(str(path), boxes, [class_of[int(n)] for n in values[:, 0]], size_hw)


def read_kaist(path: Path, size_hw: tuple[int, int]) -> Boxes:
    """
    Read the text form of KAIST: ``label x y width height occlusion ...``, after a comment.

    Persons are objects as in its "reasonable" subset: at least 55 px high and occluded by less
    than half; all other objects (small or hidden persons, groups, cyclists) are to be ignored.
    """
    lines = [line.split() for line in read_text(path).splitlines() if line.strip()]
    rows = [line for line in lines if not line[0].startswith('%')]
    try:
        values = np.array([row[1:6] for row in rows], np.float64).reshape(-1, 5)
    except ValueError:
        raise FusionError(
            f'{path}: each line must be "label x y width height occlusion ...": correct it'
        ) from None
    person = np.array([row[0] == 'person' for row in rows], bool)
    reasonable = person & (values[:, 3] >= 55) & (values[:, 4] < 2)
    boxes = np.concatenate((values[:, :2], values[:, :2] + values[:, 2:4]), 1)
    return clip_boxes(str(path), boxes, np.where(reasonable, 0, IGNORED), size_hw)


def read_voc(path: Path, size_hw: tuple[int, int], index_of: Mapping[str, int]) -> Boxes:
    """
    Read a VOC annotation; ``index_of``: class index of each name, in lower case.

    xmin and xmax are taken as the edges of the box: the labeling tools of the thermal data sets
    write xmax = width for a box at the right border, without an offset of one pixel.
    """
    data = read_bytes(path)
    declared = re.match(rb'<\?xml[^>]*?encoding=["\']([\w.-]+)', data)
    parser = ElementTree.XMLParser(target=_NoDoctype())
    try:
        # Decoded here: expat does not know gb2312 and other encodings of several bytes.
        parser.feed(data.decode(declared[1].decode()) if declared else data)
        root = parser.close()
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise FusionError(f'{path} is not a VOC annotation ({error}): write it again') from None
    stated = tuple(_number(root.findtext(f'size/{side}', '0')) for side in ('height', 'width'))
    _check_stated_size(str(path), stated, size_hw)
    objects = root.findall('object')
    names = [item.findtext('name', '').strip().lower() for item in objects]
    if unknown := [name for name in names if name not in index_of]:
        raise FusionError(
            f'{path} contains class {", ".join(sorted(map(repr, set(unknown))))}, known are '
            f'{", ".join(index_of)}: correct it'
        )
    sides = ('xmin', 'ymin', 'xmax', 'ymax')
    rows = [[_number(item.findtext(f'bndbox/{side}', '')) for side in sides] for item in objects]
    if any(item.find('bndbox') is None for item in objects):
        raise FusionError(f'{path} has an object without bndbox: add the box, also of a polygon')
    class_ids = [index_of[name] for name in names]
    return clip_boxes(str(path), np.array(rows, np.float64), class_ids, size_hw)


def coco_file(path: Path) -> BoxSource:
    """Return the source of a COCO file, which names its classes; crowds are regions to ignore."""
    try:
        content = json.loads(read_text(path))
        categories = sorted(content['categories'], key=lambda category: category['id'])
        classes = tuple(dict.fromkeys(str(category['name']) for category in categories))
        index_of = {each['id']: classes.index(str(each['name'])) for each in categories}
        # Also for files that were written on Windows.
        paths = {i['id']: PureWindowsPath(i['file_name']) for i in content['images']}
        stems = {number: composed(path.stem) for number, path in paths.items()}
        names_of = pair_names(set(stems.values()))
        names = {number: names_of[stem] for number, stem in stems.items()}
        sizes = {
            names[i['id']]: (float(i.get('height') or 0), float(i.get('width') or 0))
            for i in content['images']
        }
        found: dict[str, list[tuple[float, ...]]] = {name: [] for name in names.values()}
        for one in content['annotations']:
            x, y, width, height = map(float, one['bbox'])
            class_id = IGNORED if one.get('iscrowd', 0) else index_of[one['category_id']]
            found[names[one['image_id']]].append((class_id, x, y, x + width, y + height))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FusionError(
            f'{path} is not a COCO annotation ({type(error).__name__}: {error}): it needs images, '
            'annotations and categories that refer to each other; write it again'
        ) from None
    if max((max(row[1:]) for rows in found.values() for row in rows), default=2) <= 1:
        raise FusionError(
            f'{path} has boxes in shares of width and height, expected pixels: multiply them'
        )
    if len(found) != len(content['images']):
        raise FusionError(f'{path} lists an image twice: list each pair once, by its rgb file')

    def read(name: str, size_hw: tuple[int, int]) -> Boxes:
        place = f'{path}, {name}'
        _check_stated_size(place, sizes[name], size_hw)
        rows = np.array(found[name], np.float64).reshape(-1, 5)
        return clip_boxes(place, rows[:, 1:], rows[:, 0], size_hw)

    origin = str(content.get('info', {}).get(PSEUDO_LABELS, ''))
    return BoxSource(path, classes, found.keys(), read, origin)


def clip_boxes(
    place: str,
    boxes: np.ndarray,
    class_ids: Sequence[float] | np.ndarray,
    size_hw: tuple[int, int],
) -> Boxes:
    """Return the boxes clipped to the image; FusionError for one that is empty or outside."""
    height, width = size_hw
    boxes = boxes.reshape(-1, 4)
    inside = np.clip(boxes, 0, [width, height, width, height])
    good = np.isfinite(boxes).all(1) & (inside[:, 2:] > inside[:, :2]).all(1)
    if not good.all():
        row = int(np.argmin(good))
        corners = ', '.join(f'{value:g}' for value in boxes[row])
        raise FusionError(
            f'{place}: box {row + 1} ({corners}) is empty or outside of its image, which is '
            f'{width}x{height}: correct or delete it'
        )
    return inside.astype(np.float32), np.array(class_ids, dtype=np.int64)


class _NoDoctype(ElementTree.TreeBuilder):
    """Refuses documents that declare entities: no label file needs them, every attack does."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        raise ValueError('it has a DOCTYPE')


def _check_stated_size(place: str, stated: tuple[float, ...], size_hw: tuple[int, int]) -> None:
    if any(stated) and stated != size_hw:
        raise FusionError(
            f'{place}: labels are for an image of {stated[1]:g}x{stated[0]:g}, the pair is '
            f'{size_hw[1]}x{size_hw[0]}: use the size that was labeled, or correct the label file'
        )


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float('nan')
