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

XML = (
    '<annotation><size><width>128</width><height>96</height></size><object><name>{}</name>'
    '<bndbox><xmin>64</xmin><ymin>0</ymin><xmax>128</xmax><ymax>48</ymax></bndbox></object>'
    '</annotation>'
)
YOLO = '0 0.75 0.25 0.5 0.5\n'
BOX = [[64, 0, 128, 48]]


@pytest.fixture
def mask():
    labels = np.zeros((96, 128), np.uint8)
    labels[:48, 64:], labels[90:] = 2, 255
    return labels


def test_samples_come_in_the_order_of_the_split_with_rgb_and_ir_on_one_grid(data_root):
    samples = load_samples(data_root, 'train')
    assert [s.name for s in samples] == ['a', 'b', 'c', 'empty']
    assert samples[0].rgb.shape == (96, 128, 3)
    assert samples[0].ir.shape == (96, 128)
    assert samples[0].boxes_xyxy.tolist() == [[32, 24, 64, 72]]
    assert samples[0].class_ids.tolist() == [2]
    assert samples[0].mask is None
    assert [s.name for s in load_samples(data_root, 'train', limit=2)] == ['a', 'b']


def test_a_missing_data_set_says_what_to_do(tmp_path):
    with pytest.raises(FusionError, match='data=FOLDER'):
        load_samples(tmp_path, 'train')


def test_msrs_gives_masks_and_says_day_or_night(write_pairs, write_mask, mask, small_pairs):
    root = write_pairs('train/vi', 'train/ir', ['00001D', '00002N'])
    for name in ('00001D', '00002N'):
        write_mask(f'train/Segmentation_labels/{name}.png', mask)
    dataset = open_dataset(root, 'train')
    day, night = dataset
    assert (day.strata['light'], night.strata['light']) == ('day', 'night')
    assert day.strata['source'] == 'msrs'
    assert dataset.mask_classes[2] == 'person'
    assert len(dataset.mask_classes) == 9
    np.testing.assert_array_equal(day.mask, mask)
    np.testing.assert_array_equal(day.rgb, small_pairs[0][0])
    np.testing.assert_array_equal(night.ir, small_pairs[1][1])
    assert day.boxes_xyxy.shape == (0, 4)


def test_fmb_gives_masks_of_fifteen_classes(write_pairs, write_mask, mask):
    root = write_pairs('test/Visible', 'test/Infrared', ['00043'])
    write_mask('test/Label/00043.png', mask * 0 + 14)
    dataset = open_dataset(root, 'test')
    assert dataset.mask_classes[dataset[0].mask.max()] == 'pole'
    assert 'light' not in dataset[0].strata


@pytest.mark.parametrize(
    ('files', 'classes'),
    [
        ({'Annotation/00000.xml': XML.format('Truck')}, 'truck'),
        ({'Annotations/00000.xml': XML.format('trunk')}, 'truck'),
        ({'labels/00000.txt': YOLO}, 'people'),
        ({'labels/00000.txt': YOLO, 'classes.txt': 'moto\npeople\n'}, 'motorcycle'),
    ],
)
def test_m3fd_boxes_come_from_xml_or_text_under_one_set_of_names(
    write_pairs, write_text, files, classes
):
    root = write_pairs('Vis', 'Ir', ['00000'])
    for place, text in files.items():
        write_text(place, text)
    write_text('meta/val.txt', '00000.png\n')
    dataset = open_dataset(root, 'val')
    sample = dataset[0]
    assert dataset.classes == M3FD.classes
    assert sample.boxes_xyxy.tolist() == BOX
    assert dataset.classes[sample.class_ids[0]] == classes


def test_llvip_takes_the_labels_of_its_split_out_of_one_folder(write_pairs, write_text):
    root = write_pairs('visible/test', 'infrared/test', ['190001'], ('.jpg', '.jpg'))
    for name in ('190001', '010001'):
        write_text(f'Annotations/{name}.xml', XML.format('person'))
    dataset = open_dataset(root, 'test')
    assert dataset.classes == ('person',)
    assert dataset[0].boxes_xyxy.tolist() == BOX


def test_msrs_det_takes_strata_from_its_index(write_pairs, write_text):
    root = write_pairs('vi', 'ir', ['00001D', '00002N'], ('.webp', '.png'))
    write_text('splits/train.txt', '00002N\n00001D\n')
    write_text('index.csv', 'name,split,day_night,source_repo\n00001D,train,night,somebody\n')
    for name in ('00001D', '00002N'):
        write_text(f'boxes/fusion/{name}.txt', YOLO)
    strata = {sample.name: sample.strata for sample in load_samples(root, 'train')}
    assert list(strata) == ['00002N', '00001D']
    assert strata['00001D'] == {'light': 'night', 'source': 'somebody'}
    assert strata['00002N'] == {'light': 'night', 'source': 'msrs_det'}


def test_another_box_set_of_msrs_det_is_the_layout_with_one_place_changed(write_pairs, write_text):
    root = write_pairs('vi', 'ir', ['a'])
    write_text('boxes/infrared/a.txt', '')
    layout = replace(MSRS_DET, boxes=(('yolo', 'boxes/infrared'),))
    assert open_dataset(root, 'all', layout)[0].boxes_xyxy.shape == (0, 4)


def test_plain_pairs_need_no_labels(write_pairs):
    root = write_pairs('rgb', 'ir', ['b', 'a'], ('.jpg', '.png'))
    dataset = open_dataset(root, 'all')
    assert dataset.names == ('a', 'b')
    assert dataset.classes == dataset.mask_classes == ()
    assert dataset[1].mask is None
    assert len(dataset[:1]) == 1


def test_plain_pairs_take_boxes_and_masks_with_names_of_their_own(
    write_pairs, write_text, write_mask, mask
):
    root = write_pairs('rgb', 'ir', ['a'])
    write_text('classes.txt', 'goat\n')
    write_text('mask_classes.txt', 'ground\nrock\ngoat\n')
    write_text('labels/a.txt', YOLO)
    write_mask('masks/a.png', mask)
    dataset = open_dataset(root, 'all')
    assert dataset.classes == ('goat',)
    assert dataset[0].boxes_xyxy.tolist() == BOX
    np.testing.assert_array_equal(dataset[0].mask, mask)


def test_plain_pairs_take_boxes_and_names_from_a_coco_file(write_pairs, write_text):
    root = write_pairs('rgb', 'ir', ['a'])
    write_text(
        'annotations.json',
        '{"images": [{"id": 1, "file_name": "a.png"}], "categories": [{"id": 5, "name": "goat"}],'
        '"annotations": [{"image_id": 1, "category_id": 5, "bbox": [64, 0, 64, 48]}]}',
    )
    dataset = open_dataset(root, 'all')
    assert dataset.classes == ('goat',)
    assert dataset[0].boxes_xyxy.tolist() == BOX


@pytest.mark.parametrize(
    ('place', 'text', 'message'),
    [
        ('masks/b.png', '', r'mask_classes\.txt is missing'),
        ('labels/b.txt', '', r'classes\.txt is missing'),
    ],
)
def test_labels_without_class_names_say_where_to_write_them(
    write_pairs, write_text, place, text, message
):
    root = write_pairs('rgb', 'ir', ['a'])
    write_text(place, text)
    with pytest.raises(FusionError, match=message):
        open_dataset(root, 'all')


def test_names_that_do_not_fit_the_data_set_are_an_error(write_pairs, write_text):
    root = write_pairs('Vis', 'Ir', ['a'])
    write_text('labels/a.txt', YOLO)
    write_text('classes.txt', 'people\nhorse\n')
    with pytest.raises(FusionError, match=r"classes\.txt contains 'horse'.*people, car"):
        open_dataset(root, 'all')


@pytest.mark.parametrize('lost', ['rgb', 'ir', 'labels', 'masks'])
def test_a_missing_file_is_named_with_its_folder(write_pairs, write_text, write_mask, mask, lost):
    root = write_pairs('rgb', 'ir', ['a', 'b', 'c'])
    write_text('classes.txt', 'goat\n')
    write_text('mask_classes.txt', 'ground\nrock\ngoat\n')
    for name in 'abc':
        write_text(f'labels/{name}.txt', YOLO)
        write_mask(f'masks/{name}.png', mask)
    next((root / lost).glob('b.*')).unlink()
    with pytest.raises(FusionError, match=rf"{lost} lacks 'b' \(1 of 3.*add the file"):
        open_dataset(root, 'all')


def test_files_of_macos_are_ignored_and_suffixes_have_any_case(write_pairs, write_text):
    root = write_pairs('rgb', 'ir', ['a'])
    write_text('classes.txt', 'goat\n')
    write_text('labels/a.TXT', YOLO)
    for place in ('rgb/._a.png', 'ir/._a.png', 'labels/._a.txt'):
        write_text(place, 'no image')
    assert open_dataset(root, 'all')[0].boxes_xyxy.tolist() == BOX


def test_all_label_files_that_cannot_be_used_are_listed_before_training(write_pairs, write_text):
    root = write_pairs('rgb', 'ir', ['a', 'b', 'c'])
    write_text('classes.txt', 'goat\n')
    for name, text in {'a': '7 0.5 0.5 1 1', 'b': YOLO, 'c': '0 0.5 0.5 0 1'}.items():
        write_text(f'labels/{name}.txt', text)
    with pytest.raises(FusionError, match=r'^2 label files.*a\.txt.*class 7.*c\.txt: box 1'):
        cache_samples(open_dataset(root, 'all'))


def test_missing_labels_of_a_labeled_data_set_are_an_error(write_pairs):
    root = write_pairs('visible/train', 'infrared/train', ['a'])
    with pytest.raises(FusionError, match='Annotations is missing'):
        open_dataset(root, 'train')


def test_two_files_of_one_stem_are_an_error(write_pairs):
    write_pairs('rgb', 'ir', ['a'])
    root = write_pairs('rgb', 'ir', ['a'], ('.jpg', '.png'))
    with pytest.raises(FusionError, match=r'a\.jpg and .*a\.png have the same stem'):
        open_dataset(root, 'all')


def test_a_pair_of_two_sizes_is_an_error_with_both(write_pairs, write_mask):
    root = write_pairs('rgb', 'ir', ['a'])
    write_mask('ir/a.png', np.zeros((48, 128), np.uint8))
    with pytest.raises(FusionError, match=r'ir/a\.png is 128x48, .*rgb/a\.png is 128x96'):
        open_dataset(root, 'all')[0]
