"""Loss of the detector: task-aligned assignment, quality focal loss, generalized IoU."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from tdfusion_ros.nets.detector import anchor_points
from tdfusion_ros.nets.detector import STRIDES

BOX_WEIGHT = 2.0
"""Of the box term of the loss."""


class Truth(NamedTuple):
    """What the labels say about a batch of images."""

    boxes_xyxy: Tensor
    """(B, G, 4) in pixels."""
    class_ids: Tensor
    """(B, G); negative: a region whose content is unknown."""
    valid: Tensor
    """(B, G) bool, False where there is no object."""
    labeled: Tensor | None = None
    """(B, C) bool: classes whose boxes are all labeled in each image; None: all."""


@dataclass(frozen=True)
class Targets:
    """The targets of each anchor point."""

    quality: Tensor
    """(B, A, C) in [0, 1]; zero is background."""
    boxes_xyxy: Tensor
    """(B, A, 4) in pixels; meaningful where ``quality`` is positive."""


def image_points(height: int, width: int, device: torch.device) -> Tensor:
    """Return the anchor points of an image, (A, 2), in the order of the detector's output."""
    return torch.cat([anchor_points((height // s, width // s), s, device) for s in STRIDES])


def _area(boxes: Tensor) -> Tensor:
    return (boxes[..., 2:] - boxes[..., :2]).clamp(min=0).prod(-1)


def pair_iou(a: Tensor, b: Tensor, generalized: bool = False) -> Tensor:
    """
    Return the IoU of boxes that broadcast against each other, (..., 4) in xyxy.

    :param generalized: subtract the empty share of the hull (Rezatofighi et al., 2019), which
        gives a gradient even if the boxes do not overlap.
    """
    left_top, right_bottom = torch.maximum(a, b)[..., :2], torch.minimum(a, b)[..., 2:]
    common = (right_bottom - left_top).clamp(min=0).prod(-1)
    union = (_area(a) + _area(b) - common).clamp(min=1e-6)
    iou = common / union
    if not generalized:
        return iou
    hull_sides = torch.maximum(a, b)[..., 2:] - torch.minimum(a, b)[..., :2]
    hull = hull_sides.clamp(min=0).prod(-1).clamp(min=1e-6)
    return iou - (hull - union) / hull


@torch.no_grad()
def assign(
    scores: Tensor,
    boxes: Tensor,
    points: Tensor,
    truth: Truth,
    *,
    top_k: int = 10,
    iou_power: float = 4.0,
) -> Targets:
    """
    Assign to every object the points inside it with the best prediction of class and box.

    :param scores: (B, A, C) probabilities. :param boxes: (B, A, 4). :param points: (A, 2).

    Source: task alignment of TOOD (Feng et al., 2021), ``t = score * IoU ** power``; targets are
    ``t`` scaled so that the target of the best point of an object is its IoU.
    """
    true_boxes, class_ids, valid = truth.boxes_xyxy, truth.class_ids.clamp(min=0), truth.valid
    batch, objects = class_ids.shape
    from_left_top = points - true_boxes[:, :, None, :2]
    to_right_bottom = true_boxes[:, :, None, 2:] - points
    inside = torch.cat((from_left_top, to_right_bottom), -1).amin(-1) > 0
    inside = inside & valid[:, :, None]
    iou = pair_iou(boxes[:, None], true_boxes[:, :, None])
    index = class_ids[:, :, None].expand(-1, -1, len(points))
    alignment = scores.transpose(1, 2).gather(1, index) * iou**iou_power + 1e-9
    best = (alignment * inside).topk(min(top_k, len(points)), -1).indices
    chosen = torch.zeros_like(inside).scatter_(-1, best, True) & inside
    # A point inside several objects belongs to the one that its box overlaps most.
    owner = torch.where(chosen, iou, -1.0).argmax(1)
    chosen = chosen & functional.one_hot(owner, objects).transpose(1, 2).bool()
    alignment, iou = alignment * chosen, iou * chosen
    peak = alignment.amax(-1, keepdim=True).clamp(min=1e-9)
    quality = (alignment / peak * iou.amax(-1, keepdim=True)).gather(1, owner[:, None])[:, 0]
    rows = torch.arange(batch, device=owner.device)[:, None]
    one_hot = functional.one_hot(class_ids[rows, owner], scores.shape[-1])
    return Targets(quality[..., None] * one_hot, true_boxes[rows, owner])


def counted(truth: Truth, points: Tensor, is_object: Tensor) -> Tensor:
    """
    Return about which scores the labels say something, (B, A, C) or (B, A, 1) bool.

    Nothing is known about the classes that a data set does not label, nor about the content of
    regions to ignore, except of the points that have an object.
    """
    left_top, right_bottom = truth.boxes_xyxy[:, :, None].split(2, -1)
    inside = ((points > left_top) & (points < right_bottom)).all(-1)
    ignored = (inside & (truth.class_ids < 0)[..., None]).any(1) & ~is_object
    return ~ignored[..., None] & (True if truth.labeled is None else truth.labeled[:, None])


def detection_loss(
    boxes: Tensor, logits: Tensor, points: Tensor, truth: Truth
) -> dict[str, Tensor]:
    """Return ``loss`` and its terms; without an object in the batch the box term is zero."""
    scores = logits.sigmoid()
    targets = assign(scores.detach(), boxes.detach(), points, truth)
    cross_entropy = functional.binary_cross_entropy_with_logits
    entropy = cross_entropy(logits, targets.quality, reduction='none')
    weight = targets.quality.sum(-1)
    total = weight.sum().clamp(min=1)
    class_losses = (targets.quality - scores).abs() ** 2 * entropy
    classes = (class_losses * counted(truth, points, weight > 0)).sum() / total
    giou = pair_iou(boxes, targets.boxes_xyxy, generalized=True)
    borders = ((1 - giou) * weight).sum() / total
    loss = classes + BOX_WEIGHT * borders
    return {'loss': loss, 'classes': classes.detach(), 'borders': borders.detach()}
