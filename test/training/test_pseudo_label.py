"""Boxes drawn by a detector on pairs without labels."""

from dataclasses import replace
import json
import warnings

import cv2
import numpy as np
import pytest

from tdfusion_ros.core.data import Detections
from tdfusion_ros.core.errors import FusionError
from tdfusion_ros.core.errors import OutputError
from training import pseudo_label
from training.data.datasets import open_dataset
from training.data.datasets import Sample


def found(*rows):
    """Return detections from rows (score, class, x)."""
    boxes = np.array([[x, 0, x + 10, 20] for _, _, x in rows], np.float32).reshape(-1, 4)
    scores, ids = np.array([r[0] for r in rows], np.float32), np.array([r[1] for r in rows], int)
    return Detections(boxes, scores, ids)


def kept(*parts, sample=None):
    sample = sample or Sample('a', np.zeros((9, 9, 3), np.uint8), np.zeros((9, 9), np.uint8))
    rows = pseudo_label.labels_of(sample, parts)
    return [(row['category_id'], row['bbox'][0], row['iscrowd']) for row in rows]


def test_sure_boxes_are_objects_doubtful_ones_regions_and_the_rest_is_left_out():
    assert kept(found((0.9, 0, 0), (0.2, 2, 50), (0.05, 0, 90))) == [(0, 0, 0), (2, 50, 1)]


def test_an_object_that_several_views_show_is_labeled_once_between_its_boxes():
    assert kept(found((0.8, 0, 0)), found((0.8, 0, 2))) == [(0, 1, 0)]


def test_what_few_views_show_is_doubtful_or_left_out():
    assert kept(found((0.4, 0, 0), (0.1, 0, 90)), found()) == [(0, 0, 1)]


def test_views_that_agree_outvote_one_that_takes_an_object_for_another_class():
    parts = found((0.9, 2, 0)), found((0.8, 0, 0)), found((0.8, 0, 0))
    assert kept(*parts) == [(0, 0, 0)]


def test_known_labels_stay_and_what_else_is_found_of_their_classes_is_a_region(labeled):
    sample = labeled([[0, 0, 10, 20], [200, 0, 240, 20]], [0, -1])
    sample = replace(sample, labeled=np.array([True, False, False]))
    rows = kept(found((0.9, 2, 1), (0.9, 0, 40), (0.9, 1, 80)), sample=sample)
    assert rows == [(0, 0, 0), (0, 200, 1), (0, 40, 1), (1, 80, 0)]


def run(*arguments):
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # of a file of unknown origin
        pseudo_label.main([str(argument) for argument in arguments])


def test_clips_become_a_data_set_with_labels_of_their_origin(
    tmp_path, yolox_file, monkeypatch, capsys
):
    for camera in ('vi', 'ir'):
        (tmp_path / 'clips' / camera).mkdir(parents=True)
        kind = cv2.VideoWriter_fourcc(*'mp4v')
        clip = cv2.VideoWriter(str(tmp_path / 'clips' / camera / 'a.mp4'), kind, 30, (64, 96))
        for level in range(5):
            clip.write(np.full((96, 64, 3), 40 * level, np.uint8))
        clip.release()
    monkeypatch.setattr(pseudo_label, 'search', lambda *_: found((0.9, 0, 5), (0.15, 1, 30)))
    run(tmp_path / 'clips', '--detector', yolox_file, '--every', 2, '-o', tmp_path / 'out')
    data = open_dataset(tmp_path / 'out', 'all')
    assert data.names == ('a_00000', 'a_00002', 'a_00004')
    assert data.classes == ('person', 'bicycle', 'car')
    assert [sample.class_ids.tolist() for sample in data] == [[0, -1]] * 3
    assert 'sha256' in data.label_origin
    assert abs(int(data[2].ir.mean()) - 160) < 8
    assert '3 pairs, 3 person, 0 bicycle, 0 car' in capsys.readouterr().out
    for name, why in (
        ('out', 'exists'),
        ('clips', 'is the input'),
        ('clips/x', 'inside the input'),
    ):
        with pytest.raises(OutputError, match=why):
            run(tmp_path / 'clips', '--detector', yolox_file, '-o', tmp_path / name)


def test_an_interrupted_run_leaves_nothing(tmp_path, yolox_file, data_root, monkeypatch):
    rows = iter([found((0.9, 2, 5))] * 3)  # then it fails
    monkeypatch.setattr(pseudo_label, 'search', lambda *_: next(rows))
    with pytest.raises(StopIteration):
        run(data_root, '--detector', yolox_file, '-o', tmp_path / 'new' / 'out')
    assert list((tmp_path / 'new').iterdir()) == []


@pytest.mark.parametrize('scale', ['0', '-1', 'nan', '100'])
def test_a_scale_without_sense_is_refused(scale, capsys):
    with pytest.raises(SystemExit):
        run('clips', '--detector', 'yolox', '-o', 'out', '--scales', '1', scale)
    assert '--scales takes numbers from 0.1 to 10' in capsys.readouterr().err


def test_what_is_taken_for_an_absent_class_is_background(
    tmp_path, yolox_file, data_root, monkeypatch
):
    monkeypatch.setattr(pseudo_label, 'search', lambda *_: found((0.9, 2, 5), (0.8, 0, 30)))
    run(data_root, '--detector', yolox_file, '--absent', 'car', '-o', tmp_path / 'out')
    data = open_dataset(tmp_path / 'out', 'all')
    assert data.classes == ('person', 'bicycle', 'car')
    assert data[0].class_ids.tolist() == [0]
    assert 'no car there' in data.label_origin


def test_every_pair_of_a_folder_of_images_is_searched(tmp_path, yolox_file, data_root):
    run(data_root, '--detector', yolox_file, '-o', tmp_path / 'out', '--classes', 'person')
    content = json.loads((tmp_path / 'out' / 'annotations.json').read_text(encoding='utf-8'))
    names = [image['file_name'] for image in content['images']]
    assert names == [f'{data_root.name}_0000{i}.jpg' for i in range(4)]
    assert {row['category_id'] for row in content['annotations']} == {0}
    written, original = open_dataset(tmp_path / 'out', 'all')[0], open_dataset(data_root, 'val')[0]
    assert (written.ir == original.ir).all()


def test_a_split_keeps_its_labels_and_every_view_is_searched_at_every_scale(
    tmp_path, yolox_file, fusion_run, save_detector, data_root, monkeypatch
):
    seen, detector_run = [], save_detector(source='rgb')

    def search(_, image, *how):
        seen.append((image.shape, *how))
        return found((0.9, 1, 2), (0.9, 0, 114))

    monkeypatch.setattr(pseudo_label, 'search', search)
    options = '--split', 'val', '--fusion', fusion_run, '--scales', 1, 1.5, '--mirrored'
    run(data_root, *options, '-o', tmp_path / 'out', '--detector', yolox_file, detector_run)
    data, original = open_dataset(tmp_path / 'out', 'all'), open_dataset(data_root, 'val')
    assert data.names == original.names
    ways = [(scale, mirrored) for scale in (1, 1.5) for mirrored in (False, True)]
    assert seen == [(original[0].rgb.shape, *way) for _ in range(4) for way in ways] * len(data)
    np.testing.assert_allclose(data[0].boxes_xyxy[:1], original[0].boxes_xyxy[:1], atol=0.1)
    assert data[0].class_ids.tolist() == [*original[0].class_ids.tolist(), -1, -1]


def test_pairs_whose_names_would_be_the_same_keep_an_image_each(tmp_path, labeled):
    pairs = [replace(labeled([], []), name=name) for name in ('a/b_c', 'a_b/c', 'a_b_c', 'd')]
    images = pseudo_label.write(tmp_path, iter(pairs), lambda _: [found()], ())['images']
    names = [image['file_name'] for image in images]
    assert names == ['a_b_c.jpg', 'a_b_c_.jpg', 'a_b_c__.jpg', 'd.jpg']
    assert sorted(names) == sorted(path.name for path in (tmp_path / 'rgb').iterdir())


def test_boxes_of_a_magnified_image_are_those_of_the_image(monkeypatch):
    monkeypatch.setattr(pseudo_label, 'found_boxes', lambda *_: found((0.9, 0, 30)))
    image = np.zeros((64, 96, 3), np.uint8)
    boxes = pseudo_label.search(None, image, 2.0).boxes_xyxy
    np.testing.assert_array_equal(boxes, [[15, 0, 20, 10]])
    boxes = pseudo_label.search(None, image, 2.0, mirrored=True).boxes_xyxy
    np.testing.assert_array_equal(boxes, [[96 - 20, 0, 96 - 15, 10]])


def test_what_is_no_clip_is_named(tmp_path, yolox_file):
    for camera in ('rgb', 'ir'):
        (tmp_path / 'clips' / camera).mkdir(parents=True)
        (tmp_path / 'clips' / camera / 'a.mp4').write_bytes(b'nothing')
    with pytest.raises(FusionError, match=r'a\.mp4 is not a video'):
        run(tmp_path / 'clips', '--detector', yolox_file, '-o', tmp_path / 'out')
