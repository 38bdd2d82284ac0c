"""The contact sheet: a few moments of the whole bag, as small JPEGs."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from tdfusion_ros.core.config import IrConfig
from tdfusion_ros.core.errors import FusionError
from tdfusion_ros.core.overlay import COLORS
from tdfusion_ros.core.thermal import ThermalScaler
from tdfusion_ros.formats.bags import BagReader
from tdfusion_ros.formats.messages import stamp_ns
from tdfusion_ros.formats.messages import to_frame
from tdfusion_ros.tools.view import facts
from tdfusion_ros.tools.view.recording import best
from tdfusion_ros.tools.view.recording import Recording

SIDE_PX = 480
MOST_BYTES = 90_000  # of one JPEG; 24 moments of three stay below 9 MB in base64
QUALITIES = (85, 70, 50, 30, 10)


@dataclass(frozen=True)
class Picture:
    """A picture as a ``data:`` URI, or why there is none."""

    uri: str = ''
    missing: str = ''


@dataclass(frozen=True)
class Moment:
    """
    One row of the contact sheet.

    :param stamp_ns: of the result, or of the rgb or ir image where there is no result.
    :param skew_ms: ir minus rgb, None where there is no ir image.
    :param detections: how many, None where none were recorded for this image.
    """

    stamp_ns: int
    rgb: Picture
    ir: Picture
    fused: Picture
    skew_ms: float | None
    detections: int | None


@dataclass(frozen=True)
class Source:
    """A bag and what one pass through it found."""

    reader: BagReader
    recording: Recording

    def message(self, role: str, stamp: int) -> Any:
        """Return the message of a role with this stamp, None where there is none."""
        track, topic = self.recording.track(role), getattr(self.recording.roles, role)
        if stamp not in track.stamps_ns:
            return None
        time_ns = track.times_ns[track.stamps_ns.index(stamp)]
        for _, _, message in self.reader.messages(topic, at_ns=time_ns):
            if stamp_ns(message.header) == stamp:
                return message
        return None


def moments(result: Source, inputs: Source, most: int) -> list[Moment]:
    """
    Return moments evenly spread over the results, or over the images where there are none.

    :param result: the bag with the results.
    :param inputs: the bag with the cameras' images; may be the same.
    """
    recording = inputs.recording
    for track in (
        facts.results(result.recording),
        recording.track('rgb'),
        recording.track('ir'),
    ):
        if track.stamps_ns:
            its = list(dict.fromkeys(track.stamps_ns))
            chosen = np.linspace(0, len(its) - 1, min(most, len(its))).round().astype(int)
            return [_moment(result, inputs, its[i]) for i in chosen]
    return []


def _moment(result: Source, inputs: Source, stamp: int) -> Moment:
    ir_stamps, skew_ms = inputs.recording.track('ir').stamps_ns, None
    ir = Picture(missing='no ir images recorded')
    if ir_stamps:
        nearest = min(ir_stamps, key=lambda other: abs(other - stamp))
        skew_ms = (nearest - stamp) / 1e6
        ir = _picture(lambda: _gray(inputs.message('ir', nearest)), '')
    elif result.recording.track('registered').stamps_ns:
        ir = _picture(
            lambda: _gray(result.message('registered', stamp)), 'no registered ir at this moment'
        )
    found = _try(lambda: result.message('detections', stamp))
    return Moment(
        stamp_ns=stamp,
        rgb=_picture(
            lambda: _pixels(inputs.message('rgb', stamp)),
            _why(inputs, 'rgb', 'rgb'),
        ),
        ir=ir,
        fused=_fused(result, stamp, found),
        skew_ms=skew_ms,
        detections=None if found is None else len(found.detections),
    )


def _why(source: Source, role: str, name: str) -> str:
    """Return what to say where a picture is missing."""
    if source.recording.track(role).stamps_ns:
        return f'no {name} image at this moment'
    return f'no {name} images recorded'


def _fused(result: Source, stamp: int, found: Any) -> Picture:
    """Return the fused image with boxes, the overlay where only that was recorded."""
    if (
        not result.recording.track('fused').stamps_ns
        and result.recording.track('overlay').stamps_ns
    ):
        return _picture(
            lambda: _pixels(result.message('overlay', stamp)), _why(result, 'overlay', 'fused')
        )

    def drawn() -> np.ndarray | None:
        pixels = _pixels(result.message('fused', stamp))
        if pixels is None or found is None:
            return pixels
        little = small(pixels)
        return boxed(
            little, found, facts.names(result.recording), little.shape[1] / pixels.shape[1]
        )

    return _picture(drawn, _why(result, 'fused', 'fused'))


def _picture(make: Any, missing: str) -> Picture:
    try:
        pixels = make()
    except FusionError as error:
        return Picture(missing=f'cannot be read: {error}')
    return Picture(missing=missing) if pixels is None else Picture(uri=uri(pixels))


def _try(make: Any) -> Any:
    try:
        return make()
    except FusionError:
        return None


def _pixels(message: Any) -> np.ndarray | None:
    return None if message is None else to_frame(message).pixels


def _gray(message: Any) -> np.ndarray | None:
    pixels = _pixels(message)
    return pixels if pixels is None or pixels.ndim == 3 else _gray_of(pixels)


def _gray_of(pixels: np.ndarray) -> np.ndarray:
    """Return a thermal image in 8 bits, as the node scales it by default."""
    return cv2.convertScaleAbs(ThermalScaler(IrConfig()).scale(pixels), alpha=255)


def small(pixels: np.ndarray) -> np.ndarray:
    """Return an image at no more than SIDE_PX on either side."""
    height, width = pixels.shape[:2]
    shrink = min(1.0, SIDE_PX / max(height, width))
    size_wh = max(1, round(width * shrink)), max(1, round(height * shrink))
    return cv2.resize(np.ascontiguousarray(pixels), size_wh, interpolation=cv2.INTER_AREA)


def boxed(pixels: np.ndarray, found: Any, names: Sequence[str], scale: float) -> np.ndarray:
    """
    Return a copy with the boxes drawn in, without words: the picture is too small for them.

    :param pixels: (H, W, 3) or (H, W) uint8.
    :param found: a vision_msgs/Detection2DArray; boxes that are no numbers are left out.
    :param names: of the classes, in the order of their colors.
    :param scale: pixels of this image for one of the fused image.
    """
    canvas = cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB) if pixels.ndim == 2 else pixels.copy()
    limit = 2.0 * max(pixels.shape[:2])
    for detection in found.detections:
        box = detection.bbox
        x, y, w, h = (
            v * scale
            for v in (box.center.position.x, box.center.position.y, box.size_x, box.size_y)
        )
        corners = np.array((x - w / 2, y - h / 2, x + w / 2, y + h / 2))
        if not detection.results or not np.isfinite(corners).all():
            continue
        name = best(detection).class_id
        color = COLORS[(names.index(name) if name in names else len(names)) % len(COLORS)]
        left, top, right, bottom = np.clip(corners, -limit, limit).round().astype(int).tolist()
        cv2.rectangle(canvas, (left, top), (right, bottom), color, 2)
    return canvas


def uri(pixels: np.ndarray) -> str:
    """
    Return an image as the ``data:`` URI of a small JPEG of about MOST_BYTES at most.

    :param pixels: (H, W) or (H, W, 3) uint8, order R, G, B.
    """
    little = small(pixels)
    if little.ndim == 3:
        little = cv2.cvtColor(little, cv2.COLOR_RGB2BGR)
    for quality in QUALITIES:
        _, data = cv2.imencode('.jpg', little, [cv2.IMWRITE_JPEG_QUALITY, quality])
        if len(data) <= MOST_BYTES:
            break
    return 'data:image/jpeg;base64,' + base64.b64encode(data.tobytes()).decode('ascii')
