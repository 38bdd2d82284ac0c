"""Registered pairs with boxes and masks, read from disk in the layout of their data set."""

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from contextlib import contextmanager
import csv
from dataclasses import dataclass
from dataclasses import field
from dataclasses import replace
from functools import partial
from itertools import compress
from pathlib import Path
from typing import overload

import numpy as np

from tdfusion_ros.build import load_calibration
from tdfusion_ros.core.calibration import Calibration
from tdfusion_ros.core.errors import FusionError
from tdfusion_ros.formats.image_files import different_orientations
from tdfusion_ros.formats.image_files import list_files
from tdfusion_ros.formats.image_files import orientation
from training.data import layouts
from training.data import pair_files
from training.data import splits
from training.data.boxes import Boxes
from training.data.boxes import BoxSource
from training.data.boxes import class_names
from training.data.boxes import coco_file
from training.data.boxes import FILES
from training.data.boxes import lines_of
from training.data.boxes import read_kaist
from training.data.boxes import read_voc
from training.data.boxes import read_yolo
from training.data.layouts import Layout
from training.data.layouts import MSRS_DET

CALIBRATION = 'calibration.yaml'
CLASSES = MSRS_DET.classes
"""Classes of the shipped detector; ``DataSet.classes`` has the classes of other data."""


class DataError(FusionError):
    """Files of a data set cannot be used; ``problems`` has a sentence for each."""

    def __init__(self, problems: Sequence[str]) -> None:
        count = f'{len(problems)} files cannot be used: ' if problems[1:] else ''
        super().__init__(count + '; '.join(problems))
        self.problems = tuple(problems)


@dataclass(frozen=True)
class Sample:
    """One registered pair and its labels; images stay 8-bit so that a whole set fits in memory."""

    name: str
    rgb: np.ndarray
    """(H, W, 3) uint8, channel order R, G, B."""
    ir: np.ndarray
    """(H, W) uint8, white-hot, on the grid of ``rgb``."""
    boxes_xyxy: np.ndarray = field(default_factory=lambda: np.zeros((0, 4), np.float32))
    """(N, 4) float32 in pixels."""
    class_ids: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    """(N,) int64, index into ``DataSet.classes``; -1: a region of unknown content."""
    mask: np.ndarray | None = None
    """(H, W) uint8, index into ``DataSet.mask_classes``; 255 is unlabeled."""
    strata: Mapping[str, str] = field(default_factory=dict)
    """What figures are split by: light (day or night, where known) and source."""
    labeled: np.ndarray | None = None
    """(C,) bool: the classes whose objects all have a box; None: all."""
    coverage: np.ndarray | None = None
    """(H, W) float32 in [0, 1]: 1 where the thermal camera sees; None: everywhere."""


@dataclass(frozen=True)
class DataSet(Sequence[Sample]):
    """A split of a data set; each access reads the sample from disk."""

    layout: Layout
    files: Mapping[str, pair_files.Files]
    """By name."""
    classes: tuple[str, ...] = ()
    mask_classes: tuple[str, ...] = ()
    boxes: BoxSource | None = None
    masks: Mapping[str, Path] = field(default_factory=dict)
    strata: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    calibration: Calibration | None = None
    """Registers the ir images, if they are not."""
    remarks: tuple[str, ...] = ()
    """What is done without what was not found, a sentence each."""

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the pairs, in order."""
        return tuple(self.files)

    @property
    def label_origin(self) -> str:
        """Which detector drew the boxes; empty: people did."""
        return self.boxes.origin if self.boxes else ''

    def __len__(self) -> int:
        return len(self.files)

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> 'DataSet': ...
    def __getitem__(self, index: int | slice) -> 'Sample | DataSet':
        if isinstance(index, slice):
            return replace(self, files={name: self.files[name] for name in self.names[index]})
        name = self.names[index]
        rgb, ir, coverage = pair_files.read_pair(self.files[name], self.calibration)
        mask = self._read_mask(name, ir.shape) if name in self.masks else None
        strata = self.strata.get(name, {})
        sample = Sample(name, rgb, ir, mask=mask, strata=strata, coverage=coverage)
        if self.boxes is None:
            return sample
        boxes, class_ids = self.boxes.read(name, ir.shape)
        return replace(sample, boxes_xyxy=boxes, class_ids=class_ids)

    def check(self) -> list[str]:
        """
        Check all files before hours of work: read all labels, and the image headers.

        :returns: what is used, and what may be wrong, a sentence each.
        :raises DataError: listing every file that cannot be used.
        """
        problems: list[str] = []
        turned: list[str] = []
        objects: list[int] = []
        for name, paths in self.files.items():
            with _noting(problems):
                size_hw, *others = (pair_files.check_image(path) for path in paths if path)
                with _noting(problems):
                    rgb_path, ir_path = paths
                    if rgb_path and ir_path:
                        if self.calibration is None:
                            pair_files.check_sizes(rgb_path, ir_path, size_hw, *others)
                        turned.extend(filter(None, [_turned(rgb_path, ir_path)]))
                if self.boxes is not None:
                    with _noting(problems):
                        objects += self.boxes.read(name, size_hw)[1].tolist()
                if name in self.masks:
                    with _noting(problems):
                        self._read_mask(name, size_hw)
        if problems:
            raise DataError(problems)
        remarks = [*self.remarks]
        if self.boxes:
            names = [*self.classes, 'to ignore']  # IGNORED is -1
            counts = np.bincount(np.array(objects, int) % len(names), minlength=len(names))
            found = (f'{count} {name}' for name, count in zip(names, counts, strict=True))
            remarks.append(f'boxes of {self.boxes.place}: {", ".join(found)}')
        if turned:
            remarks.append(f'{len(turned)} of {len(self)} pairs: {turned[0]}')
        return remarks

    def _read_mask(self, name: str, size_hw: tuple[int, int]) -> np.ndarray:
        values, ignore = len(self.mask_classes), self.layout.ignore_index
        return pair_files.read_mask(self.masks[name], size_hw, values, ignore)


def _turned(rgb: Path, ir: Path) -> str:
    """Return a sentence if a file states an orientation, which nothing here applies."""
    if (number := orientation(rgb)) != 1 and number == orientation(ir):
        return (
            f'{rgb} and {ir} have the EXIF orientation {number}, which is not applied: labels '
            'must be of the images as they are stored'
        )
    return different_orientations(rgb, ir)


@contextmanager
def _noting(problems: list[str]) -> Iterator[None]:
    try:
        yield
    except FusionError as error:
        problems.append(str(error))


def open_dataset(root: str | Path, split: str, layout: Layout | None = None) -> DataSet:
    """
    Return the split of the data set in ``root``: all files are found, no image is read.

    :param split: a folder or list of the data set, or all, blocks_train, blocks_val.
    :param layout: None: recognized by the names of the folders.
    :raises FusionError: naming the first file that is missing.
    """
    root = Path(root)
    layout = layout or layouts.find_layout(root)
    split = splits.name_there(root, layout, split)
    files = splits.pair_files(root, layout, split)
    boxes = _open_boxes(root, layout, split)
    if boxes is not None:
        splits.check_complete(list(files), boxes.names, boxes.place)
    masks, mask_classes = _open_masks(root, layout, split)
    if mask_classes and not layout.partial_masks:
        splits.check_complete(list(files), masks, root / layout.masks.replace('{split}', split))
    classes, strata = boxes.classes if boxes else layout.classes, _strata(root, layout, [*files])
    path = root / CALIBRATION
    return DataSet(
        *(layout, files, classes, mask_classes, boxes, masks, strata),
        calibration=load_calibration(str(path)) if path.is_file() else None,
        remarks=_remarks(root, layout, split, boxes),
    )


def _remarks(root: Path, layout: Layout, split: str, boxes: BoxSource | None) -> tuple[str, ...]:
    remarks = []
    if splits.is_cut(root, layout, split):
        remarks.append(f'{root} has no lists of splits: {split} is blocks_{split}')
    if layout.boxes and boxes is None:
        places = dict.fromkeys(place.replace('{split}', split) for _, place in layout.boxes)
        remarks.append(f'{root} has no boxes: expected one of {", ".join(places)}')
    if (root / CALIBRATION).is_file():
        remarks.append(f'ir is registered by {root / CALIBRATION}')
    return tuple(remarks)


def _open_boxes(root: Path, layout: Layout, split: str) -> BoxSource | None:
    places = [(kind, place.replace('{split}', split)) for kind, place in layout.boxes]
    there = (any(root.glob(place + FILES[kind])) for kind, place in places)
    kind, place = next(compress(places, there), ('', ''))
    if not kind:
        return None
    if kind == 'coco':
        return coco_file(root / place)
    names_path, stated = class_names(root, root / place)
    listed = stated or layout.classes
    classes = layout.classes or listed
    index_of = {name.lower(): index for index, name in enumerate(classes)}
    index_of |= {alias: index_of[name] for alias, name in layout.aliases.items()}
    if not classes:
        raise FusionError(f'{names_path} is missing or empty: write the class names, one per line')
    if unknown := [name for name in listed if name.lower() not in index_of]:
        raise FusionError(
            f'{names_path} contains {unknown[0]!r}, the classes of {layout.name} are '
            f'{", ".join(classes)}: correct it'
        )
    class_of = [index_of[name.lower()] for name in listed]
    kinds: dict[str, tuple[str, Callable[[Path, tuple[int, int]], Boxes]]] = {
        'voc': ('.xml', partial(read_voc, index_of=index_of)),
        **dict.fromkeys(('yolo', 'labelimg'), ('.txt', partial(read_yolo, class_of=class_of))),
        'kaist': ('.txt', read_kaist),
    }
    suffix, read = kinds[kind]
    files = layouts.files_of(root, place, (suffix,))
    return BoxSource(root / place, classes, files, lambda name, size: read(files[name], size))


def _open_masks(root: Path, layout: Layout, split: str) -> tuple[dict[str, Path], tuple[str, ...]]:
    folder = root / layout.masks.replace('{split}', split)
    if not layout.masks or not folder.is_dir():
        return {}, ()
    names_path = root / 'mask_classes.txt'
    classes = layout.mask_classes or lines_of(names_path)
    if not classes:
        raise FusionError(f'{names_path} is missing: write the names of the mask values, 0 first')
    return list_files(folder, ('.png',)), classes


def _strata(root: Path, layout: Layout, names: Sequence[str]) -> dict[str, dict[str, str]]:
    strata = {name: {'source': layout.name} for name in names}
    if layout.day_night:
        light = {'D': 'day', 'N': 'night'}
        for name in names:
            if name[:-1].isdigit() and name[-1] in light:
                strata[name]['light'] = light[name[-1]]
    if (root / 'index.csv').is_file():
        for row in csv.DictReader(pair_files.read_text(root / 'index.csv').splitlines()):
            known = {'light': row.get('day_night'), 'source': row.get('source_repo')}
            if row.get('name') in strata:
                strata[row['name']] |= {key: value for key, value in known.items() if value}
    return strata
