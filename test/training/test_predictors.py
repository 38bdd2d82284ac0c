from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from tdfusion_ros.build import build_pipeline
from tdfusion_ros.core.data import Frame
from tdfusion_ros.core.errors import FusionError
from tdfusion_ros.core.errors import ModelError
from tdfusion_ros.core.synchronizer import FramePair
from training.checkpoint import load_fusion
from training.data.datasets import Sample
from training.evaluate import write_pictures
from training.measure import predictors
from training.measure.metrics import EVERYTHING
from training.measure.predictors import Change
from training.method.task_networks import read_detector

pytest.importorskip('onnxruntime')
HW = (75, 101)


@pytest.fixture
def odd():
    rng = np.random.default_rng(0)
    rgb = rng.integers(0, 256, (*HW, 3), dtype=np.uint8)
    return Sample('a', rgb, rng.integers(0, 256, HW, dtype=np.uint8))


def test_runs_and_bundles_fuse_a_pair_of_odd_size_like_its_even_part(odd, fusion_run):
    fused = predictors.run_fuser(fusion_run)(odd)
    assert (fused.shape, fused.dtype) == (HW, np.uint8)
    weights = torch.tensor([0.299, 0.587, 0.114])
    luma = (torch.from_numpy(odd.rgb[:64, :64]).float() / 255 @ weights)[None, None]
    ir = torch.from_numpy(odd.ir[:64, :64]).float()[None, None] / 255
    with torch.inference_mode():
        even = load_fusion(fusion_run)(luma, ir)[0, 0].numpy() * 255
    inner = slice(0, 40)  # farther from the border than the receptive field
    assert np.abs(fused[inner, inner] - even[inner, inner]).max() < 1
    fused = predictors.bundle_fuser('msrs_rt')(odd)
    assert (fused.shape, fused.dtype) == (HW, np.uint8)


def test_names_that_merely_end_in_d_say_nothing_about_daylight(data_root):
    for path in (*(data_root / 'vi').iterdir(), *(data_root / 'ir').iterdir()):
        path.rename(path.with_stem(path.stem + 'D'))
    assert (
        'light'
        not in predictors.open_folders(str(data_root / 'vi'), str(data_root / 'ir'))[0].strata
    )


def test_pictures_give_the_fused_luma_the_colors_of_rgb(tmp_path):
    pixel = Sample('a', np.full((1, 1, 3), 90, np.uint8), np.full((1, 1), 200, np.uint8))
    write_pictures(tmp_path, {'lighter': lambda _: np.full((1, 1), 210, np.uint8)}, [pixel])
    picture = cv2.imread(str(tmp_path / 'a.png'))
    assert picture.tolist() == [[[90] * 3, [200] * 3, [210] * 3]]


def test_a_run_has_classes_of_msrs_or_its_own_and_others_are_refused(save_detector, fusion_run):
    assert read_detector(save_detector())[1] == ('person', 'bicycle', 'car')
    detector = save_detector(6)
    with pytest.raises(FusionError, match=r'6 classes .* 3'):
        read_detector(detector)
    with pytest.raises(FusionError, match='FusionRT, not a detector'):
        predictors.run_predictor(fusion_run)
    with pytest.raises(ModelError, match='Detector, not a fusion network'):
        predictors.run_fuser(detector)


@pytest.mark.parametrize('source', ['ir', 'fused'])
def test_a_run_takes_images_of_any_size(save_detector, fusion_run, odd, source):
    found = predictors.run_predictor(save_detector(source=source, fusion=fusion_run))(odd)
    assert (found.boxes_xyxy <= np.array([101, 75, 101, 75])).all()


@pytest.mark.parametrize('case', ['both', 'rgb', 'ir', 'stretched'])
def test_a_bundle_detects_what_the_robot_detects(small_pairs, case):
    """Any size; with both cameras, while rgb or ir stalls, and with a 16-bit camera."""
    without = case if case in ('rgb', 'ir') else ''
    predict = predictors.bundle_predictor('msrs_rt', Change(without, case == 'stretched'))
    for rgb, ir in small_pairs[: 1 if without else None]:
        live = build_pipeline(replace(EVERYTHING, backend='cpu'))
        if not without:
            rgb, ir = (np.ascontiguousarray(image[:75, :101]) for image in (rgb, ir))
        counts = ir.astype(np.uint16) * 32 + 8192 if case == 'stretched' else ir
        frames = {'rgb': Frame(rgb, 0), 'ir': Frame(counts, 0)}
        if without:
            mode = 'rgb_only' if case == 'ir' else 'ir_only'
            pair = FramePair(**(frames | {case: None}), mode=mode, reference=frames['rgb'])
            expected = live.process_pair(pair).detections
        else:
            expected = live.process(**frames).detections
        found = predict(Sample('a', rgb, ir))
        assert len(expected.scores) > 0
        for key in ('boxes_xyxy', 'scores', 'class_ids'):
            np.testing.assert_allclose(getattr(found, key), getattr(expected, key), atol=1e-4)
