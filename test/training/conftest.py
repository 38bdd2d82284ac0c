"""A data set of four small pairs, built on the spot in the layout of msrs_det."""

from pathlib import Path
import sys

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for oracle


@pytest.fixture
def data_root(tmp_path):
    import cv2
    import numpy as np

    root = tmp_path / 'data'
    for folder in ('ir', 'vi', 'boxes/fusion', 'splits'):
        (root / folder).mkdir(parents=True)
    rng = np.random.default_rng(0)
    names = ('a', 'b', 'c', 'empty')
    for name in names:
        rgb = rng.integers(0, 80, (96, 128, 3), dtype=np.uint8)
        ir = rng.integers(0, 60, (96, 128), dtype=np.uint8)
        if name != 'empty':
            rgb[24:72, 32:64], ir[24:72, 32:64] = 200, 250
        label = '' if name == 'empty' else '2 0.375 0.5 0.25 0.5\n'
        cv2.imwrite(str(root / 'ir' / f'{name}.png'), ir)
        cv2.imwrite(str(root / 'vi' / f'{name}.webp'), rgb, [cv2.IMWRITE_WEBP_QUALITY, 101])
        (root / 'boxes' / 'fusion' / f'{name}.txt').write_text(label, encoding='utf-8')
    for split in ('train', 'val'):
        (root / 'splits' / f'{split}.txt').write_text('\n'.join(names), encoding='utf-8')
    return root
