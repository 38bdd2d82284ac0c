"""
Detections as Foxglove draws them over an image: it cannot draw vision_msgs.

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
# Approximate height of a line and width of a letter, relative to the font size.
LINE, LETTER = 1.2, 0.6
BLACK, WHITE = (0, 0, 0), (255, 255, 255)
Color = tuple[int, int, int]


def image_annotations(
    types: MessageTypes, head: Any, pair: FramePair, found: Detections, classes: Sequence[str]
) -> Any:
    """Return an ImageAnnotations as the overlay; coordinates as of boxes, from pixel corners."""
    make = partial(_make, types, head)

    def text(text: str, at_xy: tuple[float, float], px: float, colors: tuple[Color, Color]) -> Any:
        front, back = (_color(make, color) for color in colors)
        at = {'position': make('Point2', x=at_xy[0], y=at_xy[1]), 'font_size': px}
        return make('TextAnnotation', text=text, text_color=front, background_color=back, **at)

    height, width = pair.reference.size_hw
    font_px = FONT_PX * overlay.text_scale((height, width))
    line_px = float(overlay.line_px((height, width)))
    boxes, texts = [], []
    for (box, score, class_id, number), celsius in zip(found.rows(), found.highest_c, strict=True):
        left, top, right, bottom = box
        color = overlay.color_of(class_id, number)
        corners = (left, top), (right, top), (right, bottom), (left, bottom)
        line = {'outline_color': _color(make, color), 'outline_colors': []}
        line |= {'fill_color': _color(make, color, 0.0), 'thickness': line_px}
        points = [make('Point2', x=x, y=y) for x, y in corners]
        boxes.append(make('PointsAnnotation', type=LINE_LOOP, points=points, **line))
        label = overlay.label_of(classes[class_id], score, object_id=number, celsius=celsius)
        # Above the box, or below it if there is no room; inside the image.
        x = max(0.0, min(left, width - LETTER * font_px * len(label)))
        y = top if top >= LINE * font_px else min(bottom + LINE * font_px, float(height))
        texts.append(text(label, (x, y), font_px, (BLACK, color)))
    if pair.warning:
        band_px = height / 12
        colors = WHITE, overlay.WARNING
        texts.append(text(pair.warning, (0.0, band_px), 0.7 * band_px, colors))
    return make('ImageAnnotations', circles=[], points=boxes, texts=texts)


def _color(make: Callable, rgb: Color, alpha: float = 1.0) -> Any:
    r, g, b = (value / 255 for value in rgb)
    return make('Color', r=r, g=g, b=b, a=alpha)


def _make(types: MessageTypes, head: Any, name: str, **fields: Any) -> Any:
    """Return a message of foxglove_msgs; from 3.2.5 on most of them have two more fields."""
    kind = types.get(f'foxglove_msgs/msg/{name}')
    ros = hasattr(kind, 'get_fields_and_field_types')
    known = kind.get_fields_and_field_types() if ros else kind.__dataclass_fields__
    newer = {'timestamp': head.stamp, 'metadata': []}
    return kind(**fields, **{key: value for key, value in newer.items() if key in known})
