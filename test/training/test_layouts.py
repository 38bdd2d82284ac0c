import numpy as np
import pytest

pytest.importorskip('cv2')

from tdfusion_ros.core.errors import FusionError
from training.data.datasets import open_dataset
from training.data.layouts import cut_blocks
from training.data.layouts import find_layout


@pytest.fixture
def write_names(write_files):
    """Write plain pairs of these names, and a list of the split train."""
    image = np.zeros((32, 32), np.uint8)

    def write(names, split):
        files = {f'{folder}/{name}.png': image for folder in ('rgb', 'ir') for name in names}
        return write_files(files | {'splits/train.txt': split})

    return write


@pytest.mark.parametrize(
    ('folders', 'name'),
    [
        (('vi', 'ir', 'boxes/fusion'), 'msrs_det'),
        (('vi', 'ir'), 'pairs'),
        (('train/vi', 'train/ir', 'test/vi'), 'msrs'),
        (('test/Visible', 'test/Infrared'), 'fmb'),
        (('Vis', 'Ir'), 'm3fd'),
        (('visible/train', 'infrared/train'), 'llvip'),
        (('rgb', 'ir'), 'pairs'),
    ],
)
def test_a_data_set_is_recognized_by_its_folders(tmp_path, folders, name):
    for folder in folders:
        (tmp_path / folder).mkdir(parents=True)
    assert find_layout(tmp_path).name == name


def test_validation_blocks_are_contiguous_and_training_keeps_its_distance():
    names = [f'{i:04d}' for i in range(1000)]
    train, val = (
        {int(name) for name in cut_blocks(names, split)}
        for split in ('blocks_train', 'blocks_val')
    )
    assert len(val) == 250
    assert 700 <= len(train) < 750
    assert min(abs(a - b) for a in train for b in val) > 5
    assert len([i for i in val if i - 1 not in val]) == 5


@pytest.mark.parametrize('count', [0, 1, 2, 3, 19, 21])
def test_blocks_of_few_names_never_share_one(count):
    names = [str(i) for i in range(count)]
    train, val = (cut_blocks(names, split) for split in ('blocks_train', 'blocks_val'))
    assert not set(train) & set(val)
    assert not count or train


def test_a_list_of_names_may_contain_file_names_paths_spaces_and_boxes(write_names):
    names = ['1.5m', 'IMG 1', 'IMG 2', 'b']
    root = write_names(names, 'images\\b.png 1,2,3,4,0\n1.5m\n\nIMG 1\nIMG 2.png\n')
    assert open_dataset(root, 'train').names == ('b', '1.5m', 'IMG 1', 'IMG 2')
    assert open_dataset(root, 'all').names == tuple(names)


@pytest.mark.parametrize(
    ('split', 'text', 'message'),
    [
        ('train', 'a\nz\n', r"rgb lacks 'z' \(1 of 2"),
        ('train', 'a\na\n', r'train\.txt contains .a. twice'),
        ('train', '', 'is empty'),
        ('val', 'a\n', r'splits/val\.txt is missing.*blocks_val'),
    ],
)
def test_a_wrong_list_of_names_is_an_error(write_names, split, text, message):
    with pytest.raises(FusionError, match=message):
        open_dataset(write_names(['a', 'b'], text), split)


def test_a_missing_split_names_those_that_exist(tmp_path):
    for folder in ('visible/train', 'infrared/train'):
        (tmp_path / folder).mkdir(parents=True)
    with pytest.raises(FusionError, match=r'visible/val is missing: .*splits train'):
        open_dataset(tmp_path, 'val')
