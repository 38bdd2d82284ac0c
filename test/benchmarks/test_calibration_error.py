"""``python -m benchmarks.calibration_error`` prints its table, from a tiny set of data."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from tdfusion_ros.core.errors import ConfigError
from tdfusion_ros.tools.calibrate import matching

SIZE = 320, 240


@pytest.fixture
def calibration_error(monkeypatch):
    """Return the module; the search is short, because the demo's cameras are aligned."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2]))
    monkeypatch.setattr(matching, 'ZOOMS', [1.0, 1.05])
    from benchmarks import calibration_error

    return calibration_error


def write_pairs(pairs, rgb_folder, ir_folder):
    for folder in (rgb_folder, ir_folder):
        folder.mkdir(parents=True)
    for name, pair in pairs.items():
        cv2.imwrite(str(rgb_folder / f'{name}.png'), cv2.resize(pair.rgb.pixels, SIZE))
        cv2.imwrite(str(ir_folder / f'{name}.png'), cv2.resize(pair.ir.pixels, SIZE))


@pytest.fixture
def data(demo_pairs, tmp_path):
    """Write a pair of the demo, 320x240, as each of the data sets; two for MSRS."""
    sets = {'misreg_landmarks': 'ir', 'misreg_flow': 'ir_warp', 'm3svd_seq/a': 'ir'}
    for name, ir in sets.items():
        write_pairs({'a': demo_pairs[0]}, tmp_path / name / 'vi', tmp_path / name / ir)
    msrs = {'1D': demo_pairs[0], '2N': demo_pairs[1]}
    write_pairs(msrs, tmp_path / 'msrs_det' / 'vi', tmp_path / 'msrs_det' / 'ir')
    points = [[x, y] for x in range(40, 300, 40) for y in range(40, 220, 40)]
    (tmp_path / 'misreg_landmarks' / 'landmarks').mkdir()
    (tmp_path / 'misreg_landmarks' / 'landmarks' / 'a.json').write_text(
        json.dumps({'vi_xy': points, 'ir_xy': points})
    )
    identity = np.stack(np.meshgrid(*((np.arange(n) * 2 + 1) / n - 1 for n in SIZE)), axis=-1)
    (tmp_path / 'misreg_flow' / 'grid').mkdir()
    np.savez(tmp_path / 'misreg_flow' / 'grid' / 'a.npz', grid=identity.astype(np.float32))
    return tmp_path


def test_each_data_set_has_a_row_with_its_errors(calibration_error, data, capsys):
    calibration_error.main(['--data', str(data), '--pictures', str(data / 'out')])
    _, *lines = capsys.readouterr().out.splitlines()
    rows = {line[:24].strip(): line[24:].split() for line in lines}
    assert list(rows) == ['landmarks a', 'flow a', 'm3svd a x 1', 'msrs day x 1', 'msrs night x 1']
    for name in ('landmarks a', 'flow a'):
        before, picked, found = map(float, rows[name][:3])
        assert before == pytest.approx(0, abs=0.01)
        assert picked < 2
        assert found < 5  # the demo is misregistered by 2 px at this size
    assert (data / 'out' / 'landmarks_a.png').exists()


def test_a_folder_without_data_is_an_error(calibration_error, tmp_path):
    with pytest.raises(ConfigError, match=str(tmp_path)):
        calibration_error.main(['--data', str(tmp_path)])
