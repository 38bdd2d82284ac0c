"""Join a fusion graph and a detector into one graph, the interface of a bundle."""

from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import compose
from onnx import helper
from onnx import numpy_helper
from onnx import parser

from tdfusion_ros.compose.detector_file import DetectorFile
from tdfusion_ros.compose.head import Head
from tdfusion_ros.compose.image_layout import fit_nodes
from tdfusion_ros.compose.image_layout import Layout
from tdfusion_ros.core.contract import OUTPUTS
from tdfusion_ros.core.errors import ModelError

LEVELS = 'detector_levels'
BACK = """
    moved = Sub(corners, border)
    boxes_xyxy = Div(moved, gain)
"""


@dataclass(frozen=True)
class Detector:
    """A detector file that was understood; ``batched``: its outputs have a batch of one."""

    file: DetectorFile
    head: Head
    layout: Layout
    batched: bool

    def described(self) -> str:
        """Return how it reads an image, for people."""
        height, width = self.file.size_hw
        return f'{width}x{height}, {self.layout}'

    def joined(self, fusion: onnx.ModelProto) -> onnx.ModelProto:
        """Return the graph of a bundle, without the detector of fusion, or raise ModelError."""
        levels = _fused_levels(fusion) if self.file.channels == 3 else _both(fusion)
        model = self._behind(levels)
        onnx.checker.check_model(model)
        return model

    def alone(self) -> onnx.ModelProto:
        """Return a graph from ``levels`` (H, W, C) float32 to boxes and scores."""
        shape = f'float[H, W, {self.file.channels}]'
        header = f'image ({shape} levels) => ({shape} {LEVELS})'
        versions = _versions(self.file.model)
        return self._behind(_part(header, f'{LEVELS} = Identity(levels)', {}, versions))

    def _behind(self, before: onnx.ModelProto) -> onnx.ModelProto:
        """Return a graph that gives ``detector_levels``, continued to boxes and scores."""
        model, versions = self.file.model, _versions(before)
        raw = enumerate(output.name for output in model.graph.output)
        to_head = {f'detector/{name}': f'raw{i}' for i, name in raw}
        to_head |= {f'fit/{name}': name for name in ('gain', 'border')}
        graph = before.graph
        for prefix, part, mapping in (
            ('fit/', self._fit(versions), {LEVELS: 'levels'}),
            ('detector/', model, {'fit/read': self.file.image.name}),
            ('head/', self._head(versions), to_head),
        ):
            named = compose.add_prefix_graph(part.graph, prefix, rename_outputs=prefix != 'head/')
            pairs = [(output, prefix + name) for output, name in mapping.items()]
            graph = compose.merge_graphs(graph, named, io_map=pairs, name='fusion_and_detector')
        opsets = {e.domain: e for e in (*model.opset_import, *before.opset_import)}
        return helper.make_model(
            graph,
            ir_version=versions[0],
            opset_imports=list(opsets.values()),
            producer_name='tdfusion compose',
            functions=list(model.functions),
        )

    def _fit(self, versions: tuple[int, int]) -> onnx.ModelProto:
        """Return the nodes in front of the detector."""
        file = self.file
        nodes, constants = fit_nodes(self.layout, file.size_hw, file.channels)
        perm = [0, 2, 3, 1] if file.channels_last else [0, 1, 2, 3]
        nodes += f'turned = Transpose<perm = {perm}>(pixels)\n'
        nodes += f'read = Cast<to = {file.image.type.tensor_type.elem_type}>(turned)'
        header = (
            f'fit (float[] levels) => ({file.float_type}[] read, float[] gain, float[] border)'
        )
        return _part(header, nodes, constants, versions)

    def _head(self, versions: tuple[int, int]) -> onnx.ModelProto:
        """Return the nodes behind the detector."""
        inputs, nodes = [], ''
        for i, output in enumerate(self.file.model.graph.output):
            kind = onnx.TensorProto.DataType.Name(output.type.tensor_type.elem_type).lower()
            inputs.append(f'{kind}[] raw{i}')
            step = f'Squeeze(wide{i}, batch)' if self.batched else f'Identity(wide{i})'
            nodes += f'wide{i} = Cast<to = 1>(raw{i})\noutput{i} = {step}\n'
        header = (
            f'head ({", ".join(inputs)}, float[] gain, float[] border) => '
            '(float[A, 4] boxes_xyxy, float[A, C] scores)'
        )
        fixed = {'batch': np.array([0]), 'one_half': np.array(0.5, np.float32)}
        return _part(
            header, nodes + self.head.body + BACK, {**self.head.constants, **fixed}, versions
        )


def without_fusion(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the part of a joined graph that detects; smaller if the detector reads both."""
    inputs = [value.name for value in model.graph.input]
    return onnx.utils.Extractor(model).extract_model(inputs, list(OUTPUTS)[1:])


def _fused_levels(fusion: onnx.ModelProto) -> onnx.ModelProto:
    """Return a fusion graph that also gives its image in float32, in whole levels."""
    last = next((node for node in fusion.graph.node if 'fused' in node.output), None)
    to = [attribute.i for attribute in last.attribute] if last is not None else []
    if last is None or last.op_type != 'Cast' or to != [onnx.TensorProto.UINT8]:
        raise ModelError(
            'the fusion graph does not end in a cast to uint8: write its bundle again with '
            'python -m training.export BUNDLE'
        )
    # As the cast to uint8 does: the detector reads the image that people see.
    return _with_levels(fusion, [helper.make_node('Floor', list(last.input), [LEVELS])], 3)


def _both(fusion: onnx.ModelProto) -> onnx.ModelProto:
    """Return a fusion graph that also gives both sources as one image of four channels."""
    white, last = np.array(255, np.float32), np.array([-1])
    nodes = [
        helper.make_node('Cast', ['rgb'], ['both_rgb'], to=onnx.TensorProto.FLOAT),
        helper.make_node('Constant', [], ['both_white'], value=numpy_helper.from_array(white)),
        helper.make_node('Constant', [], ['both_last'], value=numpy_helper.from_array(last)),
        helper.make_node('Mul', ['ir', 'both_white'], ['both_levels']),
        helper.make_node('Unsqueeze', ['both_levels', 'both_last'], ['both_ir']),
        helper.make_node('Concat', ['both_rgb', 'both_ir'], [LEVELS], axis=2),
    ]
    return _with_levels(fusion, nodes, 4)


def _with_levels(
    fusion: onnx.ModelProto, nodes: Sequence[onnx.NodeProto], channels: int
) -> onnx.ModelProto:
    """Return a fusion graph without its detector and with further nodes."""
    whole = onnx.ModelProto()
    whole.CopyFrom(fusion)
    whole.graph.node.extend(nodes)
    output = helper.make_tensor_value_info(LEVELS, onnx.TensorProto.FLOAT, ['H', 'W', channels])
    whole.graph.output.append(output)
    inputs = [value.name for value in fusion.graph.input]
    return onnx.utils.Extractor(whole).extract_model(inputs, ['fused', LEVELS])


def _versions(model: onnx.ModelProto) -> tuple[int, int]:
    """Return the versions of the format and of the operators."""
    [opset] = [entry.version for entry in model.opset_import if not entry.domain]
    return model.ir_version, opset


def _part(
    header: str, nodes: str, constants: Mapping[str, np.ndarray], versions: tuple[int, int]
) -> onnx.ModelProto:
    """Return a graph from nodes in ONNX's text format."""
    start = f'<ir_version: {versions[0]}, opset_import: ["": {versions[1]}]>'
    model = parser.parse_model(f'{start}\n{header}\n{{\n{nodes}\n}}')
    for name, value in constants.items():
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
    return model
