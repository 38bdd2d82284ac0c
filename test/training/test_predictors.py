from dataclasses import asdict
from dataclasses import replace
import json

import numpy as np
import pytest

torch = pytest.importorskip('torch')
for package in ('cv2', 'onnxruntime', 'pycocotools', 'safetensors', 'tqdm', 'yaml'):
    pytest.importorskip(package)

from tdfusion_ros.build import build_pipeline  # noqa: E402
from tdfusion_ros.core.data import Frame  # noqa: E402
from tdfusion_ros.core.errors import FusionError  # noqa: E402
from tdfusion_ros.core.synchronizer import FramePair  # noqa: E402
from tdfusion_ros.nets.detector import Detector  # noqa: E402
from tdfusion_ros.nets.detector import DetectorConfig  # noqa: E402
from tdfusion_ros.nets.fusion_rt import FusionRT  # noqa: E402
from training.checkpoint import save_run  # noqa: E402
from training.config import FusionTask  # noqa: E402
from training.config_reader import config_from_mapping  # noqa: E402
from training.data.datasets import Sample  # noqa: E402
from training.evaluate import main  # noqa: E402
from training.measure.metrics import EVERYTHING  # noqa: E402
from training.measure.predictors import bundle_predictor  # noqa: E402
from training.measure.predictors import run_predictor  # noqa: E402
from training.method.task_networks import read_detector  # noqa: E402

pytestmark = pytest.mark.torch

SIX = ['people', 'car', 'bus', 'lamp', 'motorcycle', 'truck']


@pytest.fixture
def save_detector(tmp_path):
    """Save an untrained detector as a run: ``save_detector(classes, **settings)``."""

    def save(classes, names=None, **settings):
        folder = tmp_path / 'detector'
        values = {'task': 'detection', 'source': 'ir', **settings}
        description = {'config': asdict(config_from_mapping(values))}
        named = {'classes': names} if names else {}
        save_run(folder, Detector(DetectorConfig(classes=classes)), {**description, **named})
        return str(folder)

    return save


@pytest.fixture
def odd():
    rng = np.random.default_rng(0)
    rgb = rng.integers(0, 256, (75, 101, 3), dtype=np.uint8)
    none = np.zeros((0, 4), np.float32), np.zeros(0, np.int64)
    return Sample('odd', rgb, rgb[..., 0], *none)


def test_a_detector_of_six_classes_is_measured_on_a_plain_folder_of_six(
    save_detector, write_pairs, write_text
):
    names = ['a', 'b', 'c', 'd']
    root = write_pairs('data/rgb', 'data/ir', names)
    write_text('data/classes.txt', '\n'.join(SIX))
    for number, name in enumerate(names):
        write_text(f'data/labels/{name}.txt', f'{number + 2} 0.5 0.5 0.25 0.25\n')
    output = root / 'table.json'
    where = ['--data', str(root / 'data'), '--split', 'all', '-o', str(output)]
    main(['--detector', save_detector(6, SIX), '--bootstrap', '5', *where])
    table = json.loads(output.read_text(encoding='utf-8'))
    assert list(table) == [*SIX, 'all']
    assert [table[name]['boxes'] for name in SIX] == [0, 0, 1, 1, 1, 1]
    with pytest.raises(FusionError, match='person, bicycle, car'):
        main(['--bundle', 'msrs_rt', *where])


def test_a_run_without_class_names_has_those_of_msrs(save_detector):
    assert read_detector(save_detector(3))[1] == ('person', 'bicycle', 'car')


def test_what_is_not_the_run_of_a_detector_is_refused(save_detector, tmp_path):
    with pytest.raises(FusionError, match=r'6 classes .* 3'):
        read_detector(save_detector(6))
    save_run(tmp_path / 'fusion', FusionRT(), {'config': asdict(FusionTask())})
    with pytest.raises(FusionError, match='FusionRT, not a detector'):
        run_predictor(str(tmp_path / 'fusion'))


@pytest.mark.parametrize('source', ['ir', 'fused'])
def test_a_run_takes_images_whose_sides_are_not_multiples_of_32(
    save_detector, tmp_path, odd, source
):
    save_run(tmp_path / 'fusion', FusionRT(), {'config': asdict(FusionTask())})
    run = save_detector(3, source=source, fusion=str(tmp_path / 'fusion'))
    found = run_predictor(run)(odd)
    assert (found.boxes_xyxy <= np.array([101, 75, 101, 75])).all()


def process(live, rgb, ir, case):
    """Return the detections of the robot in one of the cases below."""
    if case == 'stretched':
        ir = ir.astype(np.uint16) * 30 + 7000
    frames = {'rgb': Frame(rgb, 0), 'ir': Frame(ir, 0)}
    if case in frames:
        mode = 'rgb_only' if case == 'ir' else 'ir_only'
        present = frames | {case: None}
        pair = FramePair(present['rgb'], present['ir'], mode, frames['rgb'])
        return live.process_pair(pair).detections
    return live.process(frames['rgb'], frames['ir']).detections


@pytest.mark.parametrize('case', ['both', 'rgb', 'ir', 'stretched'])
def test_a_bundle_detects_what_the_robot_detects(small_pairs, odd, case):
    """Any size; with both cameras, while rgb or ir stalls, and with a 16-bit camera."""
    without = case if case in ('rgb', 'ir') else ''
    predict = bundle_predictor('msrs_rt', without, stretched=case == 'stretched')
    crop = np.s_[:] if without else np.s_[:75, :101]
    for rgb, ir in small_pairs[: 1 if without else None]:
        live = build_pipeline(replace(EVERYTHING, backend='cpu'))
        rgb, ir = (np.ascontiguousarray(image[crop]) for image in (rgb, ir))
        expected = process(live, rgb, ir, case)
        found = predict(replace(odd, rgb=rgb, ir=ir))
        assert len(expected.scores) > 0
        for key in ('boxes_xyxy', 'scores', 'class_ids'):
            np.testing.assert_allclose(getattr(found, key), getattr(expected, key), atol=1e-4)
