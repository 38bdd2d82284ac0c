"""Compare what the node published with what was possible, and show it in a picture."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from demo.player import drops
from tdfusion_ros.core.config import SyncConfig
from tdfusion_ros.core.rgb_image import rgb_image
from tdfusion_ros.core.stamps import mutual_nearest
from tdfusion_ros.formats.bags import BagReader
from tdfusion_ros.formats.image_files import write_image
from tdfusion_ros.tools.view.analysis import causes_of_loss
from tdfusion_ros.tools.view.analysis import classify_rgb_images
from tdfusion_ros.tools.view.moments import draw_boxes
from tdfusion_ros.tools.view.moments import picture
from tdfusion_ros.tools.view.recording import read_recording
from tdfusion_ros.tools.view.recording import Recording
from tdfusion_ros.tools.view.rig_topics import find_cameras
from tdfusion_ros.tools.view.rig_topics import find_rig

ROWS = 7
CELL_WH = (480, 360)


def read_both(results: BagReader, inputs: BagReader) -> tuple[Recording, Recording]:
    """Return the recordings of the results and of what was played."""
    rig = find_rig(results.topics())
    cameras = find_cameras(inputs.topics(), rig.namespace)
    return read_recording(results, rig), read_recording(inputs, replace(rig, topics=cameras))


def make_report(result: Recording, source: Recording, status: Mapping[str, str]) -> dict[str, Any]:
    """Compare the results with what was played; ``status``: the node's last diagnostics."""
    rgb, ir, fused = source.times('rgb'), source.times('ir'), result.times('fused')
    images = classify_rgb_images(rgb, ir, fused, SyncConfig(), ())
    rgb_ns, ir_ns = np.array(rgb.stamps_ns, np.int64), np.array(ir.stamps_ns, np.int64)
    best = mutual_nearest(rgb_ns, ir_ns, SyncConfig().max_skew_ms * 1e6)
    best_skews_ms = np.abs(ir_ns[best[:, 1]] - rgb_ns[best[:, 0]]) / 1e6
    return {
        'pairs_possible': int(images.fused.sum() + images.lost.sum()) if images else 0,
        'pairs_published': min(len(fused.times_ns), len(result.times('detections').times_ns)),
        'pairs_lost': dict(causes_of_loss(source, images, result.node) if images else Counter()),
        'skew_ms_mean': round(float(status.get('abs_skew_ms_mean', 'nan')), 3),
        'skew_ms_best': round(float(best_skews_ms.mean()), 3),
        'latency_ms_p50': round(float(status.get('latency_ms_p50', 'nan')), 2),
        'latency_ms_p95': round(float(status.get('latency_ms_p95', 'nan')), 2),
        'dropped': drops(status),
        'exceptions': int(status.get('exceptions', 0)),
        'backend': status.get('backend', 'unknown'),
    }


def write_contact_sheet(result: Recording, source: Recording, path: Path) -> None:
    """Write rgb, ir and fused images with boxes side by side, for a few pairs of the whole bag."""
    found = set(result.times('detections').stamps_ns)
    stamps = [stamp for stamp in result.times('fused').stamps_ns if stamp in found]
    titles = np.full((36, 3 * CELL_WH[0], 3), 255, np.uint8)
    for column, title in enumerate(('rgb', 'ir', 'fused, with detections')):
        place = (column * CELL_WH[0] + 10, 25)
        cv2.putText(titles, title, place, cv2.FONT_HERSHEY_SIMPLEX, 0.7, (0, 0, 0), 1, cv2.LINE_AA)
    rows = [titles]
    for index in np.linspace(0, len(stamps) - 1, min(ROWS, len(stamps))).astype(int):
        stamp = stamps[index]
        nearest_ir = min(source.times('ir').stamps_ns, key=lambda other: abs(other - stamp))
        pixels = [
            rgb_image(picture(recording, role, recording.message(role, at_ns)))
            for recording, role, at_ns in (
                (source, 'rgb', stamp),
                (source, 'ir', nearest_ir),
                (result, 'fused', stamp),
            )
        ]
        rgb, ir, fused = (cv2.resize(p, CELL_WH, interpolation=cv2.INTER_AREA) for p in pixels)
        scale, boxes = CELL_WH[0] / pixels[2].shape[1], result.message('detections', stamp)
        rows.append(np.hstack([rgb, ir, draw_boxes(fused, boxes, result.class_names, scale)]))
    write_image(path, np.vstack(rows))
