"""The loss of a segmenter."""

from torch import Tensor
from torch.nn import functional

from tdfusion_ros.nets.segmenter import enlarge
from training.data.pair_files import IGNORE


def segmentation_loss(logits: Tensor, mask: Tensor) -> dict[str, Tensor]:
    """
    Return the mean cross-entropy of the labeled pixels, 0 without any; no class weights.

    :param logits: (B, C, h, w), enlarged to (B, H, W) int64, whose ``IGNORE`` pixels do not count.
    """
    height, width = mask.shape[-2:]
    logits = enlarge(logits, (height, width))
    total = functional.cross_entropy(logits, mask, ignore_index=IGNORE, reduction='sum')
    return {'loss': total / (mask != IGNORE).sum().clamp(min=1)}
