"""A TensorRT engine for one image size, run in torch's memory and on torch's stream."""

import numpy as np
import tensorrt
import torch
from torch import Tensor

from tdfusion_ros.backends.cuda_graph import CapturedStep
from tdfusion_ros.core.contract import INPUTS
from tdfusion_ros.core.data import RawOutput
from tdfusion_ros.core.errors import ModelError

OUTPUTS = ('output0', 'output1', 'output2')  # Torch-TensorRT's names, in every version
NAMES = (*INPUTS, *OUTPUTS)


class Plan:
    """
    A serialized engine as a function of float32 tensors on the GPU, for one caller at a time.

    Uses only calls that TensorRT has from 8.5 to 11.

    :raises ModelError: if TensorRT cannot read the engine, or its tensors are not ours.
    """

    def __init__(self, content: bytes, device: torch.device) -> None:
        self._runtime = tensorrt.Runtime(tensorrt.Logger(tensorrt.Logger.ERROR))
        self._engine = self._runtime.deserialize_cuda_engine(content)
        if self._engine is None:
            raise ModelError('TensorRT cannot read the engine; see its message on standard error')
        self._context = self._engine.create_execution_context()
        if self._context is None:
            raise ModelError('TensorRT cannot run the engine; is the memory of the GPU full?')
        names = [self._engine.get_tensor_name(i) for i in range(self._engine.num_io_tensors)]
        if sorted(names) != sorted(NAMES):
            raise ModelError(f'the engine must have the tensors {NAMES}, got {sorted(names)}')
        if any(self._engine.get_tensor_dtype(name) != tensorrt.float32 for name in names):
            raise ModelError('the engine has inputs or outputs that are not float32')
        self._shapes = {name: tuple(self._engine.get_tensor_shape(name)) for name in NAMES}
        self._outputs = tuple(torch.empty(self._shapes[name], device=device) for name in OUTPUTS)

    def __call__(self, rgb: Tensor, ir: Tensor) -> tuple[Tensor, ...]:
        """
        Run the graph that ``torch_network.export`` returned; the next call overwrites the result.

        :raises ModelError: if an input has another shape, or TensorRT fails.
        """
        for name, tensor in zip(NAMES, (rgb, ir, *self._outputs), strict=True):
            if tuple(tensor.shape) != self._shapes[name]:
                raise ModelError(
                    f'{name} of the engine is {self._shapes[name]}, got {tuple(tensor.shape)}'
                )
            self._context.set_tensor_address(name, tensor.data_ptr())
        if not self._context.execute_async_v3(torch.cuda.current_stream().cuda_stream):
            raise ModelError('TensorRT cannot run the engine; see its message on standard error')
        return self._outputs


class PlanEngine:
    """A plan, with the casts from and to uint8 around it, as one CUDA graph."""

    name = 'trt'

    def __init__(self, content: bytes, size_hw: tuple[int, int], device: str = 'cuda') -> None:
        plan = Plan(content, torch.device(device))

        def step(rgb: Tensor, ir: Tensor) -> tuple[Tensor, ...]:
            fused, boxes_xyxy, scores = plan(rgb.to(torch.float32), ir)
            return fused.to(torch.uint8), boxes_xyxy, scores

        self._captured = CapturedStep(step, size_hw, torch.device(device))

    def run(self, rgb: np.ndarray, ir: np.ndarray, *, fused: bool = True) -> RawOutput:
        """
        Run on (H, W, 3) uint8 and (H, W) float32 in [0, 1].

        :raises ModelError: if TensorRT or torch fails.
        """
        try:
            return RawOutput(*self._captured.run(rgb, ir))
        except RuntimeError as error:  # the base of torch's errors
            raise ModelError(f'TensorRT cannot run the model: {error}') from error
