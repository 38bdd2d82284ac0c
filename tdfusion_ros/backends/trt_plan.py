"""A serialized TensorRT engine for one image size, run in torch's memory and on its stream."""

import numpy as np
import tensorrt
import torch
from torch import Tensor

from tdfusion_ros.backends.cuda_graph import CapturedStep
from tdfusion_ros.core.contract import INPUTS
from tdfusion_ros.core.data import RawOutput
from tdfusion_ros.core.errors import ModelError


class PlanEngine:
    """
    A plan, with the casts from and to uint8 around it, as one CUDA graph.

    Uses only calls that TensorRT has from 8.5 to 11.

    :raises ModelError: if TensorRT cannot read or run the plan, or its tensors are not ours.
    """

    def __init__(
        self, plan: bytes, size_hw: tuple[int, int], device: str = 'cuda', *, outputs: int = 3
    ) -> None:
        self._runtime = tensorrt.Runtime(tensorrt.Logger(tensorrt.Logger.ERROR))
        engine = self._engine = self._runtime.deserialize_cuda_engine(plan)
        if engine is None:
            raise ModelError('TensorRT cannot read the engine; see its message on standard error')
        self._context = engine.create_execution_context()
        if self._context is None:
            raise ModelError('TensorRT cannot run the engine; is the memory of the GPU full?')
        names = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
        given = [f'output{i}' for i in range(outputs)]  # by Torch-TensorRT, in every version
        expected = self._names = (*INPUTS, *given)
        if sorted(names) != sorted(expected):
            raise ModelError(f'the engine must have the tensors {expected}, got {sorted(names)}')
        if any(engine.get_tensor_dtype(name) != tensorrt.float32 for name in names):
            raise ModelError('the engine has inputs or outputs that are not float32')
        self._shapes = {name: tuple(engine.get_tensor_shape(name)) for name in expected}
        self._outputs = [torch.empty(self._shapes[name], device=device) for name in given]
        self._captured = CapturedStep(self._step, size_hw, torch.device(device))

    def _step(self, rgb: Tensor, ir: Tensor, coverage: Tensor) -> tuple[Tensor, ...]:
        tensors = (rgb.to(torch.float32), ir, coverage, *self._outputs)
        for name, tensor in zip(self._names, tensors, strict=True):
            if tuple(tensor.shape) != self._shapes[name]:
                raise ModelError(
                    f'{name} of the engine is {self._shapes[name]}, expected {tuple(tensor.shape)}'
                )
            self._context.set_tensor_address(name, tensor.data_ptr())
        if not self._context.execute_async_v3(torch.cuda.current_stream().cuda_stream):
            raise ModelError('TensorRT cannot run the engine; see its message on standard error')
        fused, boxes_xyxy, scores, *masks = self._outputs
        return fused.to(torch.uint8), boxes_xyxy, scores, *(m.to(torch.uint8) for m in masks)

    def run(self, rgb: np.ndarray, ir: np.ndarray, coverage: np.ndarray, **_: bool) -> RawOutput:
        """Run on (H, W, 3) uint8 and twice (H, W) float32 in [0, 1], or raise ModelError."""
        try:
            return RawOutput(*self._captured.run(rgb, ir, coverage))
        except RuntimeError as error:  # the base of torch's errors
            raise ModelError(f'TensorRT cannot run the model: {error}') from error
