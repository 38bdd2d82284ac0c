from dataclasses import replace

import pytest
import torch

from tdfusion_ros.core.errors import FusionError
from training.checkpoint import load_run
from training.checkpoint import read_description
from training.data.augmentation import collate
from training.data.datasets import open_dataset
from training.loop.state import Best
from training.measure.metrics import average_precision
from training.measure.metrics import select
from training.method.task_networks import task_input
from training.train import train

pytest.importorskip('pycocotools')

pytestmark = pytest.mark.usefixtures('tiny_detector')


@pytest.fixture
def config(short_run):
    return lambda task='fusion', **changes: short_run(
        task, **{'steps': 3, 'validate_every': 2, 'panel_every': 0, **changes}
    )


@pytest.mark.parametrize(
    ('task', 'settings', 'measure', 'best'),
    [
        ('fusion', {}, 'loss', min),
        ('learned', {}, 'task', min),
        ('detection', {'source': 'ir'}, 'AP50', max),
        ('segmentation', {'source': 'ir'}, 'mIoU', max),
    ],
)
def test_the_best_averaged_weights_become_those_of_the_run(
    config, masked_root, logged, task, settings, measure, best
):
    config = config(task, **settings)
    train(config, list(open_dataset(masked_root, 'train')))
    lines = logged(config.run, 'validation')
    assert [line['step'] for line in lines] == [1, 2]
    chosen = best(lines, key=lambda line: line[measure])
    assert read_description(config.run)['best'] == {**chosen, 'split': 'val'}


def test_earlier_weights_are_kept_if_later_ones_are_worse(config, samples, tmp_path, monkeypatch):
    found = iter([1.0, 2.0])
    monkeypatch.setattr('training.loop.validation.Validation.__call__', lambda *_: next(found))
    kept = train(config(warmup_steps=9), samples)  # the same rates in the steps that both take
    short = config(warmup_steps=9, steps=2, validate_every=0, run=str(tmp_path / 'short'))
    expected = train(short, samples)
    torch.testing.assert_close(kept.state_dict(), expected.state_dict(), rtol=0, atol=0)
    assert read_description(short.run)['best'] == {'step': 1}


def test_the_measure_of_a_detector_is_the_ap50_of_the_written_run(config, samples, data_root):
    config = config('detection', source='ir', steps=20, validate_every=10)
    train(config, samples)
    samples, detector = list(open_dataset(data_root, 'val')), load_run(config.run)
    found = []
    with torch.inference_mode():
        for sample in samples:
            boxes, logits = detector(task_input(collate([sample]), 'ir', None))
            scores = logits[0].sigmoid().numpy()
            found.append(select(boxes[0].numpy(), scores, sample.ir.shape))
    expected = average_precision(samples, found)['all']['AP50']
    assert read_description(config.run)['best']['AP50'] == pytest.approx(expected, abs=1e-6)
    assert expected > 0


@pytest.mark.parametrize(('higher', 'kept'), [(True, 3.0), (False, 1.0)])
def test_the_first_of_equals_is_the_best(higher, kept):
    network = torch.nn.Linear(1, 1)
    best = Best({'network': torch.nn.Linear(1, 1)})
    for step, value in enumerate([2.0, 1.0, 3.0, 1.0, 3.0]):
        torch.nn.init.constant_(network.weight, step)
        best.offer({'network': network}, step, value, higher)
    assert best.value == kept
    assert best.step == best.networks['network'].weight.item() == (2 if higher else 1)


def test_a_split_of_other_or_no_classes_is_refused(config, samples, data_root, monkeypatch):
    (data_root / 'splits' / 'val.txt').write_text('empty\n', encoding='utf-8')
    with pytest.raises(FusionError, match='AP50 of split val is nan'):
        train(config('detection', source='ir'), samples)
    data = replace(open_dataset(data_root, 'val'), classes=('person', 'car'))
    monkeypatch.setattr('training.loop.validation.open_data', lambda *_: data)
    message = r'split val .* has the classes person, car, split train'
    with pytest.raises(FusionError, match=message):
        train(config('detection', source='ir'), samples)
