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
from training.method.tasks import read_detector  # noqa: E402

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


def test_a_run_that_does_not_name_its_classes_has_those_of_msrs(save_detector):
    assert read_detector(save_detector(3))[1] == ('person', 'bicycle', 'car')


def test_a_run_must_name_as_many_classes_as_its_network_has(save_detector):
    with pytest.raises(FusionError, match='6 classes apart and names 3'):
        read_detector(save_detector(6))


def test_a_run_of_another_network_is_no_detector(tmp_path):
    save_run(tmp_path / 'fusion', FusionRT(), {'config': asdict(FusionTask())})
    with pytest.raises(FusionError, match='holds a FusionRT, not a detector'):
        run_predictor(str(tmp_path / 'fusion'))


@pytest.mark.parametrize('source', ['ir', 'fused'])
def test_a_run_takes_pictures_whose_sides_are_no_multiples_of_32(
    save_detector, tmp_path, odd, source
):
    save_run(tmp_path / 'fusion', FusionRT(), {'config': asdict(FusionTask())})
    run = save_detector(3, source=source, fusion=str(tmp_path / 'fusion'))
    found = run_predictor(run)(odd)
    assert (found.boxes_xyxy <= np.array([101, 75, 101, 75])).all()


def test_a_bundle_finds_what_the_robot_finds_whatever_the_size(small_pairs, odd):
    live = build_pipeline(replace(EVERYTHING, backend='cpu'))
    predict = bundle_predictor('msrs_rt')
    for rgb, ir in small_pairs:
        rgb, ir = rgb[:75, :101], np.ascontiguousarray(ir[:75, :101])
        expected = live.process(Frame(rgb, 0), Frame(ir, 0)).detections
        found = predict(replace(odd, rgb=rgb, ir=ir))
        assert len(expected.scores) > 0
        for key in ('boxes_xyxy', 'scores', 'class_ids'):
            np.testing.assert_allclose(getattr(found, key), getattr(expected, key), atol=1e-4)


@pytest.mark.parametrize(('without', 'mode'), [('ir', 'rgb_only'), ('rgb', 'ir_only')])
def test_a_bundle_without_a_camera_finds_what_the_robot_finds_while_it_stalls(
    small_pairs, odd, without, mode
):
    live = build_pipeline(replace(EVERYTHING, backend='cpu'))
    predict = bundle_predictor('msrs_rt', without)
    rgb, ir = (np.ascontiguousarray(image) for image in small_pairs[0])
    left = {'rgb': Frame(rgb, 0), 'ir': Frame(ir, 0), without: None}
    expected = live.process_pair(
        FramePair(left['rgb'], left['ir'], mode, Frame(rgb, 0))
    ).detections
    found = predict(replace(odd, rgb=rgb, ir=ir))
    assert len(expected.scores) > 0
    for key in ('boxes_xyxy', 'scores', 'class_ids'):
        np.testing.assert_allclose(getattr(found, key), getattr(expected, key), atol=1e-4)


def test_stretched_infrared_is_that_of_a_16_bit_camera_on_the_robot(small_pairs, odd):
    predict = bundle_predictor('msrs_rt', stretched=True)
    for rgb, ir in small_pairs:
        live = build_pipeline(replace(EVERYTHING, backend='cpu'))
        rgb, ir = rgb[:75, :101], np.ascontiguousarray(ir[:75, :101])
        counts = ir.astype(np.uint16) * 30 + 7000
        expected = live.process(Frame(rgb, 0), Frame(counts, 0)).detections
        found = predict(replace(odd, rgb=rgb, ir=ir))
        assert len(expected.scores) > 0
        for key in ('boxes_xyxy', 'scores', 'class_ids'):
            np.testing.assert_allclose(getattr(found, key), getattr(expected, key), atol=1e-4)
