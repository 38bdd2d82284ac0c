"""
The meta gradient: how to change the loss generator G so that the task loss falls.

Bai et al., Task-driven Image Fusion with Learnable Fusion Loss, CVPR 2025. For luma y, infrared
ir, the fused image f = F_theta(y, ir) and the loss weight w = G_phi(y, ir) of infrared:

    theta' = theta - P grad_theta L_f(f; w)     inner update: F on the generated fusion loss
    phi <- phi - lr grad_phi L_t(F_theta')      outer update: G on the task loss of the updated F

P is the constant, diagonal preconditioner of F's optimizer. As w enters L_f only in the intensity
term, grad_phi has a closed form without second derivatives:

    v = grad_theta' L_t                         one backward pass through T and F
    u = d/de F_(theta + e P v)(y, ir), e = 0    one forward-mode pass: how the fused pixels move
    S = 2 mean[(w (f - ir) + (1 - w)(f - y)) u]
    grad_phi L_t = -grad_phi S                  one backward pass through G

This project adds a prior. With the setting ``prior_strength`` above 0, S is replaced by

    S / rms[(y - ir) u / 2] - prior_strength / 2 mean[logit(w)^2]

The meta gradients change nothing in place: F, G, the task networks and the optimizers stay as
they are.
"""

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence
from contextlib import contextmanager

import torch
from torch import nn
from torch import Tensor
from torch.func import functional_call
from torch.func import jvp

from training.config import LearnedTask
from training.distributed import average
from training.distributed import world_size
from training.method.combine import combined
from training.method.losses import fusion_loss
from training.method.losses import Pair
from training.method.losses import sources_of

Params = dict[str, Tensor]
Fuse = Callable[..., Tensor]
TaskLoss = Callable[[Fuse], Tensor]
"""Fuses its own pairs with the given function and returns the task loss L_t, a scalar."""
Motion = tuple[Tensor, Tensor]
"""The fused image f and its motion u, (B, 1, H, W) each."""
MetaGradient = tuple[Params, list[float]]
"""The gradient for G, and the loss of each task after the inner update."""


@contextmanager
def in_float32() -> Iterator[None]:
    """Switch autocast off: these gradients are tiny, and bfloat16 has three digits."""
    with torch.autocast('cpu', enabled=False), torch.autocast('cuda', enabled=False):
        yield


@in_float32()
def meta_gradient(
    fusion: nn.Module,
    loss_net: nn.Module,
    pairs: Sequence[Pair],
    task_losses: Sequence[TaskLoss],
    *,
    precondition: Params,
    config: LearnedTask,
) -> MetaGradient:
    """
    Return the gradient of the task losses after an inner update, for the parameters of G.

    :param fusion: F, without buffers that a forward pass changes.
    :param pairs: a batch for each step of the inner update; with more than one, the path of theta
        is treated as constant (truncation).
    :param precondition: P: the factor of each gradient of F, by parameter name.
    """
    theta = {name: p.detach() for name, p in fusion.named_parameters()}
    path = []
    for pair in pairs:
        path.append(theta)
        with torch.no_grad():
            weight = loss_net(*sources_of(pair))
        theta = inner_update(fusion, theta, pair, weight, precondition=precondition, config=config)
    updated = {name: p.requires_grad_() for name, p in theta.items()}
    losses, gradients = [], []
    for task_loss in task_losses:
        loss = task_loss(lambda *pair: functional_call(fusion, updated, pair))
        gradients.append(average(torch.autograd.grad(loss, list(updated.values()))))
        losses.append(loss.item())
    v = combined(gradients, config.combine)
    direction = {name: precondition[name] * g for name, g in zip(updated, v, strict=True)}
    motions = (
        fused_motion(fusion, theta, direction, pair, central_difference=config.central_difference)
        for pair, theta in zip(pairs, path, strict=True)
    )
    return gradient_of_motions(loss_net, zip(pairs, motions, strict=True), config), losses


@in_float32()
def pixel_gradient(
    fusion: nn.Module, loss_net: nn.Module, task_losses: Sequence[TaskLoss], config: LearnedTask
) -> MetaGradient:
    """
    Return the gradient for G if F could move each pixel freely: a cheap baseline.

    There is no inner update; the fused image itself moves against the gradient of the tasks.

    :param task_losses: must fuse the same images, so that their gradients can be combined.
    """
    seen: list[tuple[Pair, Tensor]] = []

    def fuse(*pair: Tensor) -> Tensor:
        with torch.no_grad():
            fused = fusion(*pair)
        seen.append((pair, fused.requires_grad_()))
        return fused

    losses, gradients = [], []
    for task_loss in task_losses:
        seen.clear()
        loss = task_loss(fuse)
        gradients.append(torch.autograd.grad(loss, [fused for _, fused in seen]))
        losses.append(loss.item())
    # The loss is a mean over the rows of this process: scale it to the whole batch.
    motions = [
        (pair, (fused.detach(), u / world_size()))
        for (pair, fused), u in zip(seen, combined(gradients, config.combine), strict=True)
    ]
    return gradient_of_motions(loss_net, motions, config), losses


def inner_update(
    fusion: nn.Module,
    theta: Params,
    pair: Pair,
    weight_ir: Tensor,
    *,
    precondition: Params,
    config: LearnedTask,
) -> Params:
    """Return theta' = theta - P grad_theta L_f: F's parameters after a step on the fusion loss."""
    leaves = {name: p.detach().requires_grad_() for name, p in theta.items()}
    fused = functional_call(fusion, leaves, pair)
    losses = fusion_loss(
        fused, *sources_of(pair), weight_ir, config.gradient_weight, squared=config.squared
    )
    gradients = average(torch.autograd.grad(losses['loss'], list(leaves.values())))
    return {
        name: (p - precondition[name] * g).detach()
        for (name, p), g in zip(leaves.items(), gradients, strict=True)
    }


@torch.no_grad()
def fused_motion(
    fusion: nn.Module, theta: Params, direction: Params, pair: Pair, *, central_difference: bool
) -> Motion:
    """
    Return the fused image and how it moves when theta moves along ``direction``.

    :param central_difference: instead of forward-mode differentiation.
    :returns: f and u = d/de F_(theta + e direction) at e = 0.
    """

    def fuse(parameters: Params) -> Tensor:
        return functional_call(fusion, parameters, pair)

    if not central_difference:
        fused, u = jvp(fuse, (theta,), (direction,))[:2]
        return fused, u
    # Small against theta, large against rounding: relative error about 1 %.
    length = torch.stack([d.square().sum() for d in direction.values()]).sum().sqrt()
    epsilon = 1e-2 / length.clamp(min=1e-30)
    ahead, behind = (
        fuse({name: p + sign * epsilon * direction[name] for name, p in theta.items()})
        for sign in (1, -1)
    )
    return fuse(theta), (ahead - behind) / (2 * epsilon)


def gradient_of_motions(
    loss_net: nn.Module, motions: Iterable[tuple[Pair, Motion]], config: LearnedTask
) -> Params:
    """Return -grad_phi S, summed over batches with the motion of their fused images."""
    result = {name: torch.zeros_like(p) for name, p in loss_net.named_parameters()}
    for pair, motion in motions:
        s = s_objective(loss_net(*sources_of(pair)), pair, motion, config)
        gradients = average(torch.autograd.grad(s, list(loss_net.parameters())))
        for name, gradient in zip(result, gradients, strict=True):
            result[name] -= gradient
    return result


def s_objective(w: Tensor, pair: Pair, motion: Motion, config: LearnedTask) -> Tensor:
    """
    Return S, the change of the intensity term along the motion, a scalar.

    With ``prior_strength``, S is divided by the root mean square of its slope in logit(w) at
    w = 1/2, and a quadratic prior on logit(w) is subtracted. Without the prior, w runs into 0 or 1
    in the whole image, because the slightest mean of u decides. With it, only pixels that matter
    to the task leave 1/2, and always in the same direction.
    """
    (luma, ir), (fused, u) = sources_of(pair), motion
    w_ir, w_luma = w, 1 - w
    if config.squared:
        w_ir, w_luma = w_ir.square(), w_luma.square()
    s = 2 * ((w_ir * (fused - ir) + w_luma * (fused - luma)) * u).mean()
    if config.prior_strength:
        slope = average([((luma - ir) * u / 2).square().mean()])[0].sqrt()
        s = s / slope.clamp(min=1e-30) - config.prior_strength * w.logit(1e-6).square().mean() / 2
    return s


def constant_preconditioner(fusion: nn.Module, lr: float) -> Params:
    """Return P of plain gradient descent, as in the paper."""
    return {name: torch.full_like(p, lr) for name, p in fusion.named_parameters()}


def adam_preconditioner(fusion: nn.Module, optimizer: torch.optim.Optimizer) -> Params:
    """
    Return P of the next step of F's own Adam, treated as constant.

    The inner update is then as long as the real steps of F; plain descent is 500 times shorter.
    """
    factors = {}
    groups = {p: group for group in optimizer.param_groups for p in group['params']}
    for name, p in fusion.named_parameters():
        group, state = groups[p], optimizer.state.get(p, {})
        if not state:
            raise ValueError('F must take a step before its optimizer has a preconditioner')
        variance = state['exp_avg_sq'] / (1 - group['betas'][1] ** float(state['step']))
        factors[name] = group['lr'] / (variance.sqrt() + group['eps'])
    return factors


@torch.no_grad()
def normalized_sgd_step(loss_net: nn.Module, gradient: Params, lr: float) -> None:
    """Change G in place as the released code does: descend the gradient over its largest entry."""
    largest = torch.stack([g.abs().max() for g in gradient.values()]).max().clamp(min=1e-30)
    for name, p in loss_net.named_parameters():
        p.sub_(lr * gradient[name] / largest)
