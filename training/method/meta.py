"""
The meta-step: how the weights of the fusion loss must change so that the task's loss falls.

G proposes w; the fusion network F takes K steps on the fusion loss under w; the task judges the F
that results. As w enters the loss only through its intensity term, the gradient of the task's loss
with respect to G needs no second derivatives (design notes in the README, "The learned loss"):

    theta' = theta - P * grad_theta L_f          the look-ahead; P is constant and diagonal
    v      = grad_theta' L_t                     one backward pass through task and F; the v of
                                                 several tasks are combined into one
    u      = d/de F_(theta + e P v)(x)  at 0     one forward-mode pass: how the fused pixels move
    S      = 2 mean[(w (f - ir) + (1 - w)(f - y)) u]
    grad_phi L_t = -grad_phi S                   one backward pass through G alone

Nothing is changed in place: F, the tasks and their optimizers are as before when this returns.
"""

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn
from torch import Tensor
from torch.func import functional_call
from torch.func import jvp

from training.distributed import average
from training.distributed import world_size
from training.method.combine import Combine
from training.method.combine import combined
from training.method.combine import total
from training.method.losses import fusion_loss

Params = dict[str, Tensor]
Pair = tuple[Tensor, Tensor]
"""luma and infrared, (B, 1, H, W) each."""
Fuse = Callable[[Tensor, Tensor], Tensor]
TaskLoss = Callable[[Fuse], Tensor]
"""Fuses its own images with what it is given and returns the task's loss, a scalar."""


@dataclass(frozen=True)
class MetaConfig:
    """The form of the loss and how its derivative is taken."""

    squared: bool = False
    """False: weights enter the loss as in the paper; True: squared, as in the released code."""
    gradient_weight: float = 1.0
    """Weight of the gradient term, which does not depend on w."""
    difference: bool = False
    """True: central difference instead of forward-mode differentiation."""
    pull: float = 0.0
    """Strength of the pull of w towards 1/2; 0 gives the meta-gradient as it is."""
    combine: Combine = total
    """How the gradients of several tasks become one."""


@dataclass(frozen=True)
class MetaGradient:
    """The gradient for G, and what it was taken from."""

    gradient: Params
    task_losses: tuple[float, ...]
    """The loss of each task after the look-ahead."""


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
    config: MetaConfig,
) -> MetaGradient:
    """
    Return the gradient of the tasks' losses, after one step of F per pair, for G's parameters.

    :param fusion: F, without buffers that a forward pass changes.
    :param pairs: K batches; for K > 1 the path of theta counts as constant (truncation).
    :param precondition: by parameter name of F, the factor of its gradient in a step.
    """
    theta = {name: p.detach() for name, p in fusion.named_parameters()}
    path = []
    for pair in pairs:
        path.append(theta)
        with torch.no_grad():
            weight = loss_net(*pair)
        theta = look_ahead(fusion, theta, pair, weight, precondition=precondition, config=config)
    leaves = {name: p.requires_grad_() for name, p in theta.items()}
    losses, gradients = [], []
    for task_loss in task_losses:
        loss = task_loss(lambda luma, ir: functional_call(fusion, leaves, (luma, ir)))
        gradients.append(average(torch.autograd.grad(loss, list(leaves.values()))))
        losses.append(loss.item())
    v = combined(gradients, config.combine)
    steps = {name: precondition[name] * value for name, value in zip(leaves, v, strict=True)}
    result = {name: torch.zeros_like(p) for name, p in loss_net.named_parameters()}
    for pair, theta in zip(pairs, path, strict=True):
        fused, motion = motion_of(fusion, theta, steps, pair, difference=config.difference)
        for name, value in _through_loss_net(loss_net, pair, fused, motion, config).items():
            result[name] -= value
    return MetaGradient(result, tuple(losses))


@in_float32()
def pixel_gradient(
    fusion: nn.Module, loss_net: nn.Module, task_losses: Sequence[TaskLoss], config: MetaConfig
) -> MetaGradient:
    """
    Return the gradient if F could move each pixel freely: the cheap baseline.

    No look-ahead and no F: the fused image itself is moved against the tasks' gradient.

    :param task_losses: all must fuse the same images, so that their gradients can be combined.
    """
    seen: list[tuple[Pair, Tensor]] = []

    def fuse(luma: Tensor, ir: Tensor) -> Tensor:
        with torch.no_grad():
            fused = fusion(luma, ir)
        seen.append(((luma, ir), fused.requires_grad_()))
        return fused

    losses, gradients = [], []
    for task_loss in task_losses:
        seen.clear()
        loss = task_loss(fuse)
        gradients.append(torch.autograd.grad(loss, [fused for _, fused in seen]))
        losses.append(loss.item())
    motions = combined(gradients, config.combine)
    result = {name: torch.zeros_like(p) for name, p in loss_net.named_parameters()}
    for (pair, fused), motion in zip(seen, motions, strict=True):
        # Seen from the whole batch, a process's own rows weigh less.
        motion = motion / world_size()
        gradient = _through_loss_net(loss_net, pair, fused.detach(), motion, config)
        for name, value in gradient.items():
            result[name] -= value
    return MetaGradient(result, tuple(losses))


def look_ahead(
    fusion: nn.Module,
    theta: Params,
    pair: Pair,
    weight_ir: Tensor,
    *,
    precondition: Params,
    config: MetaConfig,
) -> Params:
    """Return F's parameters after one preconditioned step on the fusion loss."""
    leaves = {name: p.detach().requires_grad_() for name, p in theta.items()}
    fused = functional_call(fusion, leaves, pair)
    losses = fusion_loss(fused, *pair, weight_ir, config.gradient_weight, squared=config.squared)
    gradients = average(torch.autograd.grad(losses['loss'], list(leaves.values())))
    return {
        name: (p - precondition[name] * g).detach()
        for (name, p), g in zip(leaves.items(), gradients, strict=True)
    }


@torch.no_grad()
def motion_of(
    fusion: nn.Module, theta: Params, steps: Params, pair: Pair, *, difference: bool
) -> Pair:
    """
    Return the fused image and how it moves if theta moves along ``steps``.

    :returns: f and u = d/de F_(theta + e steps) at e = 0, (B, 1, H, W) each.
    """

    def fuse(parameters: Params) -> Tensor:
        return functional_call(fusion, parameters, pair)

    if not difference:
        fused, motion = jvp(fuse, (theta,), (steps,))[:2]
        return fused, motion
    # Small against theta, large against rounding; section 6.1 of the design measured it.
    length = torch.stack([s.square().sum() for s in steps.values()]).sum().sqrt()
    epsilon = 1e-2 / length.clamp(min=1e-30)
    ahead, behind = (
        fuse({name: p + sign * epsilon * steps[name] for name, p in theta.items()})
        for sign in (1, -1)
    )
    return fuse(theta), (ahead - behind) / (2 * epsilon)


def coupling(
    fused: Tensor, motion: Tensor, pair: Pair, weight_ir: Tensor, squared: bool
) -> Tensor:
    """Return S: how the intensity term of the fusion loss changes along ``motion``."""
    luma, ir = pair
    towards_ir, towards_luma = weight_ir, 1 - weight_ir
    if squared:
        towards_ir, towards_luma = towards_ir.square(), towards_luma.square()
    return 2 * ((towards_ir * (fused - ir) + towards_luma * (fused - luma)) * motion).mean()


def _through_loss_net(
    loss_net: nn.Module, pair: Pair, fused: Tensor, motion: Tensor, config: MetaConfig
) -> Params:
    parameters = dict(loss_net.named_parameters())
    weight = loss_net(*pair)
    s = coupling(fused, motion, pair, weight, config.squared)
    if config.pull:
        # Without it w runs into 0 or 1 all over the image: the slightest mean signal has the last
        # word. Against the root mean square of the signal (at w = 1/2), only pixels that matter
        # to the task, and always in the same direction, leave 1/2.
        signal = average([((pair[0] - pair[1]) * motion / 2).square().mean()])[0].sqrt()
        s = s / signal.clamp(min=1e-30) - config.pull * weight.logit(1e-6).square().mean() / 2
    gradients = average(torch.autograd.grad(s, list(parameters.values())))
    return dict(zip(parameters, gradients, strict=True))


def constant_preconditioner(fusion: nn.Module, lr: float) -> Params:
    """Return the factor of plain gradient descent, as in the paper."""
    return {name: torch.full_like(p, lr) for name, p in fusion.named_parameters()}


def adam_preconditioner(fusion: nn.Module, optimizer: torch.optim.Optimizer) -> Params:
    """
    Return the factor of each parameter in the next step of F's own Adam, taken as constant.

    With it the look-ahead is as long as F's real steps (gradient descent's is 500 times shorter).
    """
    factors = {}
    groups = {p: group for group in optimizer.param_groups for p in group['params']}
    for name, p in fusion.named_parameters():
        group, state = groups[p], optimizer.state.get(p, {})
        if not state:
            raise ValueError('F must have taken a step before its optimizer is looked at')
        variance = state['exp_avg_sq'] / (1 - group['betas'][1] ** float(state['step']))
        factors[name] = group['lr'] / (variance.sqrt() + group['eps'])
    return factors


@torch.no_grad()
def normalized_sgd_step(loss_net: nn.Module, gradient: Params, lr: float) -> None:
    """Change G as the released code does: gradient descent after division by the largest entry."""
    largest = torch.stack([g.abs().max() for g in gradient.values()]).max().clamp(min=1e-30)
    for name, p in loss_net.named_parameters():
        p.sub_(lr * gradient[name] / largest)
