"""A small segmentation network on the backbone of YOLOX-Nano, which can hold weights of COCO."""

from dataclasses import dataclass

from torch import nn
from torch import Tensor
from torch.nn import functional

from tdfusion_ros.nets.blocks import ConvNorm
from tdfusion_ros.nets.yolox import backbone
from tdfusion_ros.nets.yolox import LEVELS
from tdfusion_ros.nets.yolox import WIDTHS

CHANNELS = 32
"""Of the decoder."""
STRIDE = 4
"""Of the logits."""


@dataclass(frozen=True)
class SegmenterConfig:
    """Input channels and classes of the segmenter; stored with the weights."""

    classes: tuple[str, ...]
    """Names of the mask values, 0 first."""
    inputs: int = 3
    """Channels of the image: 3; 4 for rgb and infrared, 2 for luma and infrared, 1 for luma."""


class Segmenter(nn.Module):
    """
    Backbone of YOLOX-Nano, and a decoder that adds its features from coarse to fine.

    Source of the decoder: Lin et al., Feature Pyramid Networks, CVPR 2017, arXiv:1612.03144.
    """

    def __init__(self, config: SegmenterConfig) -> None:
        super().__init__()
        self.config = config
        self.stem, self.stages = backbone(config.inputs)
        layers = (*self.stem.modules(), *self.stages.modules())
        first, *others = (layer for layer in layers if isinstance(layer, nn.Conv2d))
        for layer in (first, *others):  # no normalization: the default would fade out
            nn.init.kaiming_normal_(layer.weight, nonlinearity='relu')
        first.weight.data /= LEVELS
        self.project = nn.ModuleList(nn.Conv2d(width, CHANNELS, 1) for width in WIDTHS[1:])
        self.refine = nn.ModuleList(ConvNorm(CHANNELS, CHANNELS) for _ in WIDTHS[1:])
        self.classify = nn.Conv2d(CHANNELS, len(config.classes), 1)

    def forward(self, image: Tensor, white: float = 1.0) -> Tensor:
        """
        Return logits, (B, classes, H / 4, W / 4).

        :param image: (B, inputs, H, W) in [0, ``white``], R, G, B, infrared; H and W multiples
            of 32.
        """
        x, features = self.stem(image * (LEVELS / white)), []
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        levels = [project(x) for project, x in zip(self.project, features, strict=True)]
        decoded = self.refine[-1](levels[-1])
        for level, refine in zip(levels[-2::-1], list(self.refine)[-2::-1], strict=True):
            decoded = refine(level + functional.interpolate(decoded, None, 2.0, 'bilinear'))
        return self.classify(decoded)


def enlarge(logits: Tensor, size_hw: tuple[int, int]) -> Tensor:
    """Return logits at the size of the labels, bilinear."""
    return functional.interpolate(logits, size_hw, mode='bilinear', align_corners=False)
