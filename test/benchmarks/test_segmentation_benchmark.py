"""The comparison of inputs by a small head on a frozen backbone."""

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip('torch')
pytest.importorskip('onnxruntime')

import torch

from benchmarks import segmentation
from tdfusion_ros.core.errors import FusionError
from tdfusion_ros.nets.yolox import Yolox

pytestmark = pytest.mark.torch
YOLOX = Path(__file__).parents[3] / 'shared' / 'pretrained' / 'yolox_nano.onnx'


@pytest.fixture
def scenes():
    """Return features and masks of four images of noise with a bright square each."""
    torch.manual_seed(0)
    rng, backbone = np.random.default_rng(0), Yolox().eval()
    features, masks = [], []
    for corner in (8, 24, 40, 56):
        rgb = rng.integers(0, 60, (75, 101, 3), dtype=np.uint8)
        mask = np.zeros((75, 101), np.uint8)
        rgb[corner - 8 : corner + 16, corner : corner + 32] = 250
        mask[corner - 8 : corner + 16, corner : corner + 32] = 1
        mask[:2] = 255
        features.append(segmentation.backbone_features(backbone, rgb))
        masks.append(mask)
    return features, masks


def test_a_head_learns_what_the_features_show_at_any_image_size(scenes):
    torch.manual_seed(0)
    head = segmentation.train_head(*scenes, 2, 80)
    assert segmentation.measure(head, *scenes, 2)[1] > 0.6
    assert head(scenes[0][0]).shape == (1, 2, 24, 32)


@pytest.mark.skipif(not YOLOX.is_file(), reason='needs the detector of ../shared')
def test_all_inputs_are_measured_with_all_seeds(tmp_path, capsys):
    import cv2

    rng, root = np.random.default_rng(0), tmp_path / 'data'
    for camera in ('rgb', 'ir', 'masks'):
        (root / camera).mkdir(parents=True)
    for name in 'abcd':
        image = rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)
        cv2.imwrite(str(root / 'rgb' / f'{name}.png'), image)
        cv2.imwrite(str(root / 'ir' / f'{name}.png'), image[..., 0])
        if name == 'a':
            cv2.imwrite(str(root / 'masks' / f'{name}.png'), np.uint8(image[..., 0] > 99))
    (root / 'splits').mkdir()
    for split in ('train', 'val'):
        (root / 'splits' / f'{split}.txt').write_text('a')
    arguments = [str(YOLOX), '--data', str(root), '--inputs', 'ir', '--fusion', 'msrs_rt']
    with pytest.raises(FusionError, match=r'mask_classes\.txt'):
        segmentation.main(arguments)
    (root / 'mask_classes.txt').write_text('road\ncar\n')
    output = tmp_path / 'out.json'
    segmentation.main([*arguments, '--seeds', '0', '1', '--steps', '2', '-o', str(output)])
    content = json.loads(output.read_text(encoding='utf-8'))
    assert content['classes'] == ['road', 'car']
    assert {name: list(seeds) for name, seeds in content['IoU'].items()} == {
        'ir': ['0', '1'],
        'msrs_rt': ['0', '1'],
    }
    assert '| input | mIoU | road | car |' in capsys.readouterr().out
