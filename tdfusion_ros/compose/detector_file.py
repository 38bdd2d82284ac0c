"""A detector that somebody else exported to ONNX: its image input, and a run of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper
from onnx import version_converter
import onnxruntime
from onnxruntime.transformers import float16
from onnxruntime.transformers.onnx_model import OnnxModel

from tdfusion_ros.core.errors import ModelError

SIZES_INPUT = 'orig_target_sizes'  # of RT-DETR and D-FINE: the size to scale boxes to
TYPES: dict[int, str] = {onnx.TensorProto.FLOAT: 'float', onnx.TensorProto.FLOAT16: 'float16'}


@dataclass(frozen=True)
class DetectorFile:
    """
    A detector for one image of a fixed size.

    :param model: takes only the image, in a batch of one.
    :param channels_last: whether the image is (1, H, W, C) and not (1, C, H, W).
    """

    path: Path
    model: onnx.ModelProto
    size_hw: tuple[int, int]
    channels: int
    channels_last: bool

    @property
    def metadata(self) -> dict[str, str]:
        """Return what the exporter wrote into the file."""
        return {entry.key: entry.value for entry in self.model.metadata_props}

    @property
    def image(self) -> onnx.ValueInfoProto:
        return self.model.graph.input[0]

    @property
    def float_type(self) -> str:
        """``float`` or ``float16``: what the image consists of."""
        return TYPES[self.image.type.tensor_type.elem_type]

    def run(self, levels: np.ndarray) -> list[np.ndarray]:
        """Run on (H, W, C) float32 in the order and range that it reads, or raise ModelError."""
        planes = levels if self.channels_last else levels.transpose(2, 0, 1)
        dtype = np.float16 if self.float_type == 'float16' else np.float32
        pixels = np.ascontiguousarray(planes[None], dtype)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors only
        try:
            session = onnxruntime.InferenceSession(
                self.model.SerializeToString(), options, providers=['CPUExecutionProvider']
            )
            return session.run(None, {self.image.name: pixels})
        except Exception as error:  # ONNX Runtime's and protobuf's errors have no common base
            raise ModelError(
                f'ONNX Runtime cannot run {self.path} at '
                f'{self.size_hw[1]}x{self.size_hw[0]}: {error}'
            ) from error

    def in_half(self, first_in_float: bool) -> 'DetectorFile':
        """
        Return the detector in half precision.

        :param first_in_float: keep what reads or writes maps finer than stride 8 in float32; for
            gray levels up to 255, which biases as large cancel (as ``torch_network.to_half``).
        """
        model = onnx.shape_inference.infer_shapes(self.model)
        fine = {self.image.name} | {
            value.name
            for value in model.graph.value_info
            if 64 * np.prod(_sides(value)[2:4]) > np.prod(self.size_hw) and len(_sides(value)) == 4
        }
        kept = []
        for i, node in enumerate(model.graph.node):
            node.name = f'{node.op_type}_{i}'  # the converter names nodes, and files may not
            if node.op_type == 'Resize' and len(node.input) == 4:
                node.input[2] = ''  # the converter would cast these scales, which are empty
            if first_in_float and fine.intersection((*node.input, *node.output)):
                kept.append(node.name)
        converted = OnnxModel(float16.convert_float_to_float16(model, node_block_list=kept))
        converted.topological_sort()  # the converter appends its casts at the end
        if first_in_float:
            image = converted.model.graph.input[0]
            image.type.tensor_type.elem_type = self.image.type.tensor_type.elem_type
        return replace(self, model=converted.model)

    def at_opset(self, version: int) -> 'DetectorFile':
        """Return the same detector in another version of ONNX's operators, or raise ModelError."""
        found = [entry.version for entry in self.model.opset_import if not entry.domain]
        if found == [version]:
            return self
        advice = f'export it with opset {version}'
        try:
            converted = version_converter.convert_version(self.model, version)
        except Exception as error:  # a C++ exception
            raise ModelError(
                f'{self.path} has opset {found}, which cannot become {version} ({error}); {advice}'
            ) from None
        _forget_shapes(converted)
        changed = replace(self, model=converted)
        probe = np.random.default_rng(0).random((*self.size_hw, self.channels), np.float32)
        for before, after in zip(self.run(probe), changed.run(probe), strict=True):
            if before.shape != after.shape or not np.allclose(before, after, 1e-3, 1e-3):
                raise ModelError(
                    f'{self.path} computes something else in opset {version}; {advice}'
                )
        return changed


def read_detector(path: Path, size_hw: tuple[int, int] | None = None) -> DetectorFile:
    """Read an ONNX file, at ``size_hw`` where it leaves that open, or raise ModelError."""
    try:
        model = onnx.load(str(path))
        OnnxModel(model).topological_sort()  # half precision of Ultralytics is in no order
        onnx.checker.check_model(model)
    except OSError as error:
        raise ModelError(f'{path} cannot be read: {error.strerror or error}') from None
    except Exception as error:  # protobuf's and the checker's errors have no common base
        raise ModelError(f'{path} is not an ONNX model: {str(error)[:200]}') from None
    stored = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in stored]
    others = [value.name for value in inputs[1:]]
    if not inputs or others not in ([], [SIZES_INPUT]):
        raise ModelError(
            f'{path} has the inputs {[value.name for value in inputs]}: expected an image, and '
            f'perhaps {SIZES_INPUT}; export it with the image alone'
        )
    image = inputs[0]
    kind = image.type.tensor_type
    shape = _sides(image)
    last = len(shape) == 4 and shape[1] not in (3, 4) and shape[3] in (3, 4)
    batch, channels, *sides = [shape[i] for i in (0, 3, 1, 2)] if last else (*shape, 0, 0)[:4]
    if len(shape) != 4 or batch > 1 or channels not in (3, 4) or kind.elem_type not in TYPES:
        given = ', '.join(str(s.dim_value or s.dim_param or '?') for s in kind.shape.dim)
        name = onnx.TensorProto.DataType.Name(kind.elem_type).lower()
        raise ModelError(
            f'{path} reads {name} ({given}): expected float (1, C, H, W) or (1, H, W, C) with '
            'three channels (the fused image) or four (rgb and infrared)'
        )
    fixed = tuple(sides) if all(sides) else size_hw
    if fixed is None:
        raise ModelError(
            f'{path} has no fixed image size: give the size to run it at, as --size 640x640'
        )
    if size_hw not in (None, fixed):
        raise ModelError(
            f'{path} was exported for {fixed[1]}x{fixed[0]}: leave out --size, or export it again'
        )
    height, width = fixed
    _fix_inputs(model, image, [1, *fixed, channels] if last else [1, channels, *fixed], fixed)
    return DetectorFile(path, model, (height, width), channels, last)


def _fix_inputs(
    model: onnx.ModelProto,
    image: onnx.ValueInfoProto,
    shape: Sequence[int],
    size_hw: tuple[int, ...],
) -> None:
    """Leave only the image as input, with a fixed shape."""
    graph = model.graph
    for side, value in zip(image.type.tensor_type.shape.dim, shape, strict=True):
        side.dim_value = value
    if any(value.name == SIZES_INPUT for value in graph.input):
        sizes = np.array([size_hw[::-1]], np.int64)
        graph.initializer.append(numpy_helper.from_array(sizes, SIZES_INPUT))
    kept = onnx.ValueInfoProto()
    kept.CopyFrom(image)
    del graph.input[:]
    graph.input.append(kept)
    _forget_shapes(model)


def _forget_shapes(model: onnx.ModelProto) -> None:
    """Remove all shapes that follow from the input."""
    del model.graph.value_info[:]
    for value in model.graph.output:
        value.type.tensor_type.ClearField('shape')


def _sides(value: onnx.ValueInfoProto) -> list[int]:
    return [side.dim_value for side in value.type.tensor_type.shape.dim]
