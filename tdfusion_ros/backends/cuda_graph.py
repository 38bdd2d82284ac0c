"""A network at one size as a CUDA graph, with the memory on both sides of it."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

# From (H, W, 3) uint8 and (H, W) float32 on the device to what is wanted of them, there.
Step = Callable[[Tensor, Tensor], tuple[Tensor, ...]]
WARM_UPS = 3  # cuDNN chooses and TensorRT allocates at the first runs; neither may in a capture


class Captured:
    """
    Run a step by replaying its CUDA graph, on a stream of its own.

    Some 100 to 400 small kernels make launching them the cost; a replay is one launch. The graph
    reads and writes always the same memory, so inputs come through pinned buffers and results are
    copied out of them. Not measured: whether it pays here.

    Source: deploy.md 1.4, 3.1, 5; PyTorch's notes on CUDA graphs and on pinned memory.
    """

    def __init__(self, step: Step, size_hw: tuple[int, int], device: torch.device) -> None:
        self._stream = torch.cuda.Stream(device)
        # The waiting thread sleeps; one that spins would take a core from the camera drivers.
        self._done = torch.cuda.Event(blocking=True)
        self._graph = torch.cuda.CUDAGraph()
        pinned = device.type == 'cuda'
        with torch.inference_mode(), torch.cuda.stream(self._stream):
            self._sent = (
                torch.zeros(*size_hw, 3, dtype=torch.uint8, pin_memory=pinned),
                torch.zeros(*size_hw, pin_memory=pinned),
            )
            self._inputs = tuple(tensor.to(device) for tensor in self._sent)
            for _ in range(WARM_UPS):
                step(*self._inputs)
            self._stream.synchronize()
            # thread_local: what other threads do with CUDA meanwhile shall not spoil the capture.
            with torch.cuda.graph(
                self._graph, stream=self._stream, capture_error_mode='thread_local'
            ):
                self._outputs = tuple(tensor.contiguous() for tensor in step(*self._inputs))
            self._received = tuple(
                torch.zeros(tensor.shape, dtype=tensor.dtype, pin_memory=pinned)
                for tensor in self._outputs
            )

    def run(self, rgb: np.ndarray, ir: np.ndarray) -> tuple[np.ndarray, ...]:
        """Run on (H, W, 3) uint8 and (H, W) float32; the results are the caller's to keep."""
        for buffer, image in zip(self._sent, (rgb, ir), strict=True):
            np.copyto(buffer.numpy(), image)
        with torch.inference_mode(), torch.cuda.stream(self._stream):
            for there, here in zip(self._inputs, self._sent, strict=True):
                there.copy_(here, non_blocking=True)
            self._graph.replay()
            for here, there in zip(self._received, self._outputs, strict=True):
                here.copy_(there, non_blocking=True)
            self._done.record(self._stream)
        self._done.synchronize()
        return tuple(tensor.numpy().copy() for tensor in self._received)
