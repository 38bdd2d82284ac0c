"""A network for one image size as a CUDA graph, with its buffers on host and device."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

# Of (H, W, 3) uint8 and twice (H, W) float32 on the device; returns tensors there.
Step = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, ...]]
WARM_UPS = 3  # cuDNN selects kernels and TensorRT allocates in the first runs; no capture may


class CapturedStep:
    """
    Run a step by replaying its CUDA graph, on a stream of its own.

    Launching 100 to 400 small kernels would dominate; a replay is one launch. A graph always uses
    the same memory, so inputs and outputs are copied through pinned buffers.

    Source: PyTorch's notes on CUDA graphs and on pinned memory.
    """

    def __init__(self, step: Step, size_hw: tuple[int, int], device: torch.device) -> None:
        self._stream = torch.cuda.Stream(device)
        # The waiting thread sleeps; spinning would take a core from the camera drivers.
        self._done = torch.cuda.Event(blocking=True)
        self._graph = torch.cuda.CUDAGraph()
        self._coverage: np.ndarray | None = None  # the one on the device, if it cannot change
        self._pinned = pinned = device.type == 'cuda'
        # TF32 has as few bits as half precision: what is float32 is so on purpose.
        exact = torch.backends.cudnn.flags(enabled=True, allow_tf32=False)
        with torch.inference_mode(), torch.cuda.stream(self._stream), exact:
            self._host_inputs = (
                torch.zeros(*size_hw, 3, dtype=torch.uint8, pin_memory=pinned),
                torch.zeros(*size_hw, pin_memory=pinned),
                torch.zeros(*size_hw, pin_memory=pinned),
            )
            self._inputs = tuple(tensor.to(device) for tensor in self._host_inputs)
            for _ in range(WARM_UPS):
                step(*self._inputs)
            self._stream.synchronize()
            # thread_local: other threads may use CUDA during the capture.
            with torch.cuda.graph(
                self._graph, stream=self._stream, capture_error_mode='thread_local'
            ):
                self._outputs = tuple(tensor.contiguous() for tensor in step(*self._inputs))

    def run(self, rgb: np.ndarray, ir: np.ndarray, coverage: np.ndarray) -> tuple[np.ndarray, ...]:
        """Run on (H, W, 3) uint8 and twice (H, W) float32; return new arrays."""
        images = list(zip((rgb, ir, coverage), self._host_inputs, self._inputs, strict=True))
        if coverage is self._coverage:
            images.pop()  # it does not change while the geometry stays, so it is there already
        # A reference keeps the array alive, so that no other one gets its identity.
        self._coverage = None if coverage.flags.writeable else coverage
        for image, here, _ in images:
            np.copyto(here.numpy(), image)
        with torch.inference_mode(), torch.cuda.stream(self._stream):
            for _, here, there in images:
                there.copy_(here, non_blocking=True)
            self._graph.replay()
            # New pinned memory, which the caller gets without a further copy; torch keeps what was
            # freed for the next frames.
            outputs = [
                torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=self._pinned)
                for tensor in self._outputs
            ]
            for here, there in zip(outputs, self._outputs, strict=True):
                here.copy_(there, non_blocking=True)
            self._done.record(self._stream)
        self._done.synchronize()
        return tuple(tensor.numpy() for tensor in outputs)
