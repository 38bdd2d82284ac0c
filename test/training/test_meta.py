import copy

import pytest

torch = pytest.importorskip('torch')

from oracle.double_backward import double_backward  # noqa: E402

from tdfusion_ros.nets.fusion_paper import FusionPaper  # noqa: E402
from tdfusion_ros.nets.fusion_rt import FusionRT  # noqa: E402
from tdfusion_ros.nets.fusion_rt import FusionRTConfig  # noqa: E402
from training.method.loss_net import LossNetPaper  # noqa: E402
from training.method.loss_net import LossNetRT  # noqa: E402
from training.method.meta import adam_preconditioner  # noqa: E402
from training.method.meta import constant_preconditioner  # noqa: E402
from training.method.meta import meta_gradient  # noqa: E402
from training.method.meta import MetaConfig  # noqa: E402
from training.method.meta import pixel_gradient  # noqa: E402

pytestmark = pytest.mark.torch


def images(seed, *, hw=(12, 16), batch=2, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.rand(batch, 1, *hw, generator=generator, dtype=dtype) for _ in range(2))


def task(seed, dtype=torch.float64):
    """Return a small convolutional task with a smooth loss, and its network."""
    torch.manual_seed(seed)
    network = torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3),
        torch.nn.Tanh(),
        torch.nn.BatchNorm2d(4),
        torch.nn.Conv2d(4, 1, 3),
    ).to(dtype)
    network.eval()
    luma, ir = images(seed + 100, dtype=dtype)
    return network, lambda fuse: network(fuse(luma, ir)).square().mean()


def flat(gradient):
    return torch.cat([g.flatten() for g in gradient.values()])


def relative_error(ours, theirs):
    ours, theirs = flat(ours), flat(theirs)
    return ((ours - theirs).norm() / theirs.norm()).item()


def networks(kind, dtype=torch.float64):
    torch.manual_seed(1)
    if kind == 'paper':
        return FusionPaper().to(dtype), LossNetPaper().to(dtype)
    loss_net = LossNetRT(width=8, depth=3)
    torch.nn.init.normal_(loss_net.head.weight, std=0.3)
    return FusionRT(FusionRTConfig(width=8, depth=3)).to(dtype), loss_net.to(dtype)


def random_preconditioner(fusion):
    generator = torch.Generator().manual_seed(5)
    return {
        name: 0.1 * torch.rand(p.shape, generator=generator, dtype=p.dtype)
        for name, p in fusion.named_parameters()
    }


@pytest.mark.parametrize('kind', ['paper', 'rt'])
@pytest.mark.parametrize('squared', [False, True])
@pytest.mark.parametrize('diagonal', [False, True])
def test_closed_form_meta_gradient_matches_double_backward(kind, squared, diagonal):
    fusion, loss_net = networks(kind)
    _, task_loss = task(2)
    config = MetaConfig(squared=squared)
    precondition = (
        random_preconditioner(fusion) if diagonal else constant_preconditioner(fusion, 0.05)
    )
    arguments = (fusion, loss_net, [images(3)], [task_loss])
    ours = meta_gradient(*arguments, precondition=precondition, config=config).gradient
    theirs = double_backward(*arguments, precondition, config)
    assert relative_error(ours, theirs) < 1e-10


def test_closed_form_for_two_tasks_matches_double_backward_of_their_sum():
    fusion, loss_net = networks('rt')
    precondition = constant_preconditioner(fusion, 0.05)
    arguments = (fusion, loss_net, [images(3)], [task(2)[1], task(8)[1]])
    ours = meta_gradient(*arguments, precondition=precondition, config=MetaConfig())
    theirs = double_backward(*arguments, precondition, MetaConfig())
    assert relative_error(ours.gradient, theirs) < 1e-10
    assert len(ours.task_losses) == 2


def test_central_difference_comes_close_to_the_closed_form():
    fusion, loss_net = networks('paper')
    _, task_loss = task(2)
    precondition = constant_preconditioner(fusion, 1e-4)
    arguments = (fusion, loss_net, [images(3)], [task_loss])
    exact, close = (
        meta_gradient(
            *arguments, precondition=precondition, config=MetaConfig(difference=difference)
        ).gradient
        for difference in (False, True)
    )
    assert relative_error(close, exact) < 0.05


def test_look_ahead_over_several_steps_points_where_double_backward_points():
    fusion, loss_net = networks('rt')
    _, task_loss = task(2)
    precondition = constant_preconditioner(fusion, 0.01)
    arguments = (fusion, loss_net, [images(seed) for seed in (3, 4, 5)], [task_loss])
    config = MetaConfig()
    ours = flat(meta_gradient(*arguments, precondition=precondition, config=config).gradient)
    theirs = flat(double_backward(*arguments, precondition, config))
    assert torch.cosine_similarity(ours, theirs, 0) > 0.99


def test_meta_step_changes_neither_fusion_nor_task_nor_their_optimizers():
    fusion, loss_net = networks('rt')
    network, task_loss = task(2)
    optimizers = [torch.optim.Adam(n.parameters()) for n in (fusion, network)]
    luma, ir = images(7)
    (network(fusion(luma, ir)).mean()).backward()
    for optimizer in optimizers:
        optimizer.step()
        optimizer.zero_grad()

    def everything():
        return [n.state_dict() for n in (fusion, network, loss_net)] + [
            optimizer.state_dict() for optimizer in optimizers
        ]

    before = copy.deepcopy(everything())
    precondition = adam_preconditioner(fusion, optimizers[0])
    meta_gradient(
        fusion, loss_net, [images(3)], [task_loss], precondition=precondition, config=MetaConfig()
    )
    pixel_gradient(fusion, loss_net, [task_loss], MetaConfig())
    torch.testing.assert_close(everything(), before, rtol=0, atol=0)
    assert all(p.grad is None for n in (fusion, network, loss_net) for p in n.parameters())


def test_adam_preconditioner_is_the_step_that_adam_takes():
    fusion, _ = networks('rt')
    optimizer = torch.optim.Adam(fusion.parameters(), lr=1e-2, betas=(0.0, 0.9))
    for seed in (1, 2):
        optimizer.zero_grad()
        fusion(*images(seed)).mean().backward()
        before = {name: p.detach().clone() for name, p in fusion.named_parameters()}
        optimizer.step()
    factors = adam_preconditioner(fusion, optimizer)
    for name, p in fusion.named_parameters():
        torch.testing.assert_close(p.detach(), before[name] - factors[name] * p.grad)


@pytest.mark.parametrize('squared', [False, True])
def test_without_influence_of_the_task_there_is_no_gradient(squared):
    fusion, loss_net = networks('rt')
    result = meta_gradient(
        fusion,
        loss_net,
        [images(3)],
        [lambda fuse: 0.0 * fuse(*images(4)).sum() + 1.0],
        precondition=constant_preconditioner(fusion, 0.1),
        config=MetaConfig(squared=squared),
    )
    assert flat(result.gradient).abs().max() == 0


def test_equal_sources_give_no_gradient_in_the_papers_form_only():
    fusion, loss_net = networks('rt')
    _, task_loss = task(2)
    luma, _ = images(3)
    paper, squared = (
        flat(
            meta_gradient(
                fusion,
                loss_net,
                [(luma, luma)],
                [task_loss],
                precondition=constant_preconditioner(fusion, 0.1),
                config=MetaConfig(squared=form),
            ).gradient
        )
        for form in (False, True)
    )
    assert paper.abs().max() < 1e-15
    assert squared.abs().max() > 1e-9


@pytest.mark.parametrize('method', ['look_ahead', 'pixel'])
@pytest.mark.parametrize('wanted', ['ir', 'luma'])
def test_weight_follows_the_source_that_the_task_wants(method, wanted):
    torch.manual_seed(0)
    fusion, loss_net = FusionRT(FusionRTConfig(width=8, depth=3)), LossNetRT(width=8, depth=3)
    luma, ir = (
        torch.nn.functional.interpolate(image, scale_factor=4, mode='bilinear')
        for image in images(3, hw=(4, 4), dtype=torch.float32)
    )
    target = ir if wanted == 'ir' else luma
    left = (..., slice(0, 8))

    def task_loss(fuse):
        return (fuse(luma, ir)[left] - target[left]).square().mean()

    optimizer = torch.optim.Adam(loss_net.parameters(), lr=1e-2, eps=1e-20)
    before = loss_net(luma, ir)[left].mean().item()
    for _ in range(60):
        if method == 'pixel':
            result = pixel_gradient(fusion, loss_net, [task_loss], MetaConfig())
        else:
            result = meta_gradient(
                fusion,
                loss_net,
                [(luma, ir)],
                [task_loss],
                precondition=constant_preconditioner(fusion, 1e-2),
                config=MetaConfig(),
            )
        for name, p in loss_net.named_parameters():
            p.grad = result.gradient[name]
        optimizer.step()
    after = loss_net(luma, ir)[left].mean().item()
    assert (after > before + 0.1) if wanted == 'ir' else (after < before - 0.1)
