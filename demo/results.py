"""Compare what the node published with what was possible, and show it in a picture."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from demo.player import drops
from tdfusion_ros.core.config import SyncConfig
from tdfusion_ros.core.data import Detections
from tdfusion_ros.core.overlay import draw
from tdfusion_ros.core.stamps import mutual_nearest
from tdfusion_ros.formats.bags import BagReader
from tdfusion_ros.formats.image_files import write_image
from tdfusion_ros.formats.messages import object_id
from tdfusion_ros.formats.messages import stamp_ns
from tdfusion_ros.formats.messages import to_frame
from tdfusion_ros.tools.view.analysis import causes_of_loss
from tdfusion_ros.tools.view.analysis import classify_rgb_images
from tdfusion_ros.tools.view.recording import read_recording
from tdfusion_ros.tools.view.rig_topics import find_cameras
from tdfusion_ros.tools.view.rig_topics import find_rig

ROWS = 7
CELL_WH = (480, 360)
CLASSES = ('person', 'bicycle', 'car')  # first in the order of colors, as in the shipped model


def make_report(bag: Path, result: Path, status: dict[str, str]) -> dict[str, Any]:
    """
    Compare the recorded results with the bag that was played.

    :param status: the node's last diagnostics.
    """
    with BagReader(result) as reader, BagReader(bag) as inputs:
        published = min(reader.count('/fused/image_raw'), reader.count('/detections'))
        rig = find_rig(reader.topics())
        recorded = read_recording(reader, rig)
        results = recorded.times('fused')
        cameras = find_cameras(inputs.topics(), rig.namespace)
        source = read_recording(inputs, replace(rig, topics=cameras))
        rgb, ir = source.times('rgb'), source.times('ir')
        images = classify_rgb_images(rgb, ir, results, SyncConfig(), ())
        lost = causes_of_loss(source, images, recorded.node) if images else Counter()
    return {
        'pairs_possible': int(images.fused.sum() + images.lost.sum()) if images else 0,
        'pairs_published': published,
        'pairs_lost': dict(lost),
        'skew_ms_mean': round(float(status.get('abs_skew_ms_mean', 'nan')), 3),
        'skew_ms_best': round(best_skew_ms(rgb.stamps_ns, ir.stamps_ns), 3),
        'latency_ms_p50': round(float(status.get('latency_ms_p50', 'nan')), 2),
        'latency_ms_p95': round(float(status.get('latency_ms_p95', 'nan')), 2),
        'dropped': drops(status),
        'exceptions': int(status.get('exceptions', 0)),
        'backend': status.get('backend', 'unknown'),
    }


def best_skew_ms(rgb_ns: Sequence[int], ir_ns: Sequence[int]) -> float:
    """Return the mean skew of the images that are each other's nearest within the limit [ms]."""
    rgb, ir = np.array(rgb_ns, np.int64), np.array(ir_ns, np.int64)
    pairs = mutual_nearest(rgb, ir, SyncConfig().max_skew_ms * 1e6)
    return float(np.mean(np.abs(ir[pairs[:, 1]] - rgb[pairs[:, 0]]))) / 1e6


def by_stamp(reader: BagReader, topic: str) -> dict[int, Any]:
    """Return the messages of a topic by stamp [ns]."""
    return {stamp_ns(message.header): message for _, _, message in reader.messages(topic)}


def write_contact_sheet(bag: Path, result: Path, path: Path) -> None:
    """Write rgb, ir and fused images with boxes side by side, for a few pairs of the whole bag."""
    with BagReader(bag) as reader:
        topics = reader.find()
        rgb, ir = by_stamp(reader, topics.rgb), by_stamp(reader, topics.ir)
    with BagReader(result) as reader:
        fused, found = by_stamp(reader, '/fused/image_raw'), by_stamp(reader, '/detections')
    stamps = sorted(fused.keys() & found.keys())
    rows = [title_row()]
    for stamp in (stamps[i] for i in np.linspace(0, len(stamps) - 1, ROWS).astype(int)):
        nearest_ir = ir[min(ir, key=lambda other: abs(other - stamp))]
        cells = [
            to_frame(rgb[stamp]).pixels,
            cv2.cvtColor(to_frame(nearest_ir).pixels, cv2.COLOR_GRAY2RGB),
            draw(to_frame(fused[stamp]).pixels, *read_detections(found[stamp])),
        ]
        rows.append(
            np.hstack([cv2.resize(c, CELL_WH, interpolation=cv2.INTER_AREA) for c in cells])
        )
    write_image(path, np.vstack(rows))


def read_detections(message: Any) -> tuple[Detections, list[str]]:
    """Return the content of a Detection2DArray and the class names."""
    best = [d.results[0].hypothesis for d in message.detections]
    classes = [*CLASSES, *sorted({h.class_id for h in best} - set(CLASSES))]
    boxes = [d.bbox for d in message.detections]
    centers = np.array([(b.center.position.x, b.center.position.y) for b in boxes])
    half = np.array([(b.size_x, b.size_y) for b in boxes]) / 2
    corners = np.hstack([centers - half, centers + half]) if best else np.empty((0, 4))
    scores = np.array([h.score for h in best], np.float32)
    ids = np.array([classes.index(h.class_id) for h in best], np.int64)
    object_ids = np.array([object_id(d) for d in message.detections], np.int64)
    return Detections(corners.astype(np.float32), scores, ids, ids=object_ids), classes


def title_row() -> np.ndarray:
    """Return the titles of the columns as an image."""
    row = np.full((36, 3 * CELL_WH[0], 3), 255, np.uint8)
    for column, title in enumerate(('rgb', 'ir', 'fused, with detections')):
        place = (column * CELL_WH[0] + 10, 25)
        cv2.putText(row, title, place, cv2.FONT_HERSHEY_SIMPLEX, 0.7, (0, 0, 0), 1, cv2.LINE_AA)
    return row
