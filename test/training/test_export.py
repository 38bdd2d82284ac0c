from dataclasses import asdict
import hashlib
import json
from pathlib import Path
import shutil
import warnings

import numpy as np
import pytest
from safetensors.torch import load_file
import torch

from tdfusion_ros.backends.torch_network import load_network
from tdfusion_ros.backends.torch_network import round_weights
from tdfusion_ros.build import build_pipeline
from tdfusion_ros.build import find_bundle
from tdfusion_ros.core.config import FusionConfig
from tdfusion_ros.core.contract import parse_contract
from tdfusion_ros.core.data import Frame
from tdfusion_ros.core.errors import FusionError
from tdfusion_ros.core.errors import ModelError
from tdfusion_ros.nets import perception
from tdfusion_ros.nets import yolox
from tdfusion_ros.nets.detector import Detector
from tdfusion_ros.nets.detector import DetectorConfig
from tdfusion_ros.nets.fusion_rt import FusionRT
from tdfusion_ros.nets.fusion_rt import FusionRTConfig
from tdfusion_ros.nets.segmenter import Segmenter
from tdfusion_ros.nets.segmenter import SegmenterConfig
from tdfusion_ros.nets.yolox import Yolox
from tdfusion_ros.nets.yolox import YoloxConfig
from training.bundle import graph
from training.checkpoint import save_run
from training.config_reader import config_from_mapping
from training.evaluate import main as evaluate
from training.export import main

for package in ('onnxscript', 'onnxruntime'):
    pytest.importorskip(package)


SIX = ['people', 'car', 'bus', 'lamp', 'motorcycle', 'truck']
TINY = {'widths': (4, 4, 8, 8, 8), 'repeats': (0, 0, 0, 0, 0), 'neck': 8, 'head': 8}


def save(run, network, classes=SIX, **settings):
    values = {**settings, 'data': str(run.parent / 'mine'), 'run': str(run)}
    facts = {'pairs': 4, 'seconds': 7, 'torch': torch.__version__, 'classes': classes}
    save_run(run, network, {'config': asdict(config_from_mapping(values)), **facts})


@pytest.fixture(scope='module')
def root(tmp_path_factory, write_into):
    """Return a folder with data of six classes, a fusion network, and a detector behind it."""
    torch.manual_seed(0)
    root, rng = tmp_path_factory.mktemp('export'), np.random.default_rng(0)
    files = {'splits/train.txt': 'a\nb\nc\nd', 'splits/val.txt': 'e\nf'}
    files['classes.txt'] = '\n'.join(SIX)
    for i, name in enumerate('abcdef'):
        rgb = rng.integers(0, 256, (96, 128, 3), np.uint8)
        files |= {f'rgb/{name}.png': rgb, f'ir/{name}.png': rgb[::-1, :, 0]}
        files[f'labels/{name}.txt'] = f'{i} 0.5 0.5 0.25 0.5'
    write_into(root / 'mine', files)
    save(root / 'fusion', FusionRT(FusionRTConfig(width=8, depth=2, steady=True)))
    for name, source in (('detector', 'fused'), ('of_ir', 'ir'), ('of_both', 'early')):
        inputs = 2 if source == 'early' else 3
        detector = Detector(DetectorConfig(classes=6, inputs=inputs, **TINY))
        fusion = str(root / 'fusion') if source == 'fused' else ''
        save(root / name, detector, task='detection', source=source, fusion=fusion)
    return root


@pytest.fixture(scope='module')
def bundle(root):
    with warnings.catch_warnings():  # the command shows none
        warnings.simplefilter('error')
        main([str(root / 'detector'), '-o', str(root / 'tiny_rt')])
    return root / 'tiny_rt'


@pytest.fixture(scope='module')
def contract(bundle):
    return json.loads((bundle / 'model.json').read_text(encoding='utf-8'))


def test_exported_graphs_match_torch_at_sizes_they_were_not_exported_for(bundle, contract):
    model = perception.build_perception(contract['architecture']).eval()
    sizes = [(64, 64), (224, 352), (96, 640)]
    with pytest.raises(ModelError, match='differs from torch'):
        graph.check_parity(model, bundle, sizes)
    model.load_state_dict(load_file(bundle / 'weights.safetensors'))
    worst = graph.check_parity(model, bundle, sizes)
    assert worst['fused_levels'] <= 1
    assert worst['boxes_px'] < 1e-2
    assert worst['scores'] < 1e-4
    torch.nn.init.constant_(next(model.detector.parameters()), float('nan'))
    with pytest.raises(ModelError, match=r'differs from torch.*nan'):
        graph.check_parity(model, bundle, sizes)


def test_exported_weights_are_those_of_half_precision(bundle, contract):
    model = perception.build_perception(contract['architecture'])
    stored = load_file(bundle / 'weights.safetensors')
    model.load_state_dict(stored)
    round_weights(model)
    assert all(value.equal(stored[name]) for name, value in model.state_dict().items())


def test_bundle_has_the_contract_of_the_robot_and_no_path_of_a_machine(bundle, contract, root):
    parsed = parse_contract((bundle / 'model.json').read_text(encoding='utf-8'))
    assert (parsed.name, parsed.size_multiple, parsed.classes) == ('tiny_rt', 32, tuple(SIX))
    for name, expected in contract['files'].items():
        assert hashlib.sha256((bundle / name).read_bytes()).hexdigest() == expected
    for place in (root, Path(perception.__file__).parent):
        assert not [file for file in bundle.iterdir() if str(place).encode() in file.read_bytes()]


def test_figures_are_those_of_the_commands_in_the_card(root, bundle, contract):
    on = ['--bundle', str(bundle), '--data', str(root / 'mine'), '--split', 'val']
    output = root / 'table.json'
    for key, more in (('detection', ['--bootstrap', '1000']), ('fusion', ['--quality'])):
        evaluate([*on, *more, '-o', str(output), '--overwrite'])
        table = json.loads(output.read_text(encoding='utf-8'))
        table = {name.replace(str(bundle), bundle.name): row for name, row in table.items()}
        assert table == contract['metrics'][key]
    assert list(contract['metrics']['detection']) == [*SIX, 'all']
    card = (bundle / 'MODEL_CARD.md').read_text(encoding='utf-8')
    assert 'on 2 pairs of mine/val' in card
    assert 'None of them was trained on.' in card
    assert '* `mine/train`: 4 pairs of 128x96; 4 boxes (1 people, 1 car, 1 bus, 1 lamp' in card
    assert 'fusion=runs/fusion run=runs/detector' in card
    assert 'Set by whoever trained it' in card


def test_a_bundle_can_be_exported_with_moved_runs_and_without_data(tmp_path, monkeypatch):
    shipped = find_bundle('msrs_rt')
    contract = json.loads((shipped / 'model.json').read_text(encoding='utf-8'))
    model = perception.build_perception(contract['architecture'])
    model.load_state_dict(load_file(shipped / 'weights.safetensors'))
    moved = {'task': 'detection', 'classes': contract['classes'], 'fusion': 'runs/gone'}
    save(tmp_path / 'fusion', model.fusion)
    save(tmp_path / 'of_both', model.detector, source='early', **moved)
    save(tmp_path / 'detector', Detector(DetectorConfig(classes=3, **TINY)), **moved)
    (tmp_path / 'note.md').write_text('## By hand', encoding='utf-8')
    names = ('detector', 'of_both', 'fusion', 'bundle', 'note.md')
    detector, of_both, fusion, output, note = (str(tmp_path / name) for name in names)
    with pytest.raises(FusionError, match='--fusion RUN'):
        main([detector, '-o', output, '--no-metrics'])
    with pytest.raises(FusionError, match='--no-metrics'):
        main([detector, '-o', output, '--fusion', fusion])
    assert not Path(output).exists()
    # Saves ten seconds; it is the graph that the export would write.
    monkeypatch.setattr(
        graph, 'export_onnx', lambda _, path: shutil.copy(shipped / 'model.onnx', path)
    )
    main([of_both, '-o', output, '--fusion', fusion, '--no-metrics', '--note', note])
    card = (tmp_path / 'bundle' / 'MODEL_CARD.md').read_text(encoding='utf-8')
    assert 'not measured' in card
    assert 'reads luma and infrared' in card
    assert card.endswith('## By hand\n')
    build_pipeline(FusionConfig(model=output, backend='cpu'))

    of_bundle = tmp_path / 'of_bundle'
    main([of_both, '-o', str(of_bundle), '--fusion', str(shipped), '--no-metrics'])
    training = json.loads((of_bundle / 'model.json').read_text(encoding='utf-8'))['training']
    known = contract['training']
    assert training['fusion'] == known['fusion']
    assert training['before'] == known['before']
    of_fusion = 'picture_sets.yaml/train'
    assert training['data'][of_fusion] == known['data'][of_fusion]
    card = (of_bundle / 'MODEL_CARD.md').read_text(encoding='utf-8')
    assert '--fusion models/msrs_rt -o BUNDLE' in card


@pytest.mark.parametrize(
    ('arguments', 'reason'),
    [
        (['of_ir'], 'reads ir: train the detector with source=fused or source=early'),
        (['of_both'], 'with --fusion RUN'),
        (['detector', '--segmenter', 'of_ir'], 'contains a Detector, not a segmenter'),
        (['fusion'], 'contains a FusionRT, not a detector'),
        (['detector', '--fusion', 'of_ir'], 'contains a Detector, not a fusion network'),
        (['detector', '--split', 'test'], 'test.txt is missing'),
    ],
)
def test_what_cannot_be_a_bundle_is_refused_first(root, tmp_path, monkeypatch, arguments, reason):
    monkeypatch.chdir(root)
    with pytest.raises(FusionError, match=reason):
        main([*arguments, '-o', str(tmp_path / 'bundle')])
    assert not (tmp_path / 'bundle').exists()


def test_an_export_overwrites_neither_a_bundle_nor_a_run(root, bundle, tmp_path):
    for folder in (bundle, root / 'fusion'):
        before = (folder / 'weights.safetensors').read_bytes()
        with pytest.raises(FusionError, match=f'{folder} exists: name a new folder'):
            main([str(root / 'detector'), '-o', str(folder)])
        assert (folder / 'weights.safetensors').read_bytes() == before
    file = tmp_path / 'file'
    file.touch()
    with pytest.raises(FusionError, match=f'{file} exists: name a new folder'):
        main([str(root / 'detector'), '-o', str(file)])


def test_cost_counts_every_multiplication_of_a_convolution():
    network = torch.nn.Conv2d(2, 3, 5, padding=2)
    expected = {'parameters': 153, 'macs_640x480': 640 * 480 * 2 * 3 * 25}
    assert graph.cost(network, graph.image(2)) == expected


def test_bundle_is_exported_again_with_the_same_weights_and_history(
    root, bundle, contract, monkeypatch
):
    data = str(root / 'mine')
    # The graphs that the export would write; it compares them with torch.
    monkeypatch.setattr(
        graph, 'export_onnx', lambda _, path: shutil.copy(bundle / path.name, path)
    )
    with (bundle / 'MODEL_CARD.md').open('a') as card:
        card.write('\n\nTwo seeds were compared.\n')
    main([str(bundle), '-o', str(root / 'again'), '--data', data])
    again = json.loads((root / 'again' / 'model.json').read_text(encoding='utf-8'))
    assert again == {**contract, 'name': 'again', 'files': again['files']} | {
        'metrics': again['metrics']
    }
    assert again['metrics']['on'] == contract['metrics']['on']
    assert again['metrics']['detection'] == contract['metrics']['detection']
    assert again['files']['weights.safetensors'] == contract['files']['weights.safetensors']
    card = (root / 'again' / 'MODEL_CARD.md').read_text(encoding='utf-8')
    assert card.endswith('\nTwo seeds were compared.\n')
    assert 'Trained once' not in card


def test_a_segmenter_adds_masks_to_a_bundle_and_its_training_to_the_history(
    root, bundle, contract, monkeypatch
):
    monkeypatch.setattr(yolox, 'REPEATS', (0, 0, 0, 0))  # fewer operators: half a minute less
    settings = {'source': 'fused', 'fusion': str(bundle)}
    names = ('background', 'car', 'person')
    detector, segmenter = Yolox(YoloxConfig((1,) * 6)), Segmenter(SegmenterConfig(names))
    save(root / 'yolox', detector, task='detection', **settings)
    save(root / 'segmenter', segmenter, names, task='segmentation', **settings)
    arguments = ['--segmenter', str(root / 'segmenter'), '--no-metrics', '-o', str(root / 'masks')]
    for other in (bundle, root / 'yolox'):
        with pytest.raises(FusionError, match='reads the features of another detector'):
            main([str(other), '--fusion', str(root / 'fusion'), *arguments])
    segmenter.load_state_dict(detector.state_dict(), strict=False)
    save(root / 'segmenter', segmenter, names, task='segmentation', **settings)
    main([str(root / 'yolox'), '--fusion', str(root / 'fusion'), *arguments])
    found = json.loads((root / 'masks' / 'model.json').read_text(encoding='utf-8'))
    assert found['mask_classes'] == list(names)
    assert [d['config']['task'] for d in found['training']['before']][-1] == 'segmentation'
    assert found['metrics']['onnx_parity']['masks'] < 0.01
    model = load_network(found['architecture'], (root / 'masks/weights.safetensors').read_bytes())
    rng = np.random.default_rng(3)
    rgb = rng.integers(0, 256, (96, 128, 3), np.uint8)
    inputs = (
        torch.from_numpy(rgb),
        torch.from_numpy(rgb[..., 0] / 255).float(),
        torch.ones(96, 128),
    )
    expected = model(*inputs)[3].numpy()
    pipeline = build_pipeline(FusionConfig(model=str(root / 'masks'), backend='cpu'))
    result = pipeline.process(Frame(rgb, 0), Frame(rgb[..., 0].copy(), 0))
    assert np.mean(result.segmentation != expected) < 0.01
    assert set(np.unique(expected)) <= {0, 1, 2}
    assert '| mask_head |' in (root / 'masks' / 'MODEL_CARD.md').read_text(encoding='utf-8')


def test_export_of_a_bundle_needs_to_know_the_data(root, bundle, capsys):
    with pytest.raises(SystemExit):
        main([str(bundle), '-o', str(root / 'without')])
    assert 'a bundle does not name its data: give --data' in capsys.readouterr().err
