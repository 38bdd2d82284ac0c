"""Image files of users: read within limits, named where they cannot be."""

import os

import cv2
import numpy as np
import pytest

from tdfusion_ros.core.errors import BagError
from tdfusion_ros.formats import image_files
from tdfusion_ros.formats.image_files import read_image

COUNTS = np.arange(48 * 64, dtype=np.uint16).reshape(48, 64) * 20


def test_file_is_read_by_its_content_whatever_its_suffix(tmp_path):
    path = tmp_path / 'a.jpg'
    path.write_bytes(cv2.imencode('.png', COUNTS)[1].tobytes())
    np.testing.assert_array_equal(read_image(path), COUNTS)


def test_file_larger_than_any_image_is_refused_by_name(tmp_path, monkeypatch):
    path = tmp_path / 'a.png'
    with path.open('wb') as file:
        file.truncate(image_files.MAX_FILE_BYTES + 1)  # takes no space on the disk
    monkeypatch.setattr(np, 'fromfile', lambda *_: pytest.fail('was read'))
    with pytest.raises(BagError, match=r'a\.png .*512 MiB'):
        read_image(path)


def test_pipe_folder_or_missing_file_is_named_and_does_not_hang(tmp_path):
    os.mkfifo(tmp_path / 'a.png')
    (tmp_path / 'b.png').mkdir()
    for name, words in (('a', 'is not an image'), ('b', 'is not an image'), ('c', 'cannot be')):
        with pytest.raises(BagError, match=rf'{name}\.png {words}'):
            read_image(tmp_path / f'{name}.png')


@pytest.mark.parametrize(
    ('stems', 'names'),
    [
        (['1_rgb', '2_rgb'], ['1', '2']),
        (['1-Thermal'], ['1']),
        (['1_rgb', '2'], ['1_rgb', '2']),
        (['1_rgb', '1_ir'], ['1_ir', '1_rgb']),
        (['_ir'], ['_ir']),
        (['ir_1', 'ir_2'], ['1', '2']),
        (['DJI_1_T', 'DJI_2_T'], ['DJI_1', 'DJI_2']),
        (['rgb_1', 'ir_1'], ['ir_1', 'rgb_1']),
    ],
)
def test_a_name_of_the_camera_in_all_stems_is_left_out(tmp_path, stems, names):
    for stem in stems:
        (tmp_path / f'{stem}.png').touch()
    assert list(image_files.list_files(tmp_path)) == names
