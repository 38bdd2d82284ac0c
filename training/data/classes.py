"""Names of classes in different data sets and detectors, and how they correspond."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tdfusion_ros.core.errors import FusionError
from training.data.boxes import IGNORED
from training.data.datasets import Sample
from training.data.layouts import MSRS_DET

LEFT_OUT = -2
"""Class of an object that is none of the classes: background."""
WIDER = {'car': ('bus', 'truck', 'van')}
"""Classes that belong to another one if a class list does not name them."""
OTHER_NAMES = {
    'people': 'person',
    'pedestrian': 'person',
    'bike': 'bicycle',
    'moto': 'motorcycle',
    'motorbike': 'motorcycle',
    'trunk': 'truck',  # in copies of M3FD
    'vehicle': 'car',
}
"""Names that data sets use for classes of COCO."""


def correspondence(known: Sequence[str], classes: Sequence[str]) -> list[list[int]]:
    """Return the indices in ``known`` of what counts as each class: a bus as car, unless named."""
    lowered = ([name.lower() for name in list_] for list_ in (known, classes))
    names, wanted = ([OTHER_NAMES.get(name, name) for name in list_] for list_ in lowered)
    kinds = [[name, *(w for w in WIDER.get(name, ()) if w not in wanted)] for name in wanted]
    return [[i for i, name in enumerate(names) if name in kind] for kind in kinds]


def common_classes(*lists: Sequence[str]) -> tuple[str, ...]:
    """
    Return the classes in which a data set and detectors, in this order, can be compared.

    These are the classes of the data set if all know them, else the shipped detector's classes
    that all know, else the data set's.

    :raises FusionError: if no class is common.
    """
    first = tuple(lists[0])

    def known(names: Sequence[str]) -> tuple[str, ...]:
        found = [correspondence(each, names) for each in lists]
        return tuple(name for i, name in enumerate(names) if all(kinds[i] for kinds in found))

    common = known(first)
    if common != first:
        common = known(MSRS_DET.classes) or common
    if not common:
        every = '; '.join(', '.join(names) for names in lists)
        raise FusionError(f'no class is common to {every}: use other data or another detector')
    return common


def with_classes(sample: Sample, class_of: np.ndarray, **changes: Any) -> Sample:
    """
    Return a sample with other classes, and other changes.

    :param class_of: the new class of each old one, (C,) int64; boxes of ``LEFT_OUT`` vanish.
    """
    ids = np.append(class_of, IGNORED)[sample.class_ids]  # -1 stays what it is
    kept = ids != LEFT_OUT
    boxes = sample.boxes_xyxy[kept]
    return replace(sample, boxes_xyxy=boxes, class_ids=ids[kept], **changes)
