import copy
from dataclasses import replace

from oracle.double_backward import double_backward
import pytest
import torch

from tdfusion_ros.nets.fusion_paper import FusionPaper
from tdfusion_ros.nets.fusion_rt import FusionRT
from tdfusion_ros.nets.fusion_rt import FusionRTConfig
from training.config import LearnedTask
from training.method import meta
from training.method.loss_families import FAMILIES
from training.method.loss_net import LossNetConfig
from training.method.loss_net import LossNetRT
from training.method.loss_net import make_loss_net

PLAIN = LearnedTask(prior_strength=0.0)


def images(seed, *, hw=(32, 32), dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.rand(2, 1, *hw, generator=generator, dtype=dtype) for _ in range(2))


def task(seed):
    """Return a small convolutional task network and its smooth loss."""
    torch.manual_seed(seed)
    layers = (torch.nn.Conv2d(1, 4, 3), torch.nn.Tanh(), torch.nn.BatchNorm2d(4))
    network = torch.nn.Sequential(*layers, torch.nn.Conv2d(4, 1, 3)).double().eval()
    pair = images(seed + 100)
    return network, lambda fuse: network(fuse(*pair)).square().mean()


def networks(kind):
    """Return F and G in float64; ``kind`` is a name of ``make_loss_net``."""
    torch.manual_seed(1)
    if kind in ('paper', 'released'):
        return FusionPaper().double(), make_loss_net('paper', kind == 'released').double()
    loss_net = LossNetRT(LossNetConfig(kind, width=8, depth=3))
    torch.nn.init.normal_(loss_net.head.weight, std=0.3)
    return FusionRT(FusionRTConfig(width=8, depth=3)).double(), loss_net.double()


def both_ways(kind, pairs, losses, *, precondition=0.05):
    """Return the meta gradient by the closed form and by double backward, each as one vector."""
    fusion, loss_net = networks(kind)
    if callable(precondition):
        factors = precondition(fusion)
    else:
        factors = meta.constant_preconditioner(fusion, precondition)
    arguments = (fusion, loss_net, pairs, losses)
    ours, values = meta.meta_gradient(*arguments, precondition=factors, config=PLAIN)
    assert len(values) == len(losses)
    theirs = double_backward(*arguments, factors, PLAIN)
    return tuple(torch.cat([g.flatten() for g in found.values()]) for found in (ours, theirs))


def relative_error(ours, theirs):
    return ((ours - theirs).norm() / theirs.norm()).item()


def random_preconditioner(fusion):
    return {name: 0.1 * torch.rand_like(p) for name, p in fusion.named_parameters()}


@pytest.mark.parametrize('kind', ['paper', 'released', *FAMILIES])
@pytest.mark.parametrize('tasks', [[2], [2, 8]])
def test_closed_form_meta_gradient_matches_double_backward(kind, tasks):
    losses = [task(seed)[1] for seed in tasks]
    ours, theirs = both_ways(kind, [images(3)], losses, precondition=random_preconditioner)
    assert relative_error(ours, theirs) < 1e-10


@pytest.mark.parametrize('family', FAMILIES)
def test_maps_of_zero_are_the_fixed_loss_to_which_the_prior_pulls(family):
    fusion, loss_net = networks(family)
    torch.nn.init.zeros_(loss_net.head.weight)
    pair = images(3)
    assert torch.equal(loss_net(*pair), loss_net.fixed_maps(pair[0]))
    torch.nn.init.normal_(loss_net.head.weight, std=0.3)
    calm = [lambda fuse: 0.0 * fuse(*pair).sum()]
    config = replace(PLAIN, prior_strength=1.0)
    size = loss_net(*pair).square().mean()
    optimizer = torch.optim.Adam(loss_net.parameters(), lr=1e-2)
    for _ in range(20):
        gradient, _ = meta.pixel_gradient(fusion, loss_net, calm, config)
        for name, p in loss_net.named_parameters():
            p.grad = gradient[name]
        optimizer.step()
    assert loss_net(*pair).square().mean() < 0.7 * size


def test_an_inner_update_of_several_steps_points_where_double_backward_points():
    pairs = [images(seed) for seed in (3, 4, 5)]
    ours, theirs = both_ways('weight', pairs, [task(2)[1]], precondition=0.01)
    assert torch.cosine_similarity(ours, theirs, 0) > 0.99


@pytest.mark.parametrize('family', FAMILIES)
def test_every_map_of_a_family_gets_a_meta_gradient(family):
    fusion, loss_net = networks(family)
    pair = images(3)
    losses = [lambda fuse: (fuse(*pair) - pair[1]).square().mean()]
    gradient, _ = meta.pixel_gradient(fusion, loss_net, losses, PLAIN)
    assert (gradient['head.bias'].abs() > 1e-6).all()


def test_a_meta_gradient_changes_neither_networks_nor_optimizers():
    fusion, loss_net = networks('affine')
    network, task_loss = task(2)
    optimizers = [torch.optim.Adam(n.parameters()) for n in (fusion, network)]
    network(fusion(*images(7))).mean().backward()
    for optimizer in optimizers:
        optimizer.step()
        optimizer.zero_grad()

    def everything():
        return [part.state_dict() for part in (fusion, network, loss_net, *optimizers)]

    before = copy.deepcopy(everything())
    factors = meta.adam_preconditioner(fusion, optimizers[0])
    arguments = (fusion, loss_net, [images(3)], [task_loss])
    meta.meta_gradient(*arguments, precondition=factors, config=PLAIN)
    meta.pixel_gradient(fusion, loss_net, [task_loss], PLAIN)
    torch.testing.assert_close(everything(), before, rtol=0, atol=0)
    assert all(p.grad is None for n in (fusion, network, loss_net) for p in n.parameters())


def test_adam_preconditioner_is_the_step_that_adam_takes():
    fusion, _ = networks('weight')
    optimizer = torch.optim.Adam(fusion.parameters(), lr=1e-2, betas=(0.0, 0.9))
    for seed in (1, 2):
        optimizer.zero_grad()
        fusion(*images(seed)).mean().backward()
        before = {name: p.detach().clone() for name, p in fusion.named_parameters()}
        optimizer.step()
    factors = meta.adam_preconditioner(fusion, optimizer)
    for name, p in fusion.named_parameters():
        torch.testing.assert_close(p.detach(), before[name] - factors[name] * p.grad)


@pytest.mark.parametrize(
    ('how', 'gradients', 'expected'),
    [
        # <a, b> = -1: a + b / 2 = (1/2, 1/2), and b + a = (0, 1).
        ('pcgrad', [[1.0, 0.0], [-1.0, 1.0]], [0.5, 1.5]),
        ('pcgrad', [[1.0, 0.0], [0.5, 2.0]], [1.5, 2.0]),  # they agree: the sum
        ('pcgrad', [[0.0, 0.0], [3.0, 4.0]], [3.0, 4.0]),
        ('normalized', [[0.0, 0.0], [3.0, 4.0]], [0.6, 0.8]),
        ('normalized', [[3e-6, 4e-6], [-400.0, 300.0]], [-0.2, 1.4]),
        ('sum', [[1.0, 2.0], [-3.0, 1.0]], [-2.0, 3.0]),
        ('pcgrad', [[1.0, 2.0]], [1.0, 2.0]),
    ],
)
def test_gradients_of_tasks_are_combined_as_computed_by_hand(how, gradients, expected):
    tasks = [torch.tensor(gradient).split(1) for gradient in gradients]
    found = meta.combined(tasks, how)
    torch.testing.assert_close(found, list(torch.tensor(expected).split(1)))


@pytest.mark.parametrize('method', ['adam', 'pixel'])
@pytest.mark.parametrize('wanted', ['ir', 'luma'])
def test_weight_follows_the_source_that_the_task_wants(method, wanted):
    torch.manual_seed(0)
    fusion = FusionRT(FusionRTConfig(width=4, depth=2))
    loss_net = LossNetRT(LossNetConfig('weight', width=8, depth=3))
    luma, ir = (
        torch.nn.functional.interpolate(image, scale_factor=4, mode='bilinear')
        for image in images(3, hw=(8, 8), dtype=torch.float32)
    )
    target = ir if wanted == 'ir' else luma
    left = (..., slice(0, 8))
    losses = [lambda fuse: (fuse(luma, ir)[left] - target[left]).square().mean()]
    factors = meta.constant_preconditioner(fusion, 1e-2)
    optimizer = torch.optim.Adam(loss_net.parameters(), lr=2e-2, eps=1e-20)
    before = loss_net(luma, ir).sigmoid()[left].mean().item()
    for _ in range(30):
        if method == 'pixel':
            gradient, _ = meta.pixel_gradient(fusion, loss_net, losses, PLAIN)
        else:
            arguments = (fusion, loss_net, [(luma, ir)], losses)
            gradient, _ = meta.meta_gradient(*arguments, precondition=factors, config=PLAIN)
        for name, p in loss_net.named_parameters():
            p.grad = gradient[name]
        optimizer.step()
    change = loss_net(luma, ir).sigmoid()[left].mean().item() - before
    assert (change if wanted == 'ir' else -change) > 0.1
