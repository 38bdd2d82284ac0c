"""Combine the gradients of several tasks into one; the rows of ``gradients`` are the tasks."""

from collections.abc import Callable
from collections.abc import Sequence

import torch
from torch import Tensor

Combine = Callable[[Tensor], Tensor]
"""(T, N), a gradient for each task, to (N,)."""


def total(gradients: Tensor) -> Tensor:
    """Return the sum: the gradient of the sum of the losses; the largest gradient dominates."""
    return gradients.sum(0)


def normalized(gradients: Tensor) -> Tensor:
    """Return the sum of the gradients at unit norm: every task has the same weight."""
    return (gradients / gradients.norm(dim=1, keepdim=True).clamp(min=1e-30)).sum(0)


def pcgrad(gradients: Tensor) -> Tensor:
    """
    Return the sum after removing from each gradient its components against the others.

    Source: Yu et al., Gradient Surgery for Multi-Task Learning, NeurIPS 2020; in a fixed order,
    not a random one, which makes no difference for two tasks.
    """
    result = torch.zeros_like(gradients[0])
    for index, own in enumerate(gradients):
        for other in (*gradients[:index], *gradients[index + 1 :]):
            against = (own @ other).clamp(max=0)
            own = own - against / other.square().sum().clamp(min=1e-30) * other
        result = result + own
    return result


COMBINE: dict[str, Combine] = {'sum': total, 'normalized': normalized, 'pcgrad': pcgrad}


def combined(gradients: Sequence[Sequence[Tensor]], how: str) -> list[Tensor]:
    """Return one gradient of the tasks' lists of tensors; that of a single task is unchanged."""
    first = gradients[0]
    if len(gradients) == 1:
        return list(first)
    flat = torch.stack([torch.cat([g.flatten() for g in gradient]) for gradient in gradients])
    parts = COMBINE[how](flat).split([g.numel() for g in first])
    return [part.view_as(g) for part, g in zip(parts, first, strict=True)]
