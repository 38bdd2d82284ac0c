"""Where ``tdfusion fuse`` writes its results: a bag, or a folder of images."""

from collections.abc import Mapping
import json
from pathlib import Path
from typing import Any

from tdfusion_ros.atomic import NewOutput
from tdfusion_ros.core.contract import Contract
from tdfusion_ros.core.data import FusionResult
from tdfusion_ros.core.overlay import draw_result
from tdfusion_ros.core.synchronizer import FramePair
from tdfusion_ros.formats import foxglove
from tdfusion_ros.formats import messages
from tdfusion_ros.formats.bag_topics import INFO_TYPE
from tdfusion_ros.formats.bag_writer import BagWriter
from tdfusion_ros.formats.bags import bag_types
from tdfusion_ros.formats.camera_info import describes
from tdfusion_ros.formats.image_files import encode_image
from tdfusion_ros.formats.sources import Source

DETECTIONS, SKIPPED, OVERLAY = 'detections.json', 'skipped.json', 'overlay'
STALLED = 'stalled.json'
TEMPERATURES = '/detections/temperature'
SEGMENTATION, MASK_CLASSES = 'segmentation', 'mask_classes.txt'


class BagSink:
    """
    Write results to a new mcap bag, on the node's topics, timed by the stamps that they carry.

    A bag that gets no result does not appear. ``source``: its camera_info of rgb is passed on.
    """

    def __init__(
        self,
        folder: Path,
        contract: Contract,
        source: Source,
        *,
        threshold: float,
        replace: bool = False,
        overlay: bool = False,
    ) -> None:
        self._writer = BagWriter(folder, replace=replace)
        self._contract, self._source, self._overlay = contract, source, overlay
        self._labels = {'/label_info': (contract.classes, threshold)}
        if contract.mask_classes:
            self._labels['/segmentation/label_info'] = contract.mask_classes, 0.0
        self._empty = True

    def write(self, pair: FramePair, result: FusionResult) -> None:
        """Write the messages of one result."""
        types, reference, classes = bag_types(), pair.reference, self._contract.classes
        head = messages.header(types, reference)

        def put(topic: str, kind: str, message: Any, *, latched: bool = False) -> None:
            self._writer.write(topic, kind, reference.stamp_ns, message, latched=latched)

        if self._empty:
            for topic, (names, threshold) in self._labels.items():
                labels = messages.label_info(types, head, names, threshold)
                put(topic, 'vision_msgs/msg/LabelInfo', labels, latched=True)
            self._empty = False
        info = self._source.info
        if info is not None and describes(info, reference.size_hw):
            put('/fused/camera_info', INFO_TYPE, messages.camera_info(head, info))
        if pair.warning:
            stall = messages.stall_warning(types, head, pair.mode, pair.warning)
            put('/diagnostics', 'diagnostic_msgs/msg/DiagnosticArray', stall)
        pictures = {'/fused/image_raw': result.image}
        if result.segmentation is not None:
            pictures['/segmentation/image_raw'] = result.segmentation
        if self._overlay:
            pictures['/overlay/image_raw'] = draw_result(result, self._contract, pair.warning)
        for topic, pixels in pictures.items():
            put(topic, 'sensor_msgs/msg/Image', messages.image(types, head, pixels))
        boxes = messages.detection_array(types, head, result.detections, classes)
        put('/detections', 'vision_msgs/msg/Detection2DArray', boxes)
        if (measured := result.detections.temperatures) is not None:
            boxes = messages.temperature_array(types, boxes, measured)
            put(TEMPERATURES, 'vision_msgs/msg/Detection2DArray', boxes)
        drawn = foxglove.image_annotations(types, head, pair, result.detections, classes)
        put('/fused/annotations', foxglove.KIND, drawn)

    def __enter__(self) -> 'BagSink':
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None and not self._empty:
            self._writer.close()
        else:
            self._writer.discard()


class FolderSink:
    """
    Write results to a new folder: ``NAME.png`` each, and ``detections.json`` at the end.

    NAME is the stem of the input images, or the stamp of the result [ns]. Where a camera stalled,
    ``stalled.json`` has ``mode`` and, under the key ``mark``, the warning of each result. Where
    images were skipped, ``skipped.json`` has the reason of each stem. With ``overlay``, the folder
    of that name has the images with boxes, labels and scores. With ``mask_classes``, the folder
    ``segmentation`` has the class of each pixel, and ``mask_classes.txt`` the names of the values,
    as training reads them.
    A folder that gets no image does not appear.

    :raises OutputError: if an image cannot be written.
    """

    def __init__(
        self,
        folder: Path,
        contract: Contract,
        source: Source,
        *,
        replace: bool = False,
        overlay: bool = False,
    ) -> None:
        self._contract, self._source, self._overlay = contract, source, overlay
        self._folder = NewOutput(folder, replace=replace)
        self._folder.partial.mkdir()
        for name, wanted in ((OVERLAY, overlay), (SEGMENTATION, contract.mask_classes)):
            if wanted:
                (self._folder.partial / name).mkdir()
        self._detections: dict[str, list[dict[str, Any]]] = {}
        self._stalls: dict[str, dict[str, str]] = {}
        self.replaced = 0
        """How many results replaced an earlier one of the same stamp."""

    def write(self, pair: FramePair, result: FusionResult) -> None:
        """Write the fused image of one result and remember its detections."""
        if pair.warning:
            self._stalls[pair.name] = {'mode': pair.mode, 'mark': pair.warning}
        self._folder.write(f'{pair.name}.png', encode_image(result.image)[1])
        if result.segmentation is not None:
            png = encode_image(result.segmentation)[1]
            self._folder.write(f'{SEGMENTATION}/{pair.name}.png', png)
        if self._overlay:
            drawn = draw_result(result, self._contract, pair.warning)
            self._folder.write(f'{OVERLAY}/{pair.name}.png', encode_image(drawn)[1])
        self.replaced += pair.name in self._detections
        found = self._detections[pair.name] = []
        for box, score, class_id, object_id in result.detections.rows():
            row = {'class': self._contract.classes[class_id], 'score': round(score, 6)}
            row |= {'id': object_id} if object_id else {}
            found.append({**row, 'box_xyxy': [round(v, 3) for v in box]})
        if (measured := result.detections.temperatures) is not None:
            for row, values in zip(found, messages.temperatures_by_name(measured), strict=True):
                row |= values

    def __enter__(self) -> 'FolderSink':
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None and self._detections:
                self._finish()
        finally:
            self._folder.discard()

    def _finish(self) -> None:
        """Write ``detections.json`` and, if there is something in them, the other files."""
        contents: dict[str, Mapping[str, Any]] = {
            DETECTIONS: self._detections,
            STALLED: self._stalls,
            SKIPPED: self._source.skipped,
        }
        for name, content in contents.items():
            if content:
                text = json.dumps(content, indent=1) + '\n'
                self._folder.write(name, text.encode())
        if names := self._contract.mask_classes:
            self._folder.write(MASK_CLASSES, '\n'.join((*names, '')).encode())
        self._folder.commit()
