import json

import pytest

torch = pytest.importorskip('torch')
for package in ('cv2', 'safetensors', 'tqdm', 'yaml'):
    pytest.importorskip(package)

from variants import variant  # noqa: E402

from tdfusion_ros.core.errors import FusionError  # noqa: E402
from tdfusion_ros.core.errors import ModelError  # noqa: E402
from training.checkpoint import load_run  # noqa: E402
from training.checkpoint import read_description  # noqa: E402
from training.data.datasets import load_samples  # noqa: E402
from training.data.datasets import open_dataset  # noqa: E402
from training.train import learning_rate  # noqa: E402
from training.train import main  # noqa: E402
from training.train import make_batch  # noqa: E402
from training.train import train  # noqa: E402

pytestmark = pytest.mark.torch


@pytest.fixture
def config(short_run, tmp_path):
    return variant(short_run(), run=str(tmp_path / 'fusion'))


def detector_config(config, tmp_path):
    return variant(
        config,
        task='detection',
        source='fused',
        fusion=config.run,
        run=str(tmp_path / 'detector'),
        mosaic=0.5,
    )


def test_both_networks_train_from_files_to_a_run_folder(config, data_root, tmp_path):
    samples = load_samples(data_root, 'train')
    train(config, samples)
    train(detector_config(config, tmp_path), samples)
    for run in ('fusion', 'detector'):
        log = (tmp_path / run / 'log.jsonl').read_text(encoding='utf-8').splitlines()
        assert [json.loads(line)['step'] for line in log] == [0, 1, 2]
        network = load_run(tmp_path / run)
        assert all(value.isfinite().all() for value in network.state_dict().values())


def test_a_saved_run_loads_as_the_network_that_was_returned(config, data_root):
    trained = train(config, load_samples(data_root, 'train'))
    loaded = load_run(config.run)
    y, ir = torch.rand(1, 1, 32, 32), torch.rand(1, 1, 32, 32)
    torch.testing.assert_close(loaded(y, ir), trained(y, ir))


def test_a_loss_that_is_not_finite_stops_the_run_and_names_the_batch(config, data_root):
    samples = load_samples(data_root, 'train', limit=1)
    with pytest.raises(FusionError, match=r'not finite at step 0.*batch: a, a'):
        train(variant(config, gradient_weight=float('nan')), samples)
    assert not (data_root.parent / 'fusion' / 'run.json').exists()


def test_learning_rate_warms_up_to_its_peak_and_ends_near_zero(config):
    config = variant(config, steps=100, warmup_steps=10)
    rates = [learning_rate(step, config) for step in range(100)]
    assert max(rates) == rates[9] == 1.0
    assert rates[0] == pytest.approx(0.1)
    assert rates[-1] < 0.02


def learned_config(config, tmp_path, **changes):
    values = {'task': 'learned', 'run': str(tmp_path / 'learned'), 'steps': 6, 'meta_every': 2}
    return variant(config, batch=2, **{**values, **changes})


@pytest.mark.parametrize('method', ['adam', 'pixel', 'paper'])
def test_the_learned_loss_trains_fusion_detector_and_loss_net(config, data_root, tmp_path, method):
    config = learned_config(config, tmp_path, method=method, inner_steps=2)
    train(config, load_samples(data_root, 'train'))
    log = [json.loads(line) for line in (tmp_path / 'learned/log.jsonl').read_text().splitlines()]
    taught = [line['step'] for line in log if 'after_look_ahead' in line]
    assert taught == [2, 4]
    assert log[-1]['weight_ir'] != log[0]['weight_ir']
    for place in ('', 'detector_a', 'detector_b', 'loss_net'):
        load_run(tmp_path / 'learned' / place)


@pytest.mark.parametrize(
    'changes',
    [
        {'task': 'fusion'},
        {'task': 'learned'},
        {'task': 'learned', 'workers': 2, 'validate_every': 2},
        {'task': 'learned', 'task_networks': 'both', 'combine': 'pcgrad'},
        {'task': 'segmentation', 'source': 'ir'},
    ],
    ids=lambda changes: '-'.join(map(str, changes.values())),
)
def test_an_interrupted_run_ends_as_the_uninterrupted_one_to_the_bit(
    config, masked_root, tmp_path, monkeypatch, changes
):
    if 'task_networks' in changes or changes['task'] == 'segmentation':
        pytest.importorskip('transformers')  # its network drops at random: that goes on, too
    samples = load_samples(masked_root, 'train')
    changes = {**changes, 'save_every': 2, 'inner_steps': 2}
    whole, broken = (
        learned_config(config, tmp_path, run=str(tmp_path / name), **changes)
        for name in ('whole', 'broken')
    )
    train(whole, samples)

    def make_batch_until_the_power_fails(samples, config, step):
        if step == 5:
            raise KeyboardInterrupt
        return make_batch(samples, config, step)

    with monkeypatch.context() as patch:
        patch.setattr('training.train.make_batch', make_batch_until_the_power_fails)
        with pytest.raises(KeyboardInterrupt):
            train(broken, samples)
    train(broken, samples)
    files = ['weights.safetensors', 'log.jsonl']
    files += ['validation.jsonl'] if 'validate_every' in changes else []
    for file in files:
        assert (tmp_path / 'broken' / file).read_bytes() == (
            tmp_path / 'whole' / file
        ).read_bytes()
    assert read_description(broken.run)['best'] == read_description(whole.run)['best']


def test_a_run_does_not_go_on_under_other_settings(config, data_root, monkeypatch):
    samples = load_samples(data_root, 'train')
    config = variant(config, save_every=1)
    with monkeypatch.context() as patch:
        patch.setattr('training.loop.state.save_run', lambda *_: (_ for _ in ()).throw(OSError))
        with pytest.raises(OSError):  # noqa: PT011
            train(config, samples)
    with pytest.raises(ModelError, match='other settings'):
        train(variant(config, lr=1.0), samples)
    train(config, samples)
    with pytest.raises(ModelError, match='finished'):
        train(config, samples)


def test_a_run_goes_on_with_other_threads_workers_and_intervals_of_saving(
    config, data_root, monkeypatch
):
    samples = load_samples(data_root, 'train')
    with monkeypatch.context() as patch:
        patch.setattr('training.loop.state.save_run', lambda *_: (_ for _ in ()).throw(OSError))
        with pytest.raises(OSError):  # noqa: PT011
            train(variant(config, save_every=1), samples)
    others = {'threads': 2, 'workers': 1, 'save_every': 7, 'panel_every': 3, 'device': 'cpu'}
    train(variant(config, **others), samples)
    assert read_description(config.run)['config']['save_every'] == 7


def test_a_run_from_disk_ends_as_one_from_memory(config, data_root, tmp_path):
    train(config, load_samples(data_root, 'train'))
    train(variant(config, run=str(tmp_path / 'lazy')), open_dataset(data_root, 'train'))
    runs = [(tmp_path / name / 'weights.safetensors').read_bytes() for name in ('fusion', 'lazy')]
    assert runs[0] == runs[1]


def with_classes(root, *names):
    (root / 'classes.txt').write_text('\n'.join(names), encoding='utf-8')


@pytest.mark.parametrize('task', ['detection', 'learned'])
def test_a_detector_learns_the_classes_of_the_data(config, masked_root, tmp_path, task):
    with_classes(masked_root, 'deer', 'boar', 'hare', 'fox')
    config = learned_config(config, tmp_path, task=task, source='ir', steps=1)
    train(config, load_samples(masked_root, 'train'))
    run = tmp_path / 'learned' / ('detector_a' if task == 'learned' else '')
    assert load_run(run).config.classes == 4
    for folder in (run, config.run):
        assert read_description(folder)['classes'] == ['deer', 'boar', 'hare', 'fox']


def test_a_segmentation_run_names_the_classes_of_its_masks(config, masked_root):
    pytest.importorskip('transformers')
    config = variant(config, task='segmentation', source='ir', steps=1)
    train(config, load_samples(masked_root, 'train'))
    assert read_description(config.run)['classes'] == ['road', 'car']


def test_a_teacher_of_other_classes_is_refused(config, masked_root, tmp_path):
    samples = load_samples(masked_root, 'train')
    detector = variant(config, task='detection', source='ir', steps=1)
    train(detector, samples)
    with_classes(masked_root, 'person', 'bicycle', 'lorry')
    with pytest.raises(FusionError, match=r'bicycle, car; those of .* bicycle, lorry'):
        train(learned_config(config, tmp_path, detector=detector.run), samples)


def test_detection_asks_for_boxes(config, masked_root):
    (masked_root / 'labels').rename(masked_root / 'elsewhere')
    samples = load_samples(masked_root, 'train')
    with pytest.raises(FusionError, match='has no boxes'):
        train(variant(config, task='detection', source='ir'), samples)


def test_a_device_that_is_not_there_is_refused_and_auto_says_what_it_took(
    config, data_root, capsys, monkeypatch
):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    samples = load_samples(data_root, 'train')
    with pytest.raises(FusionError, match='device=cpu'):
        train(variant(config, device='cuda'), samples)
    train(config, samples)
    assert 'on CPU' in capsys.readouterr().out


@pytest.mark.parametrize('task', ['fusion', 'detection', 'learned'])
def test_bfloat16_trains_to_finite_float32_weights(config, data_root, tmp_path, task):
    config = learned_config(config, tmp_path, task=task, source='ir', amp=True)
    train(config, load_samples(data_root, 'train'))
    for value in load_run(config.run).state_dict().values():
        assert value.dtype != torch.bfloat16
        assert value.isfinite().all()


def test_the_smoke_configuration_trains_the_learned_loss(root, data_root, tmp_path, capsys):
    run = tmp_path / 'smoke'
    changes = [f'data={data_root}', f'run={run}', 'steps=5', 'validate_every=2']
    main([str(root / 'config' / 'train' / 'smoke.yaml'), *changes])
    assert '4 pairs' in capsys.readouterr().out
    for place in ('', 'detector_a', 'detector_b', 'loss_net'):
        load_run(run / place)
    assert len((run / 'validation.jsonl').read_text(encoding='utf-8').splitlines()) == 3
