"""SegFormer-B0, the segmentation network, and its loss."""

from dataclasses import dataclass
from typing import Any

from torch import nn
from torch import Tensor
from torch.nn import functional

from training.data.pair_files import IGNORE


@dataclass(frozen=True)
class SegmenterConfig:
    """Input channels and classes of the segmenter; stored with the weights."""

    classes: tuple[str, ...]
    """Names of the mask values, 0 first."""
    inputs: int = 3
    """Channels of the image: 3, or 1 (luma alone, as in the paper)."""


class Segmenter(nn.Module):
    """
    SegFormer with the MiT-B0 backbone, random weights; 3.7 million parameters.

    Source: Xie et al., NeurIPS 2021, as in the transformers library; all sizes of B0 are set here
    because its defaults may change. Needed in training only.
    """

    def __init__(self, config: SegmenterConfig) -> None:
        super().__init__()
        # Imported here because it takes seconds, and only segmentation needs it.
        from transformers import SegformerConfig
        from transformers import SegformerForSemanticSegmentation

        self.config = config
        sizes: dict[str, Any] = {
            'num_channels': config.inputs,
            'num_labels': len(config.classes),
            'depths': [2, 2, 2, 2],
            'sr_ratios': [8, 4, 2, 1],
            'hidden_sizes': [32, 64, 160, 256],
            'num_attention_heads': [1, 2, 5, 8],
            'decoder_hidden_size': 256,
            'drop_path_rate': 0.1,
            'classifier_dropout_prob': 0.1,
        }
        self.segformer = SegformerForSemanticSegmentation(SegformerConfig(**sizes))

    def forward(self, image: Tensor) -> Tensor:
        """Return logits, (B, classes, H / 4, W / 4), of (B, inputs, H, W) in [0, 1]."""
        return self.segformer(pixel_values=image).logits


def enlarge(logits: Tensor, size_hw: tuple[int, int]) -> Tensor:
    """Return logits at the size of the labels, bilinear."""
    return functional.interpolate(logits, size_hw, mode='bilinear', align_corners=False)


def segmentation_loss(logits: Tensor, mask: Tensor) -> dict[str, Tensor]:
    """
    Return the mean cross-entropy of the labeled pixels, 0 without any; no class weights.

    :param logits: (B, C, h, w), enlarged to (B, H, W) int64, whose ``IGNORE`` pixels do not count.
    """
    height, width = mask.shape[-2:]
    logits = enlarge(logits, (height, width))
    total = functional.cross_entropy(logits, mask, ignore_index=IGNORE, reduction='sum')
    return {'loss': total / (mask != IGNORE).sum().clamp(min=1)}
