"""Read registered pairs with boxes from disk into memory."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from tdfusion_ros.core.errors import FusionError

CLASSES = ('person', 'bicycle', 'car')


@dataclass(frozen=True)
class Sample:
    """One registered pair and its boxes; images stay 8-bit so that a whole set fits in memory."""

    name: str
    rgb: np.ndarray
    """(H, W, 3) uint8, channel order R, G, B."""
    ir: np.ndarray
    """(H, W) uint8, white hot, on the grid of ``rgb``."""
    boxes_xyxy: np.ndarray
    """(N, 4) float32 in pixels."""
    class_ids: np.ndarray
    """(N,) int64, index into ``CLASSES``."""


def split_names(root: str | Path, split: str) -> list[str]:
    """Return the names of a split, in the order of its file."""
    path = Path(root) / 'splits' / f'{split}.txt'
    if not path.is_file():
        raise FusionError(f'{path} is missing: data=FOLDER must point to msrs_det')
    return path.read_text(encoding='utf-8').split()


def read_yolo_boxes(path: Path, width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
    """
    Read a YOLO label file (class cx cy w h, normalised by width and height).

    :returns: boxes_xyxy (N, 4) float32 in pixels and class_ids (N,) int64; an empty file is an
        image without objects.
    """
    rows = [line.split() for line in path.read_text(encoding='utf-8').splitlines() if line.strip()]
    values = np.array(rows, dtype=np.float64).reshape(-1, 5)
    center, size = values[:, 1:3], values[:, 3:5]
    boxes = np.concatenate((center - size / 2, center + size / 2), 1)
    boxes = boxes * np.array([width, height, width, height])
    return boxes.astype(np.float32), values[:, 0].astype(np.int64)


def read_sample(root: str | Path, name: str, labels: str = 'fusion') -> Sample:
    """Read one pair of the msrs_det layout with the box set ``labels``."""
    root = Path(root)
    ir = cv2.imread(str(root / 'ir' / f'{name}.png'), cv2.IMREAD_GRAYSCALE)
    bgr = cv2.imread(str(root / 'vi' / f'{name}.webp'), cv2.IMREAD_COLOR)
    if ir is None or bgr is None:
        raise FusionError(f'cannot read pair {name!r} below {root}')
    if ir.shape != bgr.shape[:2]:
        raise FusionError(f'pair {name!r}: ir is {ir.shape}, rgb is {bgr.shape[:2]}')
    height, width = ir.shape
    boxes, class_ids = read_yolo_boxes(root / 'boxes' / labels / f'{name}.txt', width, height)
    return Sample(name, cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), ir, boxes, class_ids)


def load_samples(root: str | Path, split: str, limit: int = 0) -> list[Sample]:
    """Read a whole split into memory (1.2 MB a pair of 640x480); ``limit`` 0 means all."""
    names = split_names(root, split)
    return [read_sample(root, name) for name in (names[:limit] if limit else names)]
