"""A segmenter on the features of YOLOX-Nano: in a bundle it shares them with the detector."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn
from torch import Tensor
from torch.nn import functional

from tdfusion_ros.nets.blocks import ConvNorm
from tdfusion_ros.nets.yolox import LEVELS
from tdfusion_ros.nets.yolox import Trunk
from tdfusion_ros.nets.yolox import WIDTHS

CHANNELS = 48
"""Of the head."""
STRIDE = 4
"""Of the logits."""


@dataclass(frozen=True)
class MaskHeadConfig:
    """Classes of a segmenter; stored with the weights."""

    classes: tuple[str, ...]
    """Names of the mask values, 0 first."""


@dataclass(frozen=True)
class SegmenterConfig(MaskHeadConfig):
    """Classes and input channels of a segmenter; stored with the weights."""

    inputs: int = 3
    """Channels of the image: 3; 4 for rgb and infrared, 2 for luma and infrared, 1 for luma."""


def neighbors() -> nn.Sequential:
    """Return layers that look at the neighbors of each cell."""
    mix = nn.Conv2d(CHANNELS, CHANNELS, 5, padding=2, groups=CHANNELS)
    return nn.Sequential(mix, ConvNorm(CHANNELS, CHANNELS, 1))


class MaskHead(nn.Module):
    """
    Add features from coarse to fine, and look at the neighbors of each cell in between.

    Source: Lin et al., Feature Pyramid Networks, CVPR 2017, arXiv:1612.03144. Twice at the
    coarsest level, so that a car that fills the image is one object.
    """

    def __init__(self, config: MaskHeadConfig) -> None:
        super().__init__()
        self.config = config
        self.project = nn.ModuleList(nn.Conv2d(width, CHANNELS, 1) for width in WIDTHS[1:])
        self.refine = nn.ModuleList(neighbors() for _ in self.project)
        self.widen = neighbors()
        self.classify = nn.Conv2d(CHANNELS, len(config.classes), 1)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Return logits, (B, classes, H / 4, W / 4), of :meth:`Trunk.features`."""
        levels = [p(x.float()) for p, x in zip(self.project, features, strict=True)]
        joined = self.widen(self.refine[-1](levels[-1]))
        for level, refine in zip(levels[-2::-1], list(self.refine)[-2::-1], strict=True):
            joined = refine(level + functional.interpolate(joined, None, 2.0, 'bilinear'))
        return self.classify(joined)


class Segmenter(Trunk):
    """Backbone and neck of YOLOX-Nano, and a head for masks."""

    def __init__(self, config: SegmenterConfig) -> None:
        super().__init__(config.inputs)
        self.config = config
        first, *others = (layer for layer in self.modules() if isinstance(layer, nn.Conv2d))
        for layer in (first, *others):  # no normalization: the default would fade out
            nn.init.kaiming_normal_(layer.weight, nonlinearity='relu')
        first.weight.data /= LEVELS
        self.head = MaskHead(MaskHeadConfig(config.classes))

    def forward(self, image: Tensor) -> Tensor:
        """Return logits, (B, classes, H / 4, W / 4); ``image``: as :meth:`Trunk.features`."""
        return self.head(self.features(image))


def best_class(logits: Tensor) -> Tensor:
    """
    Return the class of each pixel, (B, H, W) float32, of logits at ``STRIDE``.

    It is found for cells of two by two pixels, which takes a quarter of the time.
    """
    found = functional.interpolate(logits, None, 2.0, 'bilinear').argmax(1, keepdim=True)
    # Not from int64: TensorRT casts only floating point to uint8.
    return functional.interpolate(found.float(), None, STRIDE / 2.0, 'nearest')[:, 0]
