"""The meta gradient by differentiating through the inner update: slow, large, and simple."""

import torch
from torch.func import functional_call


def double_backward(fusion, loss_net, pairs, task_losses, precondition, config):
    """Return the gradient of ``meta.meta_gradient`` without its algebra."""
    theta = {name: p.detach().requires_grad_() for name, p in fusion.named_parameters()}
    for pair in pairs:
        fused = functional_call(fusion, theta, pair)
        loss = loss_net.loss(fused, pair, loss_net(*pair), config.gradient_weight)['loss']
        grads = torch.autograd.grad(loss, tuple(theta.values()), create_graph=True)
        theta = {
            name: p - precondition[name] * g
            for (name, p), g in zip(theta.items(), grads, strict=True)
        }
    loss = sum(
        task_loss(lambda luma, ir: functional_call(fusion, theta, (luma, ir)))
        for task_loss in task_losses
    )
    parameters = dict(loss_net.named_parameters())
    return dict(
        zip(parameters, torch.autograd.grad(loss, tuple(parameters.values())), strict=True)
    )
