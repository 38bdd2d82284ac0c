"""Draw for people: labeled boxes on the fused image, edges of ir on the rgb image."""

from collections.abc import Sequence
from colorsys import hsv_to_rgb
from math import isnan
from math import nan

import cv2
import numpy as np

from tdfusion_ros.core.contract import Contract
from tdfusion_ros.core.data import Detections
from tdfusion_ros.core.data import FusionResult

# Color-blind safe (Okabe and Ito): orange, sky blue, green, yellow, vermilion, purple.
COLORS = (
    *((230, 159, 0), (86, 180, 233), (0, 158, 115)),
    *((240, 228, 66), (213, 94, 0), (204, 121, 167)),
)
FONT = cv2.FONT_HERSHEY_SIMPLEX
WARNING = (180, 0, 0)
EDGES = (255, 220, 0)


def color_of(class_id: int, object_id: int = 0) -> tuple[int, int, int]:
    """Return the color of an object that has an id, else of a class, R, G, B."""
    if not object_id:
        return COLORS[class_id % len(COLORS)]
    # Hues that are the golden ratio apart: the hues of any few ids differ.
    red, green, blue = hsv_to_rgb(object_id * 0.618034 % 1, 0.6, 1.0)
    return round(255 * red), round(255 * green), round(255 * blue)


def label_of(name: str, score: float, *, object_id: int = 0, celsius: float = nan) -> str:
    """Return the text at a box; ``object_id`` 0: none; ``celsius`` NaN: not known."""
    number = f' #{object_id}' if object_id else ''
    return f'{name}{number} {score:.2f}' + ('' if isnan(celsius) else f' {celsius:.1f} C')


def line_px(size_hw: tuple[int, int]) -> int:
    """Return the thickness of lines in an image of this size [px]."""
    return max(1, round(min(size_hw) / 240))


def text_scale(size_hw: tuple[int, int]) -> float:
    """Return the OpenCV font scale for an image of this size; at 1, capitals are 21 px tall."""
    return max(0.35, min(size_hw) / 1200)


def tint(
    image: np.ndarray,
    segmentation: np.ndarray | None,
    classes: Sequence[str],
    mask_classes: Sequence[str],
) -> np.ndarray:
    """
    Return an image half in the colors of the classes of its pixels.

    :param segmentation: (H, W) uint8; class 0, the background, is not colored. None: no masks.
    :param classes: the classes of the boxes; a class of both has one color.
    """
    if segmentation is None:
        return image
    names = list(dict.fromkeys((*classes, *mask_classes[1:])))
    colors = np.array([(0, 0, 0), *map(color_of, range(255))], np.uint8)
    for value, name in enumerate(mask_classes[1:], 1):
        colors[value] = color_of(names.index(name))
    mixed = cv2.addWeighted(image, 0.5, colors[segmentation], 0.5, 0)
    return np.where(segmentation[..., None] > 0, mixed, image)


def draw(
    image: np.ndarray, found: Detections, classes: Sequence[str], warning: str = ''
) -> np.ndarray:
    """Return a copy of (H, W, 3) uint8 RGB with its detections and, if any, a warning on top."""
    canvas = image.copy()
    width, size = line_px(image.shape[:2]), text_scale(image.shape[:2])
    for (box, score, class_id, number), celsius in zip(found.rows(), found.highest_c, strict=True):
        color = color_of(class_id, number)
        left, top, right, bottom = (round(v) for v in box)
        cv2.rectangle(canvas, (left, top), (right, bottom), color, width)
        text = label_of(classes[class_id], score, object_id=number, celsius=celsius)
        (text_w, text_h), _ = cv2.getTextSize(text, FONT, size, 1)
        base = top - 3 if top > text_h + 6 else min(bottom + text_h + 4, image.shape[0] - 2)
        left = max(0, min(left, image.shape[1] - text_w - 2))
        cv2.rectangle(canvas, (left, base - text_h - 3), (left + text_w + 2, base + 3), color, -1)
        at = left + 1, base
        cv2.putText(canvas, text, at, FONT, size, (0, 0, 0), 1, cv2.LINE_AA)
    if warning:
        _write_banner(canvas, warning)
    return canvas


def draw_result(result: FusionResult, contract: Contract, warning: str) -> np.ndarray:
    """Return the image of a result with its masks and, as ``draw``, detections and warning."""
    masks, classes = result.segmentation, contract.classes
    tinted = tint(result.image, masks, classes, contract.mask_classes)
    return draw(tinted, result.detections, classes, warning)


def draw_edges(gray: np.ndarray, ir: np.ndarray, coverage: np.ndarray) -> np.ndarray:
    """
    Return the rgb image in gray with the edges of ir in yellow, to check a calibration.

    :param gray: (H, W) uint8; ``ir`` (H, W) float32; dark where ``coverage`` is 0.
    :returns: (H, W, 3) uint8, order R, G, B.
    """
    width, valid = gray.shape[1], coverage > 0
    low, high = np.percentile(ir[valid], (1, 99)) if valid.any() else (0.0, 1.0)
    levels = ((ir - low) / max(high - low, 1e-6) * 255).clip(0, 255).astype(np.uint8)
    levels = cv2.GaussianBlur(levels, (0, 0), 1.2 * max(1.0, width / 640))
    edges = cv2.Canny(levels, 40, 90, L2gradient=True) > 0
    edges &= cv2.erode(valid.astype(np.uint8), np.ones((7, 7)), borderValue=0) > 0
    if width > 1000:
        edges = cv2.dilate(edges.astype(np.uint8), np.ones((2, 2))) > 0
    canvas = cv2.cvtColor(gray, cv2.COLOR_GRAY2RGB)
    canvas[~valid] = canvas[~valid] // 3
    canvas[edges] = EDGES
    return canvas


def _write_banner(canvas: np.ndarray, text: str) -> None:
    """Write a text on a band at the top, as large as band and image allow."""
    height = max(12, canvas.shape[0] // 12)
    (width, tall), _ = cv2.getTextSize(text, FONT, 1.0, 2)
    size = min(0.7 * height / tall, 0.95 * canvas.shape[1] / width)
    canvas[:height] = WARNING
    at = round((canvas.shape[1] - size * width) / 2), round((height + size * tall) / 2)
    thickness = max(1, round(2 * size))
    cv2.putText(canvas, text, at, FONT, size, (255, 255, 255), thickness, cv2.LINE_AA)
