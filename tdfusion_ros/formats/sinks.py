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
from tdfusion_ros.formats import messages
from tdfusion_ros.formats import result_topics as topics
from tdfusion_ros.formats.bag_writer import BagWriter
from tdfusion_ros.formats.bags import bag_types
from tdfusion_ros.formats.image_files import encode_image
from tdfusion_ros.formats.sources import Source

DETECTIONS, SKIPPED, OVERLAY = 'detections.json', 'skipped.json', 'overlay'
STALLED = 'stalled.json'
TOPICS = (  # of a bag, in this order
    *(topics.INFO, topics.FUSED, topics.MASKS, topics.OVERLAY),
    *(topics.DETECTIONS, topics.TEMPERATURES, topics.ANNOTATIONS),
)
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
        self._contract, self._source, self._threshold = contract, source, threshold
        self._topics = [topic for topic in TOPICS if overlay or topic != topics.OVERLAY]
        self._empty = True

    def write(self, pair: FramePair, result: FusionResult) -> None:
        types, stamp_ns = bag_types(), pair.reference.stamp_ns
        head = messages.header(types, pair.reference)
        if self._empty:
            labels = topics.label_messages(types, head, self._contract, self._threshold)
            for topic, message in labels.items():
                kind = topics.TYPES[topic]
                self._writer.write(f'/{topic}', kind, stamp_ns, message, latched=True)
            self._empty = False
        if pair.warning:
            stall = messages.stall_warning(types, head, pair.mode, pair.warning)
            kind = 'diagnostic_msgs/msg/DiagnosticArray'
            self._writer.write('/diagnostics', kind, stamp_ns, stall)
        made = topics.result_messages(types, self._contract, pair, result, self._source.info)
        for topic in self._topics:
            if make := made.get(topic):
                self._writer.write(f'/{topic}', topics.TYPES[topic], stamp_ns, make())

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
