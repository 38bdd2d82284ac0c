import pytest

torch = pytest.importorskip('torch')
for package in ('cv2', 'pycocotools', 'safetensors', 'tqdm', 'yaml'):
    pytest.importorskip(package)

from variants import variant  # noqa: E402

from training.checkpoint import load_run  # noqa: E402
from training.checkpoint import read_description  # noqa: E402
from training.data.augmentation import split  # noqa: E402
from training.method.learned import learned_task  # noqa: E402
from training.method.learned import teach  # noqa: E402
from training.method.task_networks import judge  # noqa: E402
from training.method.task_networks import pair_of  # noqa: E402
from training.method.tasks import run_network  # noqa: E402
from training.train import make_batch  # noqa: E402
from training.train import TASK  # noqa: E402
from training.train import train  # noqa: E402

pytestmark = pytest.mark.torch


@pytest.fixture
def config(short_run):
    return variant(short_run(), task='learned', source='ir', steps=5, meta_every=2)


def detectors(task):
    return [task.networks['detector_a'], task.networks['detector_b']]


@pytest.mark.parametrize('method', ['adam', 'pixel'])
@pytest.mark.parametrize('difference', [False, True])
def test_the_meta_gradient_is_the_same_to_the_bit_under_bfloat16(
    config, samples, method, difference
):
    found = []
    for amp in (False, True):
        torch.manual_seed(0)
        changed = variant(config, amp=amp, method=method, difference=difference)
        task = learned_task(changed, torch.device('cpu'))
        before, batch = make_batch(samples, config, 0), make_batch(samples, config, 1)
        fusion = task.networks['fusion']
        fusion(*pair_of(before)).mean().backward()
        task.optimizers['fusion'].step()
        judges = [judge('detector', detectors(task), split(batch, 2))]
        with torch.autocast('cpu', torch.bfloat16, enabled=amp):  # whoever calls, whatever is on
            gradient = teach(changed, task.networks, task.optimizers, judges, [before]).gradient
        found.append(gradient)
    for name, value in found[0].items():
        assert value.abs().max() > 0
        assert torch.equal(value, found[1][name])


def test_bfloat16_changes_what_a_network_computes_but_not_what_it_returns():
    network, image = torch.nn.Conv2d(1, 4, 3), torch.rand(1, 1, 8, 8)
    exact, coarse = (run_network(network, (image,), amp) for amp in (False, True))
    assert coarse.dtype == torch.float32
    assert 0 < (coarse - exact).abs().max() < 0.02


@pytest.mark.parametrize(
    'changes',
    [
        {'task': 'fusion'},
        {'task': 'detection'},
        {'task': 'learned'},
        {'task': 'learned', 'difference': True, 'network': 'fusion', 'loss_net': 'paper'},
        {'task': 'learned', 'method': 'pixel', 'squared': True},
        {'task': 'learned', 'method': 'paper', 'prior_strength': 0.0},
    ],
    ids=lambda changes: '-'.join(map(str, changes.values())),
)
def test_a_step_leaves_no_tensor_on_another_device(config, samples, monkeypatch, changes):
    # The device "meta" only knows shapes, and refuses to be mixed, as a GPU does: so this can be
    # tested without one. It has no numbers to give back.
    monkeypatch.setattr(torch.Tensor, 'item', lambda _: 0.5)
    config, meta, earlier = variant(config, meta_every=1, **changes), torch.device('meta'), []
    task = TASK[config.task](config, meta)
    for step in range(2):
        batch = make_batch(samples, config, step).to(meta)
        losses = task.step(step, batch, earlier)
        earlier = [batch] if task.memory else []
    tensors = [*losses.values()]
    tensors += [t for network in task.networks.values() for t in network.state_dict().values()]
    assert {tensor.device.type for tensor in tensors} == {'meta'}


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason='no CUDA device')
@pytest.mark.parametrize('amp', [False, True])
@pytest.mark.parametrize('task', ['fusion', 'detection', 'learned'])
def test_every_task_trains_on_cuda_and_goes_on_there(config, samples, monkeypatch, task, amp):
    changed = variant(
        config, task=task, amp=amp, device='cuda', save_every=2, validate_every=2, panel_every=2
    )

    def make_batch_until_the_power_fails(samples, config, step):
        if step == 3:
            raise KeyboardInterrupt
        return make_batch(samples, config, step)

    with monkeypatch.context() as patch:
        patch.setattr('training.train.make_batch', make_batch_until_the_power_fails)
        with pytest.raises(KeyboardInterrupt):
            train(changed, samples)
    network = train(changed, samples)
    assert next(network.parameters()).device.type == 'cuda'
    assert read_description(config.run)['device'] == torch.cuda.get_device_name()
    for value in load_run(config.run).state_dict().values():
        assert value.isfinite().all()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason='no CUDA device')
@pytest.mark.parametrize('difference', [False, True])
def test_the_meta_gradient_on_cuda_is_that_of_the_cpu(config, samples, difference):
    config = variant(config, difference=difference)
    found = []
    for device in (torch.device('cpu'), torch.device('cuda')):
        torch.manual_seed(0)
        task = learned_task(config, device)
        before, batch = (make_batch(samples, config, step).to(device) for step in (0, 1))
        task.networks['fusion'](*pair_of(before)).mean().backward()
        task.optimizers['fusion'].step()
        judges = [judge('detector', detectors(task), split(batch, 2))]
        found.append(teach(config, task.networks, task.optimizers, judges, [before]).gradient)
    cpu, cuda = (torch.cat([g.flatten().cpu() for g in gradient.values()]) for gradient in found)
    assert torch.cosine_similarity(cpu, cuda, 0) > 0.99
