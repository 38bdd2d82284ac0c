"""
The meta gradient: how to change the loss generator G so that the task loss falls.

Bai et al., Task-driven Image Fusion with Learnable Fusion Loss, CVPR 2025. For luma y, infrared
ir, the fused image f = F_theta(y, ir) and a fusion loss L_f of the fused pixels whose maps are the
output of G_phi(y, ir):

    theta' = theta - P grad_theta L_f(f; phi)   inner update: F on the generated fusion loss
    phi <- phi - lr grad_phi L_t(F_theta')      outer update: G on the task loss of the updated F

P is the constant, diagonal preconditioner of F's optimizer. As phi enters through the slopes of
L_f at the fused pixels, grad_phi has a closed form without second derivatives of any network:

    v = grad_theta' L_t                         one backward pass through T and F
    u = d/de F_(theta + e P v)(y, ir), e = 0    one forward-mode pass: how the fused pixels move
    S = <dL_f / df (f; phi), u>
    grad_phi L_t = -grad_phi S                  one backward pass through G

With the method ``pixel`` there is no inner update: u = dL_t / df, as if F could move each pixel.
This project adds a prior. With the setting ``prior_strength`` above 0, S is replaced by

    mean[s u] - prior_strength / 2 mean[(s - s_fixed)^2],    s = N dL_f / df (f; phi)

N is the number of pixels. With ``pixel``, u = N dL_t / df: the generated slopes approach the
slopes of the fixed loss plus alpha times the task loss, alpha = 1 / prior_strength, so that F
learns what a direct training on that sum would teach it. With an inner update, u is scaled to
unit mean square.

The meta gradients change nothing in place: F, G, the task networks and the optimizers stay as
they are.
"""

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence
from contextlib import contextmanager
from functools import partial

import torch
from torch import nn
from torch import Tensor
from torch.func import functional_call
from torch.func import jvp
from torch.nn import functional

from training.config import LearnedTask
from training.method.loss_net import LossNet
from training.method.losses import Pair
from training.method.losses import Sources
from training.method.losses import sources_of

Params = dict[str, Tensor]
Fuse = Callable[..., Tensor]
TaskLoss = Callable[[Fuse], Tensor]
"""Fuses its own pairs with the given function and returns the task loss L_t, a scalar."""
Motion = tuple[Tensor, Tensor]
"""The fused image f and its motion u, (B, 1, H, W) each."""
MetaGradient = tuple[Params, list[Tensor]]
"""The gradient for G, and the loss of each task after the inner update."""


@contextmanager
def in_float32() -> Iterator[None]:
    """Switch autocast off: these gradients are tiny, and bfloat16 has three digits."""
    with torch.autocast('cpu', enabled=False), torch.autocast('cuda', enabled=False):
        yield


@in_float32()
def meta_gradient(
    fusion: nn.Module,
    loss_net: LossNet,
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
        gradients = fusion_gradients(fusion, theta, loss_net, pair, config.gradient_weight)
        theta = {name: p - precondition[name] * gradients[name] for name, p in theta.items()}
    updated = {name: p.requires_grad_() for name, p in theta.items()}
    losses, found = [], []
    for task_loss in task_losses:
        loss = task_loss(lambda *pair: functional_call(fusion, updated, pair))
        found.append(torch.autograd.grad(loss, list(updated.values())))
        losses.append(loss.detach())  # not item(), which would wait for the device
    v = combined(found, config.combine)
    direction = {name: precondition[name] * g for name, g in zip(updated, v, strict=True)}
    motions = (
        fused_motion(fusion, before, direction, pair, config)
        for pair, before in zip(pairs, path, strict=True)
    )
    return gradient_of_motions(loss_net, zip(pairs, motions, strict=True), config), losses


@in_float32()
def pixel_gradient(
    fusion: nn.Module, loss_net: LossNet, task_losses: Sequence[TaskLoss], config: LearnedTask
) -> MetaGradient:
    """
    Return the gradient for G if F could move each pixel freely: a cheap baseline.

    There is no inner update; the fused image itself moves against the gradient of the tasks, which
    must fuse the same images, so that their gradients can be combined.
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
        losses.append(loss.detach())  # not item(), which would wait for the device
    motions = [
        (pair, (fused.detach(), u * u.numel()))
        for (pair, fused), u in zip(seen, combined(gradients, config.combine), strict=True)
    ]
    return gradient_of_motions(loss_net, motions, config), losses


def fusion_gradients(
    fusion: nn.Module, theta: Params, loss_net: LossNet, pair: Pair, gradient_weight: float
) -> Params:
    """Return grad_theta L_f, the gradient of the generated fusion loss, by parameter name."""
    leaves = {name: p.detach().requires_grad_() for name, p in theta.items()}
    with torch.no_grad():
        maps = loss_net(*sources_of(pair))
    fused = functional_call(fusion, leaves, pair)
    loss = loss_net.loss(fused, sources_of(pair), maps, gradient_weight)['loss']
    gradients = torch.autograd.grad(loss, list(leaves.values()))
    return dict(zip(leaves, gradients, strict=True))


@torch.no_grad()
def fused_motion(
    fusion: nn.Module, theta: Params, direction: Params, pair: Pair, config: LearnedTask
) -> Motion:
    """Return f and u = d/de F_(theta + e direction) at e = 0: how the fused image moves."""
    run = partial(functional_call, fusion, args=pair)
    fused, u = jvp(run, (theta,), (direction,))[:2]
    if config.prior_strength:  # to be weighed against it
        u = u / u.square().mean().sqrt().clamp(min=1e-30)
    return fused, u


def gradient_of_motions(
    loss_net: LossNet, motions: Iterable[tuple[Pair, Motion]], config: LearnedTask
) -> Params:
    """Return -grad_phi S, summed over batches with the motion of their fused images."""
    result = {name: torch.zeros_like(p) for name, p in loss_net.named_parameters()}
    for pair, motion in motions:
        s = s_objective(loss_net, sources_of(pair), motion, config)
        gradients = torch.autograd.grad(s, list(loss_net.parameters()))
        for name, gradient in zip(result, gradients, strict=True):
            result[name] -= gradient
    return result


def s_objective(
    loss_net: LossNet, sources: Sources, motion: Motion, config: LearnedTask
) -> Tensor:
    """
    Return S, the change of the generated loss along the motion, a scalar.

    With ``prior_strength``, a quadratic prior on the difference from the slopes of the fixed loss
    is subtracted. Without it, the maps run away, because the slightest mean of u decides.
    """
    fused, u = motion
    fused = fused.detach().requires_grad_()

    def slope(maps: Tensor) -> Tensor:
        """Return the derivative by each fused pixel, whatever the number of pixels."""
        loss = loss_net.loss(fused, sources, maps, config.gradient_weight)['loss']
        return torch.autograd.grad(loss, fused, create_graph=True)[0] * fused.numel()

    generated = slope(loss_net(*sources))
    s = (generated * u).mean()
    if config.prior_strength:
        change = generated - slope(loss_net.fixed_maps(sources[0])).detach()
        s = s - config.prior_strength / 2 * change.square().mean()
    return s


def agreement(gradient: Params, earlier: Params) -> Tensor:
    """Return the cosine between a meta gradient and the mean of earlier ones, a scalar."""
    new, old = (torch.cat([g.flatten() for g in one.values()]) for one in (gradient, earlier))
    return functional.cosine_similarity(new, old, dim=0)


def constant_preconditioner(fusion: nn.Module, lr: float) -> Params:
    """Return P of plain gradient descent, as in the paper."""
    return {name: torch.full_like(p, lr) for name, p in fusion.named_parameters()}


def adam_preconditioner(fusion: nn.Module, optimizer: torch.optim.Optimizer) -> Params:
    """
    Return P of the next step of F's own Adam, which took one before; treated as constant.

    The inner update is then as long as the real steps of F; plain descent is 500 times shorter.
    """
    factors = {}
    groups = {p: group for group in optimizer.param_groups for p in group['params']}
    for name, p in fusion.named_parameters():
        group, state = groups[p], optimizer.state[p]
        variance = state['exp_avg_sq'] / (1 - group['betas'][1] ** state['step'].double())
        # Of a parameter that is one number, the variance is float64 by now.
        factors[name] = (group['lr'] / (variance.sqrt() + group['eps'])).to(p.dtype)
    return factors


def combined(gradients: Sequence[Sequence[Tensor]], how: str) -> list[Tensor]:
    """
    Return one gradient of one or two tasks, each a list of tensors.

    :param how: ``sum``, in which the largest gradient dominates; ``normalized``: of gradients of
        unit norm; ``pcgrad``: of gradients without their component against the other (Yu et al.,
        Gradient Surgery for Multi-Task Learning, NeurIPS 2020).
    """
    first = gradients[0]
    if len(gradients) == 1:
        return list(first)
    flat = torch.stack([torch.cat([g.flatten() for g in gradient]) for gradient in gradients])
    if how == 'normalized':
        flat = flat / flat.norm(dim=1, keepdim=True).clamp(min=1e-30)
    elif how == 'pcgrad':
        against, others = (flat[0] @ flat[1]).clamp(max=0), flat.flip(0)
        flat = flat - against / others.square().sum(1, keepdim=True).clamp(min=1e-30) * others
    parts = flat.sum(0).split([g.numel() for g in first])
    return [part.view_as(g) for part, g in zip(parts, first, strict=True)]
