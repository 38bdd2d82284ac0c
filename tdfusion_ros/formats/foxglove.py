"""
Detections as Foxglove draws them over an image: it does not draw vision_msgs.

As in :mod:`tdfusion_ros.formats.messages`, the message classes are arguments: no ROS is imported.
"""

from collections.abc import Callable
from collections.abc import Sequence
from functools import partial
from typing import Any

from tdfusion_ros.core import overlay
from tdfusion_ros.core.data import Detections
from tdfusion_ros.core.synchronizer import FramePair
from tdfusion_ros.formats.messages import MessageTypes

KIND = 'foxglove_msgs/msg/ImageAnnotations'
LINE_LOOP = 2  # of foxglove_msgs/PointsAnnotation
FONT_PX = 30.0  # of a font whose capitals are 21 px tall
LINE, LETTER = 1.2, 0.6  # height of a line and width of a letter, about, per size of the font
BLACK, WHITE = (0, 0, 0), (255, 255, 255)
Color = tuple[int, int, int]


def image_annotations(
    types: MessageTypes, head: Any, match: FramePair, found: Detections, classes: Sequence[str]
) -> Any:
    """
    Return a foxglove_msgs/ImageAnnotations that says what the overlay says, in its sizes.

    Its pixels begin at the outer corner of the first one, as those of our boxes do.
    """
    make = partial(_make, types, head)
    size_hw = match.reference.size_hw
    boxes, texts = [], []
    for box, score, class_id in zip(
        found.boxes_xyxy.tolist(),
        found.scores.tolist(),
        found.class_ids.tolist(),
        strict=True,
    ):
        color = overlay.color_of(class_id)
        boxes.append(_rectangle(make, box, color, overlay.line_px(size_hw)))
        label = overlay.label_of(classes[class_id], score)
        texts.append(_label(make, label, box, size_hw, color))
    if match.warning:
        band_px = size_hw[0] / 12
        texts.append(
            _text(make, match.warning, (0.0, band_px), 0.7 * band_px, (WHITE, overlay.WARNING))
        )
    return make('ImageAnnotations', circles=[], points=boxes, texts=texts)


def _rectangle(make: Callable, box_xyxy: list[float], color: Color, line_px: int) -> Any:
    left, top, right, bottom = box_xyxy
    corners = (left, top), (right, top), (right, bottom), (left, bottom)
    return make(
        'PointsAnnotation',
        type=LINE_LOOP,
        points=[make('Point2', x=x, y=y) for x, y in corners],
        outline_color=_color(make, color),
        outline_colors=[],
        fill_color=_color(make, color, 0.0),
        thickness=float(line_px),
    )


def _label(
    make: Callable, text: str, box_xyxy: list[float], size_hw: tuple[int, int], color: Color
) -> Any:
    """Return the text at a box: above it, or below where there is no room, within the image."""
    left, top, _, bottom = box_xyxy
    font_px = FONT_PX * overlay.text_scale(size_hw)
    x = max(0.0, min(left, size_hw[1] - LETTER * font_px * len(text)))
    y = top if top >= LINE * font_px else min(bottom + LINE * font_px, float(size_hw[0]))
    return _text(make, text, (x, y), font_px, (BLACK, color))


def _text(
    make: Callable,
    text: str,
    at_xy: tuple[float, float],
    font_px: float,
    colors: tuple[Color, Color],
) -> Any:
    return make(
        'TextAnnotation',
        position=make('Point2', x=at_xy[0], y=at_xy[1]),
        text=text,
        font_size=font_px,
        text_color=_color(make, colors[0]),
        background_color=_color(make, colors[1]),
    )


def _color(make: Callable, rgb: Color, alpha: float = 1.0) -> Any:
    r, g, b = (value / 255 for value in rgb)
    return make('Color', r=r, g=g, b=b, a=alpha)


def _make(types: MessageTypes, head: Any, name: str, **fields: Any) -> Any:
    """Return a message of foxglove_msgs; 3.2.5 gave most of them fields that were not there."""
    kind = types.get(f'foxglove_msgs/msg/{name}')
    ros = hasattr(kind, 'get_fields_and_field_types')
    known = kind.get_fields_and_field_types() if ros else kind.__dataclass_fields__
    both = {'timestamp': head.stamp, 'metadata': []}
    return kind(**fields, **{key: value for key, value in both.items() if key in known})
