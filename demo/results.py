"""What came back from the node, against what was possible: a report and a picture."""

from bisect import bisect_left
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from demo.player import drops
from tdfusion_ros.core.config import SyncConfig
from tdfusion_ros.core.data import Detections
from tdfusion_ros.core.overlay import draw
from tdfusion_ros.formats.bags import BagReader
from tdfusion_ros.formats.messages import stamp_ns
from tdfusion_ros.formats.messages import to_frame

ROWS = 7
CELL_WH = (480, 360)


def make_report(bag: Path, result: Path, status: dict[str, str]) -> dict[str, Any]:
    """
    Compare the recorded result with the bag that was played.

    :param status: the node's last diagnostics.
    """
    skews_ms = best_skews_ms(bag)
    with BagReader(result) as reader:
        published = reader.count('/fused/image_raw')
        detections = reader.count('/detections')
    return {
        'pairs_possible': len(skews_ms),
        'pairs_published': min(published, detections),
        'skew_ms_mean': round(float(status.get('abs_skew_ms_mean', 'nan')), 3),
        'skew_ms_best': round(float(np.mean(skews_ms)), 3),
        'latency_ms_p50': round(float(status.get('latency_ms_p50', 'nan')), 2),
        'latency_ms_p95': round(float(status.get('latency_ms_p95', 'nan')), 2),
        'dropped': drops(status),
        'exceptions': int(status.get('exceptions', 0)),
        'backend': status.get('backend', 'unknown'),
    }


def best_skews_ms(bag: Path) -> list[float]:
    """
    Return the skew of every ir frame to its nearest rgb frame, where that is allowed [ms].

    Knows nothing of the node's pairing: this is what it is measured against.
    """
    stamps: dict[str, list[int]] = {'rgb': [], 'ir': []}
    with BagReader(bag) as reader:
        topics = reader.find()
        for topic, _, message in reader.messages(topics.rgb, topics.ir):
            stamps['rgb' if topic == topics.rgb else 'ir'].append(stamp_ns(message.header))
    skews = [min(abs(ir - rgb) for rgb in stamps['rgb']) / 1e6 for ir in stamps['ir']]
    return [skew for skew in skews if skew <= SyncConfig().max_skew_ms]


def contact_sheet(bag: Path, result: Path, path: Path) -> None:
    """Write rgb · ir · fused with boxes, for a few pairs of the whole bag."""
    images = _images(bag)
    with BagReader(result) as reader:
        fused = {stamp_ns(m.header): m for _, _, m in reader.messages('/fused/image_raw')}
        found = {stamp_ns(m.header): m for _, _, m in reader.messages('/detections')}
    stamps = sorted(fused.keys() & found.keys())
    rows = [_titles()]
    for stamp in (stamps[i] for i in np.linspace(0, len(stamps) - 1, ROWS).astype(int)):
        ir = images['ir'][_nearest(sorted(images['ir']), stamp)]
        detections, classes = _detections(found[stamp])
        cells = [
            images['rgb'][stamp],
            cv2.cvtColor(ir, cv2.COLOR_GRAY2RGB),
            draw(to_frame(fused[stamp]).pixels, detections, classes),
        ]
        rows.append(
            np.hstack([cv2.resize(c, CELL_WH, interpolation=cv2.INTER_AREA) for c in cells])
        )
    cv2.imwrite(str(path), cv2.cvtColor(np.vstack(rows), cv2.COLOR_RGB2BGR))


def _images(bag: Path) -> dict[str, dict[int, np.ndarray]]:
    images: dict[str, dict[int, np.ndarray]] = {'rgb': {}, 'ir': {}}
    with BagReader(bag) as reader:
        topics = reader.find()
        for topic, _, message in reader.messages(topics.rgb, topics.ir):
            frame = to_frame(message)
            images['rgb' if topic == topics.rgb else 'ir'][frame.stamp_ns] = frame.pixels
    return images


def _nearest(stamps: list[int], stamp: int) -> int:
    at = bisect_left(stamps, stamp)
    return min(stamps[max(0, at - 1) : at + 1], key=lambda other: abs(other - stamp))


def _detections(message: Any) -> tuple[Detections, list[str]]:
    """Read a Detection2DArray back; class ids count the names that occur."""
    names = [d.results[0].hypothesis.class_id for d in message.detections]
    classes = ['person', 'bicycle', 'car', *sorted({*names} - {'person', 'bicycle', 'car'})]
    boxes = np.array(
        [
            (
                d.bbox.center.position.x - d.bbox.size_x / 2,
                d.bbox.center.position.y - d.bbox.size_y / 2,
                d.bbox.center.position.x + d.bbox.size_x / 2,
                d.bbox.center.position.y + d.bbox.size_y / 2,
            )
            for d in message.detections
        ],
        np.float32,
    ).reshape(-1, 4)
    scores = np.array([d.results[0].hypothesis.score for d in message.detections], np.float32)
    ids = np.array([classes.index(name) for name in names], np.int64)
    return Detections(boxes, scores, ids), classes


def _titles() -> np.ndarray:
    strip = np.full((36, 3 * CELL_WH[0], 3), 255, np.uint8)
    for column, title in enumerate(('rgb', 'ir', 'fused, with detections')):
        place = (column * CELL_WH[0] + 10, 25)
        cv2.putText(strip, title, place, cv2.FONT_HERSHEY_SIMPLEX, 0.7, (0, 0, 0), 1, cv2.LINE_AA)
    return strip
