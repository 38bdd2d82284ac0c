"""Which pairs belong to a split."""

import numpy as np
import pytest

from training.data.datasets import open_dataset
from training.data.splits import cut_blocks

IMAGE = np.zeros((96, 128, 3), np.uint8)


def pairs(rgb, ir, *names):
    files = {f'{rgb}/{name}.png': IMAGE for name in names}
    return files | {f'{ir}/{name}.bmp': IMAGE[..., 0] for name in names}


def test_a_data_set_without_splits_is_cut_into_blocks_and_says_what_it_has(write_files):
    names = [f'{i:02}' for i in range(20)]
    labels = {f'labels/{name}.txt': '0 0.75 0.25 0.5 0.5\n' for name in names}
    root = write_files(pairs('rgb', 'ir', *names) | labels | {'classes.txt': 'goat\nrock'})
    train, val = (open_dataset(root, split) for split in ('train', 'val'))
    assert val.names == ('03', '07', '11', '15', '19')
    assert train.names == open_dataset(root, 'blocks_train').names
    assert train.check() == [
        f'{root} has no lists of splits: train is blocks_train',
        f'boxes of {root}/labels: 6 goat, 0 rock, 0 to ignore',
    ]


@pytest.mark.parametrize(('there', 'read'), [('valid', 'valid'), ('valid val', 'val')])
def test_val_may_be_called_valid(write_files, there, read):
    for name in there.split():
        root = write_files(pairs(f'{name}/rgb', f'{name}/ir', name))
    assert open_dataset(root, 'val').names == (read,)


def test_lists_of_splits_may_be_beside_the_folders(write_files):
    lists = {'train.txt': './rgb/a.png\n', 'val.txt': './rgb/b.png\n', 'times.txt': '1'}
    root = write_files(pairs('rgb', 'ir', 'a', 'b', 'c') | lists)
    assert [open_dataset(root, split).names for split in ('train', 'val')] == [('a',), ('b',)]


def test_list_of_powershell_is_read(write_files):
    root = write_files(pairs('rgb', 'ir', 'a', 'b'))
    (root / 'splits').mkdir()
    (root / 'splits' / 't.txt').write_bytes('b\r\na\r\n'.encode('utf-16'))
    assert open_dataset(root, 't').names == ('b', 'a')


def test_a_list_of_names_may_contain_file_names_paths_spaces_and_boxes(write_files):
    names = ['1.5m', 'IMG 1', 'IMG 2', 'b']
    listed = {'splits/train.txt': 'images\\b.png 1,2,3,4,0\n1.5m\n\nIMG 1\nIMG 2.png\n'}
    root = write_files(pairs('rgb', 'ir', *names) | listed)
    assert open_dataset(root, 'train').names == ('b', '1.5m', 'IMG 1', 'IMG 2')
    assert open_dataset(root, 'all').names == tuple(names)


def test_validation_blocks_are_contiguous_and_training_keeps_its_distance():
    names = range(1000)
    train, val = (set(cut_blocks(names, split)) for split in ('blocks_train', 'blocks_val'))
    assert len(val) == 250
    assert 700 <= len(train) < 750
    assert min(abs(a - b) for a in train for b in val) > 5
    assert len([i for i in val if i - 1 not in val]) == 5


@pytest.mark.parametrize('count', [0, 1, 2, 3, 4, 15, 19, 21])
def test_blocks_of_few_names_never_share_one(count):
    train, val = (cut_blocks(range(count), split) for split in ('blocks_train', 'blocks_val'))
    assert not set(train) & set(val)
    assert not count or train
    assert bool(val) == (count >= 4)
