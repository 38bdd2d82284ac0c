"""Several data sets in one training: a YAML file lists them with their sampling shares."""

from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field
from dataclasses import fields
from dataclasses import replace
from pathlib import Path
from typing import Any
from typing import overload

import numpy as np

from tdfusion_ros.core.errors import FusionError
from tdfusion_ros.formats.plain_yaml import read_yaml
from tdfusion_ros.formats.read_errors import reading
from training.data.augmentation import crop_resize
from training.data.boxes import BoxSource
from training.data.boxes import IGNORED
from training.data.classes import correspondence
from training.data.classes import LEFT_OUT
from training.data.classes import with_classes
from training.data.datasets import DataSet
from training.data.datasets import open_dataset
from training.data.datasets import Sample
from training.data.layouts import one_camera
from training.data.pair_files import read_text

SUFFIXES = ('.yaml', '.yml')
IGNORE = 'ignore'
"""For an object of uncertain class: a region to ignore."""
BACKGROUND = 'background'
"""For an object that is none of the classes."""
CYCLE = 100
"""Number of draws in which every data set gets its share."""


@dataclass(frozen=True)
class Entry:
    """One data set of a mixture, as its file states it."""

    data: str
    """Folder, relative to the file."""
    split: str = 'all'
    """Name of its split."""
    share: float = 1.0
    """Share of the crops, relative to the other sets."""
    only: str = ''
    """``rgb`` or ``ir`` if it has images of one camera; the other image is black."""
    names: Mapping[str, str] = field(default_factory=dict)
    """For its classes that do not correspond by name: a class, ``ignore`` or ``background``."""
    size_hw: tuple[int, int] | None = None
    """Size to which its images are resized, if they were squeezed or are too small or large."""


@dataclass(frozen=True)
class Part(Sequence[Sample]):
    """A data set with the classes of the mixture."""

    name: str
    data: DataSet
    entry: Entry
    class_of: np.ndarray
    """Class of each class of the data set; ``IGNORED`` or ``LEFT_OUT``."""
    labeled: np.ndarray
    """(C,) bool: classes of the mixture that it labels."""

    def __len__(self) -> int:
        return len(self.data)

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> 'Part': ...
    def __getitem__(self, index: int | slice) -> 'Sample | Part':
        if isinstance(index, slice):
            return replace(self, data=self.data[index])
        sample = self.data[index]
        if self.entry.size_hw:
            height, width = sample.ir.shape
            sample = crop_resize(sample, (0, 0, width, height), self.entry.size_hw)
        return with_classes(
            sample,
            self.class_of,
            name=f'{self.name}/{sample.name}',
            labeled=None if self.labeled.all() else self.labeled,
            strata={**sample.strata, 'source': self.name},
        )


@dataclass(frozen=True)
class Mixture(Sequence[Sample]):
    """A split of several data sets, one after the other."""

    classes: tuple[str, ...]
    parts: tuple[Part, ...]
    loaded: tuple[Sample, ...] = ()
    """All samples, if they are kept in memory."""

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> 'Mixture': ...
    def __getitem__(self, index: int | slice) -> 'Sample | Mixture':
        if isinstance(index, slice):
            return replace(self, parts=tuple(part[index] for part in self.parts), loaded=())
        if self.loaded:
            return self.loaded[index]
        for indices, part in zip(self.ranges, self.parts, strict=True):
            if index in indices:
                return part[index - indices.start]
        raise IndexError(index)

    @property
    def ranges(self) -> tuple[range, ...]:
        """The indices of each part."""
        ends = np.cumsum([len(part) for part in self.parts]).tolist()
        return tuple(map(range, [0, *ends], ends))

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the pairs, each after the name of its data set."""
        return tuple(f'{part.name}/{name}' for part in self.parts for name in part.data.names)

    @property
    def boxes(self) -> BoxSource | None:
        """The boxes of the first data set that has some."""
        return next((part.data.boxes for part in self.parts if part.data.boxes), None)

    @property
    def mask_classes(self) -> tuple[str, ...]:
        """The names of the mask values of all data sets that have masks, or raise FusionError."""
        known = {part.data.mask_classes for part in self.parts} - {()}
        if len(known) > 1:
            raise FusionError(f'the masks of the data sets have different classes: {known}')
        return next(iter(known), ())

    @property
    def remarks(self) -> tuple[str, ...]:
        """As in ``DataSet``, of all parts."""
        return tuple(remark for part in self.parts for remark in part.data.remarks)

    def check(self) -> list[str]:
        """Check all files of all parts; as in ``DataSet``."""
        return [remark for part in self.parts for remark in part.data.check()]


Data = DataSet | Mixture
"""What a run trains on, or is measured on."""


def is_mixture(root: str | Path) -> bool:
    """Return whether a path names the file of a mixture, not the folder of a data set."""
    return Path(root).suffix.lower() in SUFFIXES


def open_data(root: str | Path, split: str, needed: str = '') -> Data:
    """
    Return the split of a data set or of a mixture; as ``open_dataset``.

    :param needed: ``boxes`` or ``masks``: a FusionError if the data have none.
    """
    data = open_mixture(Path(root), split) if is_mixture(root) else open_dataset(root, split)
    if (needed == 'boxes' and not data.boxes) or (needed == 'masks' and not data.mask_classes):
        places = next((remark for remark in data.remarks if f'no {needed}' in remark), '')
        found = places or f'{root} has no {needed}'
        raise FusionError(f'{found}; they are needed: add them, or choose data with {needed}')
    return data


def open_mixture(path: Path, split: str) -> Mixture:
    """
    Return a split of a mixture.

    :param path: a YAML file: ``classes``, then under the name of each split a list of entries.
    :raises FusionError: if the file or one of its data sets cannot be used.
    """
    content = _content(path)
    classes = content['classes']
    entries = content.get(split)
    if not isinstance(entries, list) or not entries:
        splits = ', '.join(name for name in content if name != 'classes')
        raise FusionError(f'{path} has no list of data sets {split!r}; it has {splits}')
    parts = tuple(_open_part(path, _entry(path, values), classes) for values in entries)
    names, total = [part.name for part in parts], sum(part.entry.share for part in parts)
    if small := next((part.name for part in parts if part.entry.share * CYCLE < total), ''):
        raise FusionError(f'{path}: the share of {small} is below one percent of all: raise it')
    if twice := next((name for name in names if names.count(name) > 1), ''):
        raise FusionError(f'{path}: {split} has two folders {twice}: rename one of them')
    return Mixture(tuple(classes), parts)


def _content(path: Path) -> dict[str, Any]:
    with reading(FusionError, f'{path} is not valid YAML'):
        content = read_yaml(read_text(path))
    classes = content.get('classes') if isinstance(content, dict) else None
    named = isinstance(classes, list) and all(isinstance(name, str) for name in classes)
    if not named or not classes:
        raise FusionError(
            f'{path} must have "classes: [NAME, ...]", the classes to learn; in place of the '
            'data.yaml of a data set name its folder'
        )
    return content


def _entry(path: Path, values: Any) -> Entry:
    known = [each.name for each in fields(Entry)]
    if not isinstance(values, dict) or 'data' not in values or set(values) - set(known):
        raise FusionError(f'{path}: {values!r} must have data and may have {", ".join(known[1:])}')
    entry = Entry(**values)
    if not isinstance(entry.share, int | float) or not entry.share > 0:
        raise FusionError(f'{path}: share of {entry.data} must be above 0, got {entry.share!r}')
    if entry.only not in ('', 'rgb', 'ir'):
        raise FusionError(f'{path}: only of {entry.data} must be rgb or ir, got {entry.only!r}')
    return entry


def _open_part(path: Path, entry: Entry, classes: Sequence[str]) -> Part:
    root = (path.parent / entry.data).resolve()
    layout = one_camera(root, entry.only) if entry.only else None
    data = open_dataset(root, entry.split, layout)
    # Without boxes it labels no class, but its pictures still train a fusion network.
    indices = _class_of(path, entry, data.classes if data.boxes else (), classes)
    return Part(root.name, data, entry, indices, np.isin(np.arange(len(classes)), indices))


def _class_of(
    path: Path, entry: Entry, known: Sequence[str], classes: Sequence[str]
) -> np.ndarray:
    """Return the class of the mixture for each class of a data set, (K,) int64."""
    if wrong := next((name for name in entry.names if name not in known), ''):
        raise FusionError(f'{path}: {entry.data} has no class {wrong!r}: correct its names')
    given = {old: new for new, olds in enumerate(correspondence(known, classes)) for old in olds}
    stated = {name: i for i, name in enumerate(classes)} | {IGNORE: IGNORED, BACKGROUND: LEFT_OUT}
    class_of = []
    for old, name in enumerate(known):
        new = stated.get(entry.names[name]) if name in entry.names else given.get(old)
        if new is None:
            raise FusionError(
                f'{path}: {entry.data} has the class {name!r}, which is none of '
                f'{", ".join(classes)}: add "names: {{{name}: CLASS}}", where CLASS may also be '
                f'{IGNORE} or {BACKGROUND}'
            )
        class_of.append(new)
    return np.array(class_of, np.int64)
