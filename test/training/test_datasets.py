from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip('cv2')

from tdfusion_ros.core.errors import FusionError
from training.data.batches import cache_samples
from training.data.datasets import load_samples
from training.data.datasets import open_dataset
from training.data.layouts import M3FD
from training.data.layouts import MSRS_DET

NOISE = np.random.default_rng(0).integers(0, 256, (96, 128, 3), dtype=np.uint8)
MASK = np.zeros((96, 128), np.uint8)
MASK[:48, 64:], MASK[90:] = 2, 255
XML = (
    '<annotation><size><width>128</width><height>96</height></size><object><name>{}</name>'
    '<bndbox><xmin>64</xmin><ymin>0</ymin><xmax>128</xmax><ymax>48</ymax></bndbox></object>'
    '</annotation>'
)
YOLO = '0 0.75 0.25 0.5 0.5\n'
COCO = (
    '{"images": [{"id": 1, "file_name": "a.png"}], "categories": [{"id": 5, "name": "goat"}],'
    '"annotations": [{"image_id": 1, "category_id": 5, "bbox": [64, 0, 64, 48]}]}'
)
BOX = [[64, 0, 128, 48]]


def pairs(rgb, ir, *names):
    """Return the image files of pairs in two folders."""
    files = {f'{rgb}/{name}.png': NOISE for name in names}
    return files | {f'{ir}/{name}.png': NOISE[..., 0] for name in names}


PLAIN = {
    **pairs('rgb', 'ir', 'a', 'b', 'c'),
    **{f'labels/{name}.txt': YOLO for name in 'abc'},
    **{f'masks/{name}.png': MASK for name in 'abc'},
    'classes.txt': 'goat\n',
    'mask_classes.txt': 'ground\nrock\ngoat\n',
}


def test_samples_come_in_the_order_of_the_split_with_rgb_and_ir_on_one_grid(data_root):
    samples = load_samples(data_root, 'train')
    assert [s.name for s in samples] == ['a', 'b', 'c', 'empty']
    assert samples[0].rgb.shape == (96, 128, 3)
    assert samples[0].ir.shape == (96, 128)
    assert samples[0].boxes_xyxy.tolist() == [[32, 24, 64, 72]]
    assert samples[0].class_ids.tolist() == [2]
    assert samples[0].mask is None
    assert [s.name for s in load_samples(data_root, 'train', limit=2)] == ['a', 'b']


def test_msrs_has_masks_and_says_day_or_night(write_files):
    masks = {f'train/Segmentation_labels/{name}.png': MASK for name in ('00001D', '00002N')}
    files = pairs('train/vi', 'train/ir', '00001D', '00002N')
    dataset = open_dataset(write_files(files | masks), 'train')
    day, night = dataset
    assert (day.strata['light'], night.strata['light']) == ('day', 'night')
    assert day.strata['source'] == 'msrs'
    assert dataset.mask_classes[2] == 'person'
    assert len(dataset.mask_classes) == 9
    np.testing.assert_array_equal(day.mask, MASK)
    np.testing.assert_array_equal(day.rgb[..., ::-1], NOISE)
    np.testing.assert_array_equal(night.ir, NOISE[..., 0])
    assert day.boxes_xyxy.shape == (0, 4)


def test_fmb_has_masks_of_fifteen_classes(write_files):
    files = pairs('test/Visible', 'test/Infrared', '00043')
    dataset = open_dataset(write_files(files | {'test/Label/00043.png': MASK * 0 + 14}), 'test')
    assert dataset.mask_classes[dataset[0].mask.max()] == 'pole'
    assert 'light' not in dataset[0].strata


@pytest.mark.parametrize(
    ('files', 'name'),
    [
        ({'Annotation/a.xml': XML.format('Truck')}, 'truck'),
        ({'Annotations/a.xml': XML.format('trunk')}, 'truck'),
        ({'labels/a.txt': YOLO}, 'people'),
        ({'labels/a.txt': YOLO, 'classes.txt': 'moto\npeople\n'}, 'motorcycle'),
    ],
)
def test_m3fd_boxes_in_xml_or_text_have_one_set_of_names(write_files, files, name):
    root = write_files(pairs('Vis', 'Ir', 'a') | {'meta/val.txt': 'a.png\n'} | files)
    dataset = open_dataset(root, 'val')
    assert dataset.classes == M3FD.classes
    assert dataset[0].boxes_xyxy.tolist() == BOX
    assert dataset.classes[dataset[0].class_ids[0]] == name


def test_llvip_labels_of_all_splits_are_in_one_folder(write_files):
    labels = {f'Annotations/{name}.xml': XML.format('person') for name in ('190001', '010001')}
    files = pairs('visible/test', 'infrared/test', '190001')
    dataset = open_dataset(write_files(files | labels), 'test')
    assert dataset.classes == ('person',)
    assert dataset[0].boxes_xyxy.tolist() == BOX


def test_msrs_det_reads_strata_from_its_index(write_files):
    names = ('00001D', '00002N')
    files = pairs('vi', 'ir', *names) | {f'boxes/fusion/{name}.txt': YOLO for name in names}
    files['splits/train.txt'] = '00002N\n00001D\n'
    files['index.csv'] = 'name,split,day_night,source_repo\n00001D,train,night,somebody\n'
    strata = {s.name: s.strata for s in load_samples(write_files(files), 'train')}
    assert list(strata) == ['00002N', '00001D']
    assert strata['00001D'] == {'light': 'night', 'source': 'somebody'}
    assert strata['00002N'] == {'light': 'night', 'source': 'msrs_det'}


def test_a_layout_can_be_changed_to_read_other_boxes(write_files):
    root = write_files(pairs('vi', 'ir', 'a') | {'boxes/infrared/a.txt': ''})
    layout = replace(MSRS_DET, boxes=(('yolo', 'boxes/infrared'),))
    assert open_dataset(root, 'all', layout)[0].boxes_xyxy.shape == (0, 4)


def test_plain_pairs_need_no_labels(write_files):
    dataset = open_dataset(write_files(pairs('rgb', 'ir', 'b', 'a')), 'all')
    assert dataset.names == ('a', 'b')
    assert dataset.classes == dataset.mask_classes == ()
    assert dataset[1].mask is None
    assert len(dataset[:1]) == 1


@pytest.mark.parametrize(
    'files',
    [
        PLAIN,
        pairs('rgb', 'ir', 'a') | {'annotations.json': COCO},
        # Suffixes in any case; files that macOS adds are ignored.
        pairs('rgb', 'ir', 'a') | {'classes.txt': 'goat', 'labels/a.TXT': YOLO, 'ir/._a.png': ''},
    ],
    ids=['text', 'coco', 'macos'],
)
def test_plain_pairs_have_boxes_with_names_of_their_own(write_files, files):
    dataset = open_dataset(write_files(files), 'all')
    assert dataset.classes == ('goat',)
    assert dataset[0].boxes_xyxy.tolist() == BOX
    if dataset.mask_classes:
        np.testing.assert_array_equal(dataset[0].mask, MASK)


@pytest.mark.parametrize(
    ('files', 'message'),
    [
        ({'rgb/b.png': None}, r"rgb lacks 'b' \(1 of 3"),
        ({'ir/b.png': None}, r"ir lacks 'b' \(1 of 3"),
        ({'labels/b.txt': None}, r"labels lacks 'b' \(1 of 3"),
        ({'masks/b.png': None}, r"masks lacks 'b' \(1 of 3"),
        ({'rgb/a.bmp': NOISE}, r'a\.bmp and .*a\.png have the same stem'),
        ({'classes.txt': None}, r'classes\.txt is missing'),
        ({'mask_classes.txt': None}, r'mask_classes\.txt is missing'),
        ({'ir/a.png': NOISE[:48, :, 0]}, r'ir/a\.png is 128x48, .*rgb/a\.png is 128x96'),
    ],
)
def test_what_is_missing_or_does_not_fit_is_named(write_files, files, message):
    with pytest.raises(FusionError, match=message):
        list(open_dataset(write_files(PLAIN | files), 'all'))


@pytest.mark.parametrize(
    ('files', 'split', 'message'),
    [
        ({}, 'all', 'data=FOLDER'),
        (pairs('visible/train', 'infrared/train', 'a'), 'train', 'Annotations is missing'),
        (
            pairs('Vis', 'Ir', 'a') | {'labels/a.txt': YOLO, 'classes.txt': 'people\nhorse\n'},
            'all',
            r"classes\.txt contains 'horse'.*people, car",
        ),
    ],
)
def test_a_data_set_that_does_not_fit_its_layout_is_an_error(write_files, files, split, message):
    with pytest.raises(FusionError, match=message):
        open_dataset(write_files(files), split)


def test_all_label_files_that_cannot_be_used_are_listed_before_training(write_files):
    labels = {'labels/a.txt': '7 0.5 0.5 1 1', 'labels/c.txt': '0 0.5 0.5 0 1'}
    with pytest.raises(FusionError, match=r'^2 label files.*a\.txt.*class 7.*c\.txt: box 1'):
        cache_samples(open_dataset(write_files(PLAIN | labels), 'all'))
