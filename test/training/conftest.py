"""
Small data sets, built on the spot: noise in the layout of msrs_det, real pairs in any layout.

What needs rosbags or OpenCV is imported where it is used, so that every tier can be collected.
"""

import json
from pathlib import Path
import sys

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for oracle
OURS = ('benchmarks', 'tdfusion_ros', 'training')
WITHOUT_TORCH = ('test_boxes', 'test_datasets', 'test_pair_files', 'test_quality', 'test_shell')


class TierModule(pytest.Module):
    """A file of tests that is skipped if it imports a package that is not installed."""

    def collect(self):
        try:
            return super().collect()
        except self.CollectError as error:
            cause = error.__cause__
            if isinstance(cause, ModuleNotFoundError) and not cause.name.startswith(OURS):
                pytest.skip(str(cause), allow_module_level=True)
            raise


def pytest_pycollect_makemodule(module_path, parent):
    return TierModule.from_parent(parent, path=module_path)


def pytest_itemcollected(item):
    if item.path.stem not in WITHOUT_TORCH:
        item.add_marker(pytest.mark.torch)


@pytest.fixture(scope='session')
def write_into():
    """Write files: ``write_into(root, {'a.txt': text, 'a.png': image, 'b.png': None})``."""
    import cv2

    def write(root, files):
        for place, content in files.items():
            path = root / place
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, str):
                path.write_text(content, encoding='utf-8')
            elif content is not None:
                assert cv2.imwrite(str(path), content)
        return root

    return write


@pytest.fixture(scope='session')
def write_yolox():
    """Write a network as an ONNX file like the released YOLOX: ``write(path, network)``."""
    onnx = pytest.importorskip('onnx')
    import torch

    def write(path, network):
        """Write the convolutions of a network as an ONNX file, the first one for half images."""
        nodes, tensors = [], []
        layers = [layer for layer in network.modules() if isinstance(layer, torch.nn.Conv2d)]
        for i, layer in enumerate(layers):
            weight = layer.weight.detach()
            if i == 0:  # the inverse of what the reader does
                weight = weight.reshape(-1, 3, 3, 2, 3, 2).permute(0, 5, 3, 1, 2, 4).flip(3)
                weight = weight.reshape(-1, 12, 3, 3)
            names = [f'x{i}', f'w{i}', f'b{i}']
            nodes.append(onnx.helper.make_node('Conv', names, [f'y{i}']))
            for name, value in zip(names[1:], (weight, layer.bias.detach()), strict=True):
                tensors.append(onnx.numpy_helper.from_array(value.numpy().copy(), name))
        graph = onnx.helper.make_graph(nodes, 'g', [], [], tensors)
        onnx.save(onnx.helper.make_model(graph), str(path))
        return str(path)

    return write


@pytest.fixture
def data_root(tmp_path, write_into):
    import numpy as np

    rng = np.random.default_rng(0)
    names = ('a', 'b', 'c', 'empty')
    files = {f'splits/{split}.txt': '\n'.join(names) for split in ('train', 'val')}
    for name in names:
        rgb = rng.integers(0, 80, (96, 128, 3), dtype=np.uint8)
        ir = rng.integers(0, 60, (96, 128), dtype=np.uint8)
        if name != 'empty':
            rgb[24:72, 32:64], ir[24:72, 32:64] = 200, 250
        label = '' if name == 'empty' else '2 0.375 0.5 0.25 0.5\n'
        files |= {f'vi/{name}.png': rgb, f'ir/{name}.png': ir, f'boxes/fusion/{name}.txt': label}
    return write_into(tmp_path / 'data', files)


@pytest.fixture
def masked_root(data_root):
    """Return ``data_root`` as a plain data set with boxes and masks; the top is unlabeled."""
    import cv2
    import numpy as np

    (data_root / 'vi').rename(data_root / 'rgb')
    (data_root / 'boxes' / 'fusion').rename(data_root / 'labels')
    (data_root / 'masks').mkdir()
    for path in (data_root / 'ir').iterdir():
        mask = np.uint8(cv2.imread(str(path), cv2.IMREAD_UNCHANGED) > 200)
        mask[:8] = 255
        cv2.imwrite(str(data_root / 'masks' / path.name), mask)
    (data_root / 'classes.txt').write_text('person\nbicycle\ncar\n', encoding='utf-8')
    (data_root / 'mask_classes.txt').write_text('road\ncar\n', encoding='utf-8')
    return data_root


@pytest.fixture
def short_run(data_root, tmp_path):
    """Return settings of a run that takes a second: ``short_run('learned', meta_every=2)``."""
    from training.config_reader import config_from_mapping

    places = {'data': str(data_root), 'run': str(tmp_path / 'run')}
    small = {'steps': 3, 'batch': 2, 'crop_hw': (64, 64), 'warmup_steps': 1, 'threads': 1}

    def make(task='fusion', **changes):
        has_fusion = task in ('fusion', 'learned', 'imitation')
        fusion = {'fusion_width': 4, 'fusion_depth': 2} if has_fusion else {}
        return config_from_mapping({'task': task, **places, **small, **fusion, **changes})

    return make


@pytest.fixture
def fusion_run(short_run, tmp_path):
    """Return the run of a new fusion network."""
    from dataclasses import asdict

    import torch

    from tdfusion_ros.nets.fusion_rt import FusionRT
    from training.checkpoint import save_run

    torch.manual_seed(0)
    config = short_run(run=str(tmp_path / 'fusion'))
    save_run(config.run, FusionRT(), {'config': asdict(config)})
    return config.run


@pytest.fixture
def save_detector(short_run, tmp_path):
    """Save a new detector as a run: ``save_detector(classes=3, source='ir')`` returns it."""
    from dataclasses import asdict

    from tdfusion_ros.nets.detector import Detector
    from tdfusion_ros.nets.detector import DetectorConfig
    from training.checkpoint import save_run

    def save(classes=3, source='ir', **settings):
        run = str(tmp_path / 'detector')
        config = short_run('detection', source=source, run=run, **settings)
        save_run(run, Detector(DetectorConfig(classes=classes)), {'config': asdict(config)})
        return run

    return save


@pytest.fixture(scope='session')
def yolox_file(write_yolox, tmp_path_factory):
    """Return a new network as an ONNX file like the released YOLOX-Nano."""
    import torch

    from tdfusion_ros.nets.yolox import Yolox
    from tdfusion_ros.nets.yolox import YoloxConfig

    torch.manual_seed(0)
    network = Yolox(YoloxConfig((1,) * 80))
    return write_yolox(tmp_path_factory.mktemp('yolox') / 'any.onnx', network)


@pytest.fixture
def samples(data_root):
    """Return the training split of ``data_root``, read."""
    from training.data.datasets import open_dataset

    return list(open_dataset(data_root, 'train'))


@pytest.fixture
def interrupt(monkeypatch):
    """Train until the power fails at a step: ``interrupt(3, train, config, samples)``."""
    from training import train

    def run(at, do, *arguments):
        def make_batch(samples, config, step, device):
            if step == at:
                raise KeyboardInterrupt
            return train_batch(samples, config, step, device)

        train_batch = train.make_batch
        with monkeypatch.context() as patch:
            patch.setattr(train, 'make_batch', make_batch)
            with pytest.raises(KeyboardInterrupt) as stopped:
                do(*arguments)
        return str(stopped.value)

    return run


@pytest.fixture
def tiny_detector(monkeypatch):
    """Let new detectors be as small as possible."""
    from functools import partial

    from tdfusion_ros.nets.detector import DetectorConfig

    sizes = {'widths': (4, 4, 8, 8, 8), 'repeats': (0, 0, 1, 0, 0), 'neck': 8, 'head': 8}
    tiny = partial(DetectorConfig, **sizes)
    monkeypatch.setattr('training.method.task_networks.DetectorConfig', tiny)


@pytest.fixture
def logged():
    """Return the lines of a log of a run: ``logged(run)`` or ``logged(run, 'validation')``."""

    def read(run, name='log'):
        lines = (Path(run) / f'{name}.jsonl').read_text(encoding='utf-8').splitlines()
        return [json.loads(line) for line in lines]

    return read


@pytest.fixture(scope='session')
def small_pairs(request):
    """Return four real pairs, (rgb, ir), 96x128."""
    pytest.importorskip('rosbags')  # reads the demo bag
    import cv2

    demo_pairs = request.getfixturevalue('demo_pairs')

    def cut(frame):
        return cv2.resize(frame.pixels, (128, 96), interpolation=cv2.INTER_AREA)

    return [(cut(pair.rgb), cut(pair.ir)) for pair in demo_pairs[:32:8]]


@pytest.fixture
def write_files(tmp_path, write_into):
    """Write files to a new folder, which is returned: as ``write_into``."""
    return lambda files: write_into(tmp_path, files)


@pytest.fixture
def labeled():
    """Return a black sample with boxes: ``labeled([[0, 0, 20, 20]], class_ids=[0])``."""
    import numpy as np

    from training.data.datasets import Sample

    def make(boxes, class_ids):
        ir = np.zeros((64, 64), np.uint8)
        boxes = np.array(boxes, np.float32).reshape(-1, 4)
        return Sample('a', np.dstack([ir] * 3), ir, boxes, np.array(class_ids, np.int64))

    return make


@pytest.fixture
def detected():
    """Return detections, best first: ``detected([[0, 0, 20, 20]], class_ids=[0])``."""
    import numpy as np

    from tdfusion_ros.core.data import Detections

    def make(boxes, class_ids):
        boxes = np.array(boxes, np.float32).reshape(-1, 4)
        scores = np.linspace(0.9, 0.5, len(boxes)).astype(np.float32)
        return Detections(boxes, scores, np.array(class_ids, np.int64))

    return make
