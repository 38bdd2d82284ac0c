"""
Temperatures of detections: by name, as in JSON, and as vision_msgs/Detection2DArray.

In a message, the first result of a detection is its class, and the others are what was measured,
with the name as class_id and the value as score. As in :mod:`tdfusion_ros.formats.messages`, the
message classes are arguments: no ROS is imported.
"""

from collections.abc import Mapping
from collections.abc import Sequence
from math import isfinite
from math import nan
from typing import Any

import numpy as np

from tdfusion_ros.core.data import Temperatures
from tdfusion_ros.formats.messages import hypothesis
from tdfusion_ros.formats.messages import MessageTypes

NAMES = [f'{unit}_{which}' for unit in ('count', 'kelvin') for which in ('min', 'median', 'max')]


def by_name(measured: Temperatures) -> list[dict[str, float]]:
    """Return what is known of each detection, such as ``{'count_min': 7312.0, …}``."""
    rows = np.hstack((measured.counts, measured.kelvin)).round(3).tolist()
    return [{n: v for n, v in zip(NAMES, row, strict=True) if isfinite(v)} for row in rows]


def from_names(rows: Sequence[Mapping[str, float]]) -> Temperatures:
    """Return the temperatures of rows that may have NAMES."""
    found = np.array([[row.get(name, nan) for name in NAMES] for row in rows], np.float64)
    found = found.reshape(-1, len(NAMES))
    return Temperatures(found[:, :3], found[:, 3:])


def temperature_array(types: MessageTypes, boxes: Any, measured: Temperatures) -> Any:
    """Return a Detection2DArray of the same detections (``boxes``) and what was measured."""
    detections = []
    for one, row in zip(boxes.detections, by_name(measured), strict=True):
        results = [*one.results, *(hypothesis(types, *item) for item in row.items())]
        fields = {'header': one.header, 'id': one.id, 'bbox': one.bbox, 'results': results}
        detections.append(types.make('vision_msgs/msg/Detection2D', **fields))
    kind = 'vision_msgs/msg/Detection2DArray'
    return types.make(kind, header=boxes.header, detections=detections)


def values_of(detection: Any) -> dict[str, float]:
    """Return the results of a vision_msgs/Detection2D by name: its class and what was measured."""
    return {one.hypothesis.class_id: one.hypothesis.score for one in detection.results}
