from dataclasses import replace
from functools import partialmethod

import pytest
import torch
import torch._dynamo.testing

from training.checkpoint import load_run
from training.checkpoint import read_description
from training.method import learned
from training.method.optimization import run_network
from training.train import make_batch
from training.train import train
from training.train import TRAININGS

pytest.importorskip('pycocotools')

pytestmark = pytest.mark.usefixtures('tiny_detector')
CPU = torch.device('cpu')
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason='no CUDA device')


@pytest.fixture
def gradient(samples):
    """Return the meta gradient after a step of F: ``gradient(config, device, autocast)``."""

    def compute(config, device=CPU, autocast=False):
        torch.manual_seed(0)
        training = learned.learned_training(config, device)
        before, batch = (make_batch(samples, config, step, device) for step in (0, 1))
        training.networks['fusion'](*before.pair).mean().backward()
        training.optimizers['fusion'].step()
        losses = [learned.task_loss(training.networks['detector'], batch)]
        with torch.autocast('cpu', torch.bfloat16, enabled=autocast):
            arguments = (config, training.networks, training.optimizers, [before], losses)
            found, _ = learned.compute_gradient(*arguments)
        return torch.cat([g.flatten().cpu() for g in found.values()])

    return compute


@pytest.mark.parametrize('changes', [{}, {'loss_net': 'bands'}, {'method': 'pixel'}], ids=str)
def test_the_meta_gradient_is_the_same_to_the_bit_under_bfloat16(short_run, gradient, changes):
    config = short_run('learned', **changes)
    exact = gradient(config)
    assert exact.abs().max() > 0
    assert torch.equal(exact, gradient(replace(config, amp=True), autocast=True))


def test_bfloat16_changes_what_a_network_computes_but_not_the_type_of_its_output():
    network, image = torch.nn.Conv2d(1, 4, 3), torch.rand(1, 1, 8, 8)
    exact, coarse = (run_network(network, (image,), amp) for amp in (False, True))
    assert coarse.dtype == torch.float32
    assert 0 < (coarse - exact).abs().max() < 0.02


@pytest.mark.parametrize(
    ('task', 'changes'),
    [
        ('fusion', {}),
        ('detection', {'source': 'ir'}),
        ('learned', {}),
        (
            'learned',
            {'method': 'pixel', 'squared': True, 'network': 'fusion', 'loss_net': 'paper'},
        ),
        ('learned', {'method': 'paper', 'loss_net': 'weight', 'prior_strength': 0.0}),
    ],
)
def test_a_step_leaves_no_tensor_elsewhere(short_run, samples, monkeypatch, task, changes):
    # The device "meta" only knows shapes and refuses to be mixed, as a GPU does: no GPU is needed.
    # It has no numbers to return.
    monkeypatch.setattr(torch.Tensor, 'item', lambda _: 0.5)
    meta, previous = torch.device('meta'), []
    changes |= {'meta_every': 1} if task == 'learned' else {}
    config = short_run(task, crop_hw=(32, 64), **changes)
    training = TRAININGS[task](config, meta)
    for step in range(2):
        batch = make_batch(samples, config, step, meta)
        losses = training.step(step, batch, previous)
        previous = [batch] if training.previous_batches else []
    assert ('after_inner_update' in losses) == (task == 'learned')
    tensors = [*losses.values()]
    tensors += [t for network in training.networks.values() for t in network.state_dict().values()]
    assert {tensor.device.type for tensor in tensors} == {'meta'}


def test_images_reach_the_device_in_8_bits(short_run, samples, monkeypatch):
    move, moved = torch.Tensor.to, []

    def to(tensor, device):
        moved.append(tensor.nbytes if tensor.device.type == 'cpu' else 0)
        return move(tensor, device)

    monkeypatch.setattr(torch.Tensor, 'to', to)
    batch = make_batch(samples, short_run(), 0, torch.device('meta'))
    assert (batch.rgb.dtype, batch.rgb.device.type) == (torch.float32, 'meta')
    pixels = batch.ir.numel()
    assert 4 * pixels <= sum(moved) < 4.1 * pixels  # red, green, blue, infrared; and the boxes


def test_a_compiled_detector_trains_as_the_plain_one_and_is_saved_as_it(
    short_run, samples, tmp_path, monkeypatch
):
    # The backend "eager" captures graphs, and refuses what has none, but generates no code.
    graphs = torch._dynamo.testing.CompileCounterWithBackend('eager')
    compiled = partialmethod(torch.nn.Module.compile, backend=graphs, fullgraph=True)
    monkeypatch.setattr(torch.nn.Module, 'compile', compiled)
    plain, other = (
        short_run('detection', source='ir', run=str(tmp_path / name), compile=name == 'compiled')
        for name in ('plain', 'compiled')
    )
    expected, found = (train(config, samples).state_dict() for config in (plain, other))
    assert graphs.frame_count == 1
    for name, value in load_run(other.run).state_dict().items():
        torch.testing.assert_close(value, expected[name])
        assert torch.equal(value, found[name])


@pytest.mark.gpu
@needs_cuda
@pytest.mark.parametrize('amp', [False, True])
@pytest.mark.parametrize('task', ['fusion', 'detection', 'learned'])
def test_every_task_trains_on_cuda_and_resumes_there(short_run, samples, interrupt, task, amp):
    settings = {'save_every': 2, 'validate_every': 2, 'panel_every': 2, 'steps': 5}
    settings |= {'source': 'ir'} if task == 'detection' else {}
    config = short_run(task, amp=amp, device='cuda', **settings)
    interrupt(3, train, config, samples)
    network = train(config, samples)
    assert next(network.parameters()).device.type == 'cuda'
    assert read_description(config.run)['device'] == torch.cuda.get_device_name()
    for value in load_run(config.run).state_dict().values():
        assert value.isfinite().all()


@pytest.mark.gpu
@needs_cuda
@pytest.mark.parametrize('family', ['weight', 'affine', 'bands'])
def test_the_meta_gradient_on_cuda_is_that_of_the_cpu(short_run, gradient, family):
    config = short_run('learned', loss_net=family)
    cpu, cuda = gradient(config), gradient(config, torch.device('cuda'))
    assert torch.cosine_similarity(cpu, cuda, 0) > 0.99
