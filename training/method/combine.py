"""How the gradients of several tasks become one; the rows of ``gradients`` are the tasks."""

from collections.abc import Callable
from collections.abc import Sequence

import torch
from torch import Tensor

Combine = Callable[[Tensor], Tensor]
"""(T, N), a gradient for each task, to (N,)."""


def total(gradients: Tensor) -> Tensor:
    """Return the sum: the gradient of the sum of the losses, which the largest one rules."""
    return gradients.sum(0)


def normalized(gradients: Tensor) -> Tensor:
    """Return the sum of the gradients at unit norm: every task has the same say."""
    return (gradients / gradients.norm(dim=1, keepdim=True).clamp(min=1e-30)).sum(0)


def pcgrad(gradients: Tensor) -> Tensor:
    """
    Return the sum after each gradient lost what points against another one.

    Source: Yu et al., Gradient Surgery for Multi-Task Learning, NeurIPS 2020; the others are
    taken in their order, not in a random one, which is the same for two tasks.
    """
    result = torch.zeros_like(gradients[0])
    for index, own in enumerate(gradients):
        for other in (*gradients[:index], *gradients[index + 1 :]):
            against = (own @ other).clamp(max=0)
            own = own - against / other.square().sum().clamp(min=1e-30) * other
        result = result + own
    return result


def combined(gradients: Sequence[Sequence[Tensor]], combine: Combine) -> list[Tensor]:
    """
    Return one gradient for those of all tasks; that of a single task stays as it is.

    :param gradients: for each task a list of tensors; the shapes are the same for all tasks.
    """
    first = gradients[0]
    if len(gradients) == 1:
        return list(first)
    flat = torch.stack([torch.cat([g.flatten() for g in gradient]) for gradient in gradients])
    parts = combine(flat).split([g.numel() for g in first])
    return [part.view_as(g) for part, g in zip(parts, first, strict=True)]
