"""Write a bundle of a fusion network and a detector of the user."""

from collections.abc import Sequence
from dataclasses import asdict
from dataclasses import dataclass
from dataclasses import replace
from hashlib import sha256
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from tdfusion_ros.atomic import NewOutput
from tdfusion_ros.atomic import write_file
from tdfusion_ros.backends import open_backend
from tdfusion_ros.backends.bundle import Bundle
from tdfusion_ros.backends.bundle import CONTRACT_FILE
from tdfusion_ros.backends.bundle import read_bundle
from tdfusion_ros.backends.bundle import write_contract
from tdfusion_ros.backends.cpu import CpuBackend
from tdfusion_ros.backends.gate import check_agreement
from tdfusion_ros.compose.class_names import class_names
from tdfusion_ros.compose.class_names import COCO
from tdfusion_ros.compose.detector_file import DetectorFile
from tdfusion_ros.compose.detector_file import read_detector
from tdfusion_ros.compose.heads import recognize
from tdfusion_ros.compose.image_layout import GRAY
from tdfusion_ros.compose.image_layout import LAYOUTS
from tdfusion_ros.compose.join import Detector
from tdfusion_ros.compose.join import without_fusion
from tdfusion_ros.core.contract import DETECTOR_FILE
from tdfusion_ros.core.contract import GRAPH_FILE
from tdfusion_ros.core.contract import HALF_FILE
from tdfusion_ros.core.errors import FusionError
from tdfusion_ros.core.errors import ModelError

HALF_CHECK_HW = (256, 320)
CARD = """\
# {name}

The fusion network of `{fusion}`, and the detector of `{file}` ({kind}), which reads {reads}.
Input of the detector: {layout}. It detects {classes}.
In half precision the graph {half}.

Written by `tdfusion compose`; the detection quality was **not measured**. Not tested as a safety
function.

## License

Fusion: {licence}
Detector: as its author says. Some, such as AGPL-3.0, also bind who passes the bundle on.
"""


@dataclass(frozen=True)
class Choices:
    """
    What the file of a detector may leave out.

    :param kind: a key of ``KINDS``; empty: recognized.
    :param classes: ``coco``, or a file with one name per line; empty: as the file says.
    :param size_hw: where the file leaves the size open [px].
    :param order: ``rgb`` or ``bgr``; None: as usual for the kind, as the others.
    :param mean: of each channel in the order of the detector [levels of 255].
    """

    kind: str = ''
    classes: str = ''
    size_hw: tuple[int, int] | None = None
    order: str | None = None
    fit: str | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None


def open_detector(path: Path, choices: Choices, opset: int) -> tuple[Detector, tuple[str, ...]]:
    """Read a detector and convert it; return it and its class names, or raise ModelError."""
    file = read_detector(path, choices.size_hw)
    task = file.metadata.get('task', 'detect')
    if task != 'detect':
        raise ModelError(f'{path} was exported for the task {task}: export a detection model')
    known = class_names(choices.classes, file.metadata)
    detector = understand(file.at_opset(opset), known or COCO, choices)
    if not known and detector.head.kind == 'nms':
        raise ModelError(
            f'{path} does not name its classes: give --classes FILE, one name per line, or '
            '--classes coco for the 80 of COCO'
        )
    return detector, known or COCO


def understand(file: DetectorFile, names: Sequence[str], choices: Choices) -> Detector:
    """Return how to read a detector, from its run on a gray image, or raise ModelError."""
    gray = np.full((*file.size_hw, file.channels), GRAY / 255, np.float32)
    outputs = file.run(gray)
    batched = max(value.ndim for value in outputs) >= 3
    if batched and any(value.shape[:1] != (1,) for value in outputs):
        raise ModelError(
            f'{file.path} returns {[value.shape for value in outputs]} for one image: export it '
            'for a batch of one'
        )
    outputs = [value[0] for value in outputs] if batched else outputs
    head = recognize(outputs, file.size_hw, len(names), choices.kind)
    given = {key: getattr(choices, key) for key in ('order', 'fit', 'mean', 'std')}
    given = {key: value for key, value in given.items() if value is not None}
    layout = replace(LAYOUTS[head.kind], **given)
    if any(len(part) not in (1, file.channels) for part in (layout.mean, layout.std)):
        raise ModelError(f'mean and std need one number, or {file.channels}, one per channel')
    return Detector(file, head, layout, batched)


def compose(
    fusion_folder: Path, detector_path: Path, output: Path, choices: Choices | None = None
) -> str:
    """Write the bundle ``output``, run it, and say how it was read, or raise FusionError."""
    with NewOutput(output) as folder:
        fusion = read_bundle(fusion_folder)
        if not fusion.contract.reads_coverage:
            raise ModelError(
                f'{fusion_folder} is of an earlier version: write it again with '
                'python -m training.export'
            )
        graph = onnx.load_model_from_string(fusion.graph)
        [opset] = [entry.version for entry in graph.opset_import if not entry.domain]
        detector, names = open_detector(detector_path, choices or Choices(), opset)
        folder.mkdir()
        joined = detector.joined(graph)
        write_file(folder / GRAPH_FILE, joined.SerializeToString())
        if detector.file.channels == 4:
            write_file(folder / DETECTOR_FILE, without_fusion(joined).SerializeToString())
        facts = _facts(fusion, detector, names)
        write_contract(folder, fusion.contract.size_multiple, facts)
        open_backend('cpu', read_bundle(folder), lambda text: None)
        half = _write_half(folder, fusion, detector)
        contract = write_contract(folder, fusion.contract.size_multiple, facts)
        write_file(folder / 'MODEL_CARD.md', _card(contract, detector, half))
    masks = '; the masks of the fusion bundle are left out' if fusion.contract.mask_classes else ''
    return (
        f'{output}: {detector_path.name} is read as {detector.head.kind} with {len(names)} '
        f'classes, input {detector.described()}; in half precision the graph {half}{masks}'
    )


def _write_half(folder: Path, fusion: Bundle, detector: Detector) -> str:
    """Write the graph in half precision if it agrees with the one in float32; say so, or why."""
    if not fusion.half_graph:
        return 'was not written: the fusion bundle has none'
    full = read_bundle(folder)
    try:
        in_half = detector.file.in_half(detector.layout.reads_levels)
        detector = replace(detector, file=in_half)
        half = detector.joined(onnx.load_model_from_string(fusion.half_graph)).SerializeToString()
        found = check_agreement(
            CpuBackend(half), CpuBackend(full.graph), full.contract, HALF_CHECK_HW
        )
    except (FusionError, ValueError, TypeError) as error:  # what the converter raises
        return f'was not written: {error}'
    write_file(folder / HALF_FILE, half)
    return f'differs by at most {found}'


def _facts(fusion: Bundle, detector: Detector, names: Sequence[str]) -> dict[str, Any]:
    """Return what the contract says of the parts."""
    file = detector.file
    said = json.loads((fusion.folder / CONTRACT_FILE).read_text(encoding='utf-8'))
    return {
        'classes': list(names),
        'fusion': fusion.contract.name,
        'detector': {
            'file': file.path.name,
            'sha256': sha256(file.path.read_bytes()).hexdigest(),
            'kind': detector.head.kind,
            'reads': 'the fused image' if file.channels == 3 else 'rgb and ir',
            'size_hw': list(file.size_hw),
            **asdict(detector.layout),
        },
        'licence': {'fusion': said.get('licence', {}), 'detector': 'as its author says'},
    }


def _card(contract: dict[str, Any], detector: Detector, half: str) -> str:
    fusion = contract['licence']['fusion']
    return CARD.format(
        **contract['detector'],
        name=contract['name'],
        fusion=contract['fusion'],
        layout=detector.described(),
        classes=', '.join(contract['classes']),
        half=half,
        licence='. '.join(f'{key.title()}: {text}' for key, text in fusion.items()),
    )
