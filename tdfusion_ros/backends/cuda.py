"""Torch on an NVIDIA GPU: half precision, one CUDA graph for each size of image."""

import numpy as np

from tdfusion_ros.backends import gpu
from tdfusion_ros.backends.bundle import Bundle
from tdfusion_ros.core.data import RawOutput
from tdfusion_ros.core.errors import ConfigError
from tdfusion_ros.core.errors import ModelError

NEEDS = (
    'it needs torch built with CUDA, and safetensors: pip install torch safetensors '
    '(on a Jetson the torch wheel of its JetPack)'
)
GRAPHS = 4  # kept, each with its memory; a camera has one size


class CudaBackend:
    """
    Run the network of a bundle with torch.

    Channels last: cuDNN's half-precision convolutions want it. Whether it wins for as few channels
    as these have is not measured; it is not tried out at the start, because then the same images
    could give other results from one start to the next. No torch.compile, which is not measured
    either, and needs a compiler on the robot.
    """

    name = 'cuda'

    def __init__(self, bundle: Bundle) -> None:
        gpu.require_driver()
        try:
            import torch

            from tdfusion_ros.backends import cuda_graph as device
            from tdfusion_ros.backends import torch_network as network
        except Exception as error:  # none, or a broken one, and that may raise anything
            raise ConfigError(f'{NEEDS} ({error!r})') from error
        if not torch.cuda.is_available():
            built = torch.version.cuda
            raise ConfigError(
                f'torch {torch.__version__} sees no GPU (built for CUDA {built}); compare '
                'nvidia-smi with that'
                if built
                else f'torch {torch.__version__} was built without CUDA; {NEEDS}'
            )
        self._device = torch.device('cuda')
        model = network.to_half(network.load_network(bundle.architecture, bundle.weights()))
        try:
            model = model.to(self._device)
            order = torch.channels_last
            self._model = model.to(memory_format=order)  # type: ignore[call-overload]
            card = torch.cuda.get_device_name(self._device)
        except RuntimeError as error:
            raise ModelError(f'torch cannot take the model to the GPU: {error}') from error
        self._capture = device.Captured
        self._captured: dict[tuple[tuple[int, ...], bool], device.Captured] = {}
        self.engine = f'torch {torch.__version__} in half precision on {card}'

    def run(self, rgb: np.ndarray, ir: np.ndarray, *, fused: bool = True) -> RawOutput:
        """
        Run the network on (H, W, 3) uint8 and (H, W) float32 in [0, 1].

        :param fused: False: leave the fused image out; a graph of its own.
        :raises ModelError: if torch breaks off, as when the GPU's memory is full.
        """
        try:
            key = ir.shape, fused
            if key not in self._captured:
                if len(self._captured) == GRAPHS:
                    del self._captured[next(iter(self._captured))]
                step = self._model if fused else self._model.detect
                self._captured[key] = self._capture(step, ir.shape, self._device)
            found = self._captured[key].run(rgb, ir)
            return RawOutput(*found) if fused else RawOutput(None, *found)
        except Exception as error:  # mostly RuntimeErrors, but not from every version
            raise ModelError(f'torch cannot run the model on the GPU: {error}') from error
