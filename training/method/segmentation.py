"""The loss of a segmenter."""

import torch
from torch import Tensor
from torch.nn import functional

from training.data.pair_files import IGNORE


def segmentation_loss(logits: Tensor, mask: Tensor) -> dict[str, Tensor]:
    """
    Return cross-entropy plus Lovász-Softmax, which alone learns rare classes; 0 without labels.

    :param logits: (B, C, h, w), compared with every n-th pixel of (B, n h, n w) int64, whose
        ``IGNORE`` pixels do not count.
    """
    step = mask.shape[-1] // logits.shape[-1]
    truth = mask[:, step // 2 :: step, step // 2 :: step]
    labeled = truth != IGNORE
    entropy = functional.cross_entropy(logits, truth, ignore_index=IGNORE, reduction='sum')
    overlap = overlap_loss(logits.movedim(1, -1)[labeled].softmax(-1), truth[labeled])
    return {'loss': entropy / labeled.sum().clamp(min=1) + overlap, 'overlap': overlap.detach()}


def overlap_loss(probabilities: Tensor, truth: Tensor) -> Tensor:
    """
    Return the mean of 1 - IoU of all classes that occur, in a form that is convex in the errors.

    Source: Berman et al., The Lovász-Softmax loss, CVPR 2018, arXiv:1705.08790.

    :param probabilities: (N, C); ``truth``: (N,) int64.
    """
    truths = functional.one_hot(truth, probabilities.shape[1]).to(probabilities.dtype)
    errors, order = (truths - probabilities).abs().sort(0, descending=True)
    hits = truths.gather(0, order)
    total = hits.sum(0)
    jaccard = 1 - (total - hits.cumsum(0)) / (total + (1 - hits).cumsum(0))
    weights = jaccard.diff(dim=0, prepend=torch.zeros_like(jaccard[:1]))
    occurs = total > 0
    return (errors * weights).sum(0)[occurs].sum() / occurs.sum().clamp(min=1)
