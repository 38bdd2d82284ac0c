"""Make the contact sheet: a few moments of the bag as small JPEG images."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from tdfusion_ros.core.config import IrConfig
from tdfusion_ros.core.data import Detections
from tdfusion_ros.core.errors import FusionError
from tdfusion_ros.core.overlay import draw
from tdfusion_ros.core.overlay import tint
from tdfusion_ros.core.rgb_image import rgb_image
from tdfusion_ros.core.thermal import ThermalScaler
from tdfusion_ros.formats.image_files import encode_jpeg
from tdfusion_ros.formats.messages import object_id
from tdfusion_ros.formats.messages import results_by_name
from tdfusion_ros.formats.messages import stamp_ns
from tdfusion_ros.formats.messages import temperatures_of
from tdfusion_ros.formats.messages import to_frame
from tdfusion_ros.tools.view.recording import best_hypothesis
from tdfusion_ros.tools.view.recording import Recording

MAX_SIDE_PX = 480
MAX_JPEG_BYTES = 90_000  # 24 moments of three images stay below 9 MB in base64
QUALITIES = (85, 70, 50, 30, 10)


@dataclass(frozen=True)
class Moment:
    """
    One row of the contact sheet.

    :param thumbnails: rgb, ir, fused: each a ``data:`` URI, or why there is no image.
    :param skew_ms: ir minus rgb, None without an ir image; ``detections``: None if not recorded.
    """

    stamp_ns: int
    thumbnails: tuple[str, str, str]
    skew_ms: float | None
    detections: int | None


def choose_moments(result: Recording, source: Recording, count: int) -> list[Moment]:
    """Return moments spread evenly over the results, or over the images without results."""
    for bag, role in ((result, 'fused'), (result, 'detections'), (source, 'rgb'), (source, 'ir')):
        if stamps := list(dict.fromkeys(bag.times(role).stamps_ns)):
            chosen = np.linspace(0, len(stamps) - 1, min(count, len(stamps))).round().astype(int)
            return [_moment(result, source, stamps[index]) for index in chosen]
    return []


def _moment(result: Recording, source: Recording, stamp: int) -> Moment:
    ir_stamps, skew_ms = source.times('ir').stamps_ns, None
    if ir_stamps or not result.times('registered').stamps_ns:
        nearest = min(ir_stamps, key=lambda other: abs(other - stamp), default=stamp)
        skew_ms = (nearest - stamp) / 1e6 if ir_stamps else None
        ir = _thumbnail(source, 'ir', nearest)
    else:
        ir = _thumbnail(result, 'registered', stamp)
    try:
        array = result.message('temperatures', stamp) or result.message('detections', stamp)
    except FusionError:
        array = None
    if result.times('overlay').stamps_ns and not result.times('fused').stamps_ns:
        fused = _thumbnail(result, 'overlay', stamp)  # has its boxes already
    else:
        fused = _thumbnail(result, 'fused', stamp, array)
    count = None if array is None else len(array.detections)
    return Moment(stamp, (_thumbnail(source, 'rgb', stamp), ir, fused), skew_ms, count)


def _thumbnail(bag: Recording, role: str, stamp: int, detections: Any = None) -> str:
    """Return the image of a role with this stamp as a ``data:`` URI, or why there is none."""
    name = {'registered': 'registered ir', 'overlay': 'fused'}.get(role, role)
    if not bag.times(role).stamps_ns:
        return f'no {name} images recorded'
    try:
        message = bag.message(role, stamp)
        if message is None:
            return f'no {name} image at this moment'
        pixels = picture(bag, role, message)
    except FusionError as error:
        return f'cannot be read: {error}'
    height, width = pixels.shape[:2]
    scale = min(1.0, MAX_SIDE_PX / max(height, width))
    size_wh = max(1, round(width * scale)), max(1, round(height * scale))
    image = cv2.resize(np.ascontiguousarray(pixels), size_wh, interpolation=cv2.INTER_AREA)
    if detections is not None:
        image = draw_boxes(image, detections, bag.class_names, size_wh[0] / width)
    return jpeg_uri(image)


def picture(bag: Recording, role: str, message: Any) -> np.ndarray:
    """Return an image of a role in 8 bits, (H, W[, 3]), with masks, or raise FusionError."""
    pixels = to_frame(message).pixels
    if role in ('ir', 'registered') and pixels.ndim == 2:
        return cv2.convertScaleAbs(ThermalScaler(IrConfig()).scale(pixels), alpha=255)
    pixels = rgb_image(pixels)
    masks = bag.message('segmentation', stamp_ns(message.header)) if role == 'fused' else None
    if masks is not None:
        values = to_frame(masks).pixels
        fits = values.shape == pixels.shape[:2] and values.dtype == np.uint8
        pixels = tint(pixels, values if fits else None, bag.class_names, bag.mask_labels)
    return pixels


def draw_boxes(image: np.ndarray, array: Any, names: Sequence[str], scale: float) -> np.ndarray:
    """
    Return a copy of a small image with its boxes, labels, ids, scores and temperatures.

    :param image: (H, W, 3) or (H, W) uint8.
    :param array: a vision_msgs/Detection2DArray; boxes that are not finite are skipped.
    :param names: class names in the order of their colors.
    :param scale: width of this image divided by that of the fused image.
    """
    canvas = cv2.cvtColor(image, cv2.COLOR_GRAY2RGB) if image.ndim == 2 else image
    limit, known = 2.0 * max(image.shape[:2]), list(names)
    boxes, scores, classes, ids, measured = [], [], [], [], []
    for detection in array.detections:
        center, box = detection.bbox.center.position, detection.bbox
        x, y, w, h = scale * np.array((center.x, center.y, box.size_x, box.size_y), np.float64)
        corners = np.array((x - w / 2, y - h / 2, x + w / 2, y + h / 2))
        if not detection.results or not np.isfinite(corners).all():
            continue
        best = best_hypothesis(detection)
        known += [best.class_id] * (best.class_id not in known)
        boxes.append(np.clip(corners, -limit, limit))
        scores.append(best.score)
        classes.append(known.index(best.class_id))
        measured.append(results_by_name(detection))
        ids.append(object_id(detection))
    found = Detections(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(scores, np.float32),
        np.array(classes, np.int64),
        temperatures=temperatures_of(measured),
        ids=np.array(ids, np.int64),
    )
    return draw(canvas, found, known)


def jpeg_uri(image: np.ndarray) -> str:
    """Return (H, W) or (H, W, 3) uint8 RGB as a ``data:`` URI of MAX_JPEG_BYTES at most."""
    for quality in QUALITIES:
        data = encode_jpeg(image, quality)
        if len(data) <= MAX_JPEG_BYTES:
            break
    return 'data:image/jpeg;base64,' + base64.b64encode(data.tobytes()).decode('ascii')
