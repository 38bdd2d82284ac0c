"""Torch on an NVIDIA GPU: half precision, one CUDA graph per image size."""

from functools import partial
from typing import Any

import numpy as np

from tdfusion_ros.backends import gpu
from tdfusion_ros.backends.bundle import Bundle
from tdfusion_ros.backends.ort_gpu import CudaEngine
from tdfusion_ros.core.data import RawOutput
from tdfusion_ros.core.errors import ConfigError
from tdfusion_ros.core.errors import ModelError

NEEDS = (
    'it needs torch built with CUDA, and safetensors: pip install torch safetensors '
    '(on a Jetson the torch wheel of its JetPack)'
)
MAX_GRAPHS = 4  # each has its own memory; a camera has one size


def open_cuda(bundle: Bundle) -> 'CudaBackend | CudaEngine':
    """Return a backend with torch, or with ONNX Runtime for a bundle that is ONNX only."""
    return CudaBackend(bundle) if bundle.architecture else CudaEngine(bundle.engine_graph)


class CudaBackend:
    """
    Run the network of a bundle with torch.

    The layout is not chosen by a trial at startup, because then the results could differ from one
    start to the next. No torch.compile: it needs a compiler on the robot.

    :raises ConfigError: if there is no driver, no torch, or no GPU that torch can use.
    :raises ModelError: if the network cannot be built or moved to the GPU.
    """

    name = 'cuda'

    def __init__(self, bundle: Bundle) -> None:
        gpu.require_driver()
        try:
            import torch

            from tdfusion_ros.backends import cuda_graph
            from tdfusion_ros.backends import torch_network as network
        except Exception as error:  # a broken installation may raise anything
            raise ConfigError(f'{NEEDS} ({error!r})') from error
        if not torch.cuda.is_available():
            raise ConfigError(
                f'torch {torch.__version__} was built for CUDA {torch.version.cuda} and finds no '
                f'GPU; compare that version with nvidia-smi; {NEEDS}'
            )
        self._device = torch.device('cuda')
        model = network.to_half(network.load_network(bundle.architecture, bundle.weights()))
        try:
            self._model = network.lay_out(model.to(self._device))
            card = torch.cuda.get_device_name(self._device)
        except RuntimeError as error:
            raise ModelError(f'torch cannot move the model to the GPU: {error}') from error
        self._capture = cuda_graph.CapturedStep
        self._captured: dict[tuple[tuple[int, ...], bool, bool], cuda_graph.CapturedStep] = {}
        self._has_masks = model.mask_head is not None
        self.engine = f'torch {torch.__version__} in half precision on {card}'

    def run(
        self,
        rgb: np.ndarray,
        ir: np.ndarray,
        coverage: np.ndarray,
        *,
        fused: bool = True,
        segmentation: bool = True,
    ) -> RawOutput:
        """Run on (H, W, 3) uint8 and twice (H, W) float32 in [0, 1]; ModelError if torch fails."""
        key = ir.shape, fused, segmentation and self._has_masks
        try:
            if key not in self._captured:
                if len(self._captured) == MAX_GRAPHS:
                    del self._captured[next(iter(self._captured))]
                whole: Any = partial(self._model, segmentation=key[2])
                step = whole if any(key[1:]) else self._model.detect
                self._captured[key] = self._capture(step, ir.shape, self._device)
            outputs = self._captured[key].run(rgb, ir, coverage)
            return RawOutput(*outputs) if any(key[1:]) else RawOutput(None, *outputs)
        except Exception as error:  # mostly RuntimeError, but not in every version
            raise ModelError(f'torch cannot run the model on the GPU: {error}') from error
