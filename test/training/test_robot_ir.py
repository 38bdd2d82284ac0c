"""Infrared as training reads it, held against infrared as the robot scales it."""

import pytest

torch = pytest.importorskip('torch')
cv2 = pytest.importorskip('cv2')

import numpy as np  # noqa: E402

from tdfusion_ros.core.config import IrConfig  # noqa: E402
from tdfusion_ros.core.thermal import ThermalScaler  # noqa: E402
from tdfusion_ros.formats.decode import decode_image  # noqa: E402
from training.data.augmentation import collate  # noqa: E402
from training.data.datasets import Sample  # noqa: E402
from training.data.pair_files import read_ir  # noqa: E402

pytestmark = pytest.mark.torch


@pytest.mark.parametrize('suffix', ['.png', '.jpg'])
@pytest.mark.parametrize('tint', [None, 0, 4])
def test_training_reads_infrared_as_the_robot_does(tmp_path, small_pairs, suffix, tint):
    ir = small_pairs[0][1].clip(8, 247)
    path = tmp_path / f'a{suffix}'
    cv2.imwrite(str(path), ir if tint is None else np.dstack([ir + tint, ir, ir - tint]))
    robot = ThermalScaler(IrConfig()).scale(decode_image(np.fromfile(path, np.uint8)))
    rgb = np.zeros((*ir.shape, 3), np.uint8)
    sample = Sample('a', rgb, read_ir(path), np.zeros((0, 4), np.float32), np.zeros(0, np.int64))
    np.testing.assert_allclose(collate([sample]).ir[0, 0].numpy(), robot, rtol=0, atol=1e-7)
