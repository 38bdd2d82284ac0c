"""A TensorRT engine for one size, run in torch's memory and on torch's stream."""

import numpy as np
import tensorrt
import torch
from torch import Tensor

from tdfusion_ros.backends.cuda_graph import Captured
from tdfusion_ros.core.contract import INPUTS
from tdfusion_ros.core.data import RawOutput
from tdfusion_ros.core.errors import ModelError

OUTPUTS = ('output0', 'output1', 'output2')  # what Torch-TensorRT calls them, in every version


class Plan:
    """
    A serialized engine as a function of tensors on the GPU.

    Only calls that TensorRT has had since 8.5 and still has in 11 (read in Torch-TensorRT's own
    runtimes at v2.8.0 and v2.13.0). One caller at a time.
    """

    def __init__(self, content: bytes, device: torch.device) -> None:
        self._runtime = tensorrt.Runtime(tensorrt.Logger(tensorrt.Logger.ERROR))
        self._engine = self._runtime.deserialize_cuda_engine(content)
        if self._engine is None:
            raise ModelError('TensorRT cannot read the engine; its reason is on standard error')
        self._context = self._engine.create_execution_context()
        if self._context is None:
            raise ModelError('TensorRT cannot run the engine; is the memory of the GPU full?')
        names = [self._engine.get_tensor_name(i) for i in range(self._engine.num_io_tensors)]
        if sorted(names) != sorted((*INPUTS, *OUTPUTS)):
            raise ModelError(f'the engine has the tensors {sorted(names)}')
        if any(self._engine.get_tensor_dtype(name) != tensorrt.float32 for name in names):
            raise ModelError('the engine has inputs or outputs that are not float32')
        self._outputs = tuple(torch.empty(self._shape(name), device=device) for name in OUTPUTS)

    def _shape(self, name: str) -> tuple[int, ...]:
        return tuple(self._engine.get_tensor_shape(name))

    def __call__(self, rgb: Tensor, ir: Tensor) -> tuple[Tensor, ...]:
        """Run what ``network.export`` gave; the next call overwrites what this one returns."""
        tensors = (rgb, ir, *self._outputs)
        for name, tensor in zip((*INPUTS, *OUTPUTS), tensors, strict=True):
            if tuple(tensor.shape) != self._shape(name):
                raise ModelError(f'{name} of the engine is {self._shape(name)}')
            self._context.set_tensor_address(name, tensor.data_ptr())
        if not self._context.execute_async_v3(torch.cuda.current_stream().cuda_stream):
            raise ModelError('TensorRT broke off; its reason is on standard error')
        return self._outputs


class PlanEngine:
    """A plan with the casts from and to bytes around it, all of it one CUDA graph."""

    name = 'trt'

    def __init__(self, content: bytes, size_hw: tuple[int, int], device: str = 'cuda') -> None:
        plan = Plan(content, torch.device(device))

        def step(rgb: Tensor, ir: Tensor) -> tuple[Tensor, ...]:
            fused, boxes_xyxy, scores = plan(rgb.to(torch.float32), ir)
            return fused.to(torch.uint8), boxes_xyxy, scores

        self._captured = Captured(step, size_hw, torch.device(device))

    def run(self, rgb: np.ndarray, ir: np.ndarray, *, fused: bool = True) -> RawOutput:
        """
        Run on (H, W, 3) uint8 and (H, W) float32 in [0, 1].

        :raises ModelError: if TensorRT or torch breaks off.
        """
        try:
            return RawOutput(*self._captured.run(rgb, ir))
        except RuntimeError as error:  # torch's own errors are RuntimeErrors
            raise ModelError(f'TensorRT cannot run the model: {error}') from error
