"""
Compile a graph with TensorRT for RTX, for a named kind of GPU.

Needs neither a GPU nor a driver, so another machine than the robot can do it. The provider of ONNX
Runtime that runs the result is in :mod:`tdfusion_ros.backends.ort_rtx`.
"""

from collections.abc import Sequence
from hashlib import sha256

import onnx
import tensorrt_rtx_bindings as tensorrt

from tdfusion_ros.backends.ort_rtx import PROVIDER
from tdfusion_ros.core.errors import ModelError

Size = tuple[int, int]


class Log(tensorrt.ILogger):
    """Keeps TensorRT's errors instead of printing them."""

    def __init__(self) -> None:
        super().__init__()
        self.errors: list[str] = []

    def log(self, severity: tensorrt.ILogger.Severity, message: str) -> None:
        if severity <= tensorrt.ILogger.Severity.ERROR:
            self.errors.append(message)


LOG = Log()  # TensorRT has one logger per process: the first


class Network:
    """A graph as TensorRT reads it, in the precision that it states; ModelError if it does not."""

    def __init__(self, graph: bytes) -> None:
        self._graph = graph
        self._builder = tensorrt.Builder(LOG)
        strongly_typed = 1 << int(tensorrt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
        self.definition = self._builder.create_network(strongly_typed)
        parser = tensorrt.OnnxParser(self.definition, LOG)
        if not parser.parse(graph):
            reasons = [parser.get_error(i).desc() for i in range(parser.num_errors)]
            raise ModelError(f'TensorRT refuses the graph: {"; ".join(reasons)}')

    def plan(self, targets: Sequence[str], *ranges: tuple[Size, Size, Size]) -> bytes:
        """
        Return an engine, or raise ModelError.

        :param targets: the GPUs that it runs on, as ``sm89``.
        :param ranges: smallest, usual and largest image size, (H, W), of each profile.
        """
        LOG.errors.clear()
        config = self._builder.create_builder_config()
        config.clear_flag(tensorrt.BuilderFlag.TF32)  # what is float32 is so on purpose
        config.num_compute_capabilities = len(targets)
        for index, target in enumerate(targets):
            capability = getattr(tensorrt.ComputeCapability, target.upper())
            config.set_compute_capability(capability, index)
        for sizes_hw in ranges:
            profile = self._builder.create_optimization_profile()
            for index in range(self.definition.num_inputs):
                tensor = self.definition.get_input(index)
                rest = tuple(tensor.shape)[2:]
                profile.set_shape(tensor.name, *((*size_hw, *rest) for size_hw in sizes_hw))
            config.add_optimization_profile(profile)
        plan = self._builder.build_serialized_network(self.definition, config)
        if plan is None:
            names = ', '.join(targets)
            raise ModelError(f'TensorRT cannot compile for {names}: {"; ".join(LOG.errors)}')
        return bytes(plan)


def wrapped(plan: bytes, graph: bytes) -> bytes:
    """
    Return an engine as an ONNX model with a single node, which the provider runs.

    Source: https://onnxruntime.ai/docs/execution-providers/EP-Context-Design.html
    """
    signature = onnx.load_from_string(graph).graph
    node = onnx.helper.make_node(
        'EPContext',
        [tensor.name for tensor in signature.input],
        [tensor.name for tensor in signature.output],
        domain='com.microsoft',
        embed_mode=1,
        ep_cache_context=plan,
        main_context=1,
        partition_name=f'tdfusion_{sha256(plan).hexdigest()[:16]}',  # names the runtime cache
        source=PROVIDER,
    )
    model = onnx.helper.make_model(
        onnx.helper.make_graph([node], 'engine', signature.input, signature.output),
        opset_imports=[
            onnx.helper.make_opsetid('', 18),
            onnx.helper.make_opsetid('com.microsoft', 1),
        ],
        ir_version=10,
    )
    return model.SerializeToString()
