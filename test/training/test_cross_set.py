"""Detectors of COCO, and several detectors on several data sets in the classes that all know."""

from dataclasses import replace
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from tdfusion_ros.compose.class_names import COCO
from tdfusion_ros.core.errors import FusionError
from tdfusion_ros.core.errors import ModelError
from training.data.classes import common_classes
from training.data.classes import correspondence
from training.data.datasets import open_dataset
from training.evaluate import main
from training.measure import cross_set
from training.measure.bootstrap import bootstrap_ap50
from training.measure.bootstrap import sequences
from training.measure.metrics import select
from training.measure.predictors import Change
from training.measure.predictors import open_input
from training.method.detection import pair_iou

pytest.importorskip('onnxruntime')

SHARED = Path(__file__).parents[3] / 'shared'
FILES = [SHARED / 'pretrained' / name for name in ('yolox_nano.onnx', 'nanodet_m.onnx')]
CONFIG = Path(__file__).parents[2] / 'config'
THREE = ('person', 'bicycle', 'car')


@pytest.fixture(params=FILES, ids=lambda path: path.stem)
def file(request):
    if not request.param.is_file():
        pytest.skip('needs the detectors of ../shared')
    return request.param


@pytest.mark.parametrize(
    ('names', 'folder', 'split'),
    [
        ('msrs_det_train', 'msrs_det', 'train'),
        ('msrs_det_val', 'msrs_det', 'val'),
        ('llvip', 'cross_test/llvip26', 'all'),
        ('m3fd', 'cross_test/m3fd', 'all'),
        ('flir', 'cross_test/flir', 'all'),
    ],
)
def test_the_pairs_that_figures_are_of_are_listed(names, folder, split):
    if not (SHARED / 'data' / folder).is_dir():
        pytest.skip('needs the data of ../shared')
    listed = (CONFIG / 'evaluate' / f'{names}.txt').read_text(encoding='utf-8').splitlines()
    assert listed == list(open_dataset(SHARED / 'data' / folder, split).names)


def test_a_detector_of_coco_finds_the_people_that_were_labeled(file):
    """In a pair with six people that RGB shows well, 640x480."""
    from training.measure.onnx_detector import OnnxDetector

    if not (SHARED / 'data' / 'msrs_det').is_dir():
        pytest.skip('needs the data of ../shared')
    data, detector = open_dataset(SHARED / 'data' / 'msrs_det', 'val'), OnnxDetector(file)
    street = data[data.names.index('00245D')]
    people = street.boxes_xyxy[street.class_ids == 0]
    assert len(people) == 6
    raw = cross_set.merge([detector(street.rgb)], detector.classes, ['person'])
    found = select(*raw, street.rgb.shape[:2])
    boxes = torch.from_numpy(found.boxes_xyxy[found.scores > 0.3])
    overlaps = pair_iou(torch.from_numpy(people)[:, None], boxes).amax(1)
    assert (overlaps > 0.5).sum() >= 4


def test_a_file_that_is_no_known_detector_is_refused(tmp_path):
    from training.measure.onnx_detector import OnnxDetector

    (tmp_path / 'a.onnx').write_bytes(b'no model')
    with pytest.raises(ModelError, match=r'a\.onnx is not an ONNX model'):
        OnnxDetector(tmp_path / 'a.onnx')
    bundle = Path(__file__).parents[2] / 'models' / 'msrs_rt' / 'model.onnx'
    with pytest.raises(ModelError, match='expected an image, and perhaps'):
        OnnxDetector(bundle)


def test_classes_correspond_by_name_and_a_bus_is_a_car_only_without_a_class_bus():
    m3fd = ('people', 'car', 'bus', 'motorcycle', 'truck', 'lamp')
    assert common_classes(m3fd, COCO, THREE) == ('person', 'car')
    assert correspondence(m3fd, ('person', 'car')) == [[0], [1, 2, 4]]
    names = [[COCO[i] for i in kinds] for kinds in correspondence(COCO, THREE)]
    assert names == [['person'], ['bicycle'], ['car', 'bus', 'truck']]
    assert common_classes(('person',), COCO) == ('person',)
    with pytest.raises(FusionError, match='no class is common to drone; person'):
        common_classes(('drone',), THREE)
    assert correspondence(COCO, ['Car']) == [[2, 5, 7]]
    assert correspondence(COCO, ['People', 'Car', 'Bus']) == [[0], [2, 7], [5]]
    names = ('truck', 'car', 'person')
    assert common_classes(names, names) == names
    assert correspondence(names, names) == [[0], [1], [2]]
    assert common_classes(names, names[::-1]) == names
    assert common_classes(('dog', 'sled'), COCO) == ('dog',)
    assert correspondence(['Person', 'bus', 'people'], ('person', 'car')) == [[0, 2], [1]]


def test_a_class_has_the_best_score_of_all_that_counts_as_it():
    boxes, scores = np.zeros((2, 4), np.float32), np.float32([[0.1, 0.2, 0.6], [0.5, 0.3, 0.1]])
    merged = cross_set.merge([(boxes, scores)] * 2, ('person', 'car', 'bus'), ('person', 'car'))
    assert merged[0].shape == (4, 4)
    np.testing.assert_array_equal(merged[1], np.float32([[0.1, 0.6], [0.5, 0.3]] * 2))


def test_labels_of_other_classes_are_left_out_and_unknown_content_is_kept(labeled):
    sample = labeled([[0, 0, 9, 9], [1, 1, 9, 9], [2, 2, 9, 9], [3, 3, 9, 9]], [2, 0, 1, -1])
    sample = replace(sample, labeled=np.array([True, True, False, False]))
    new = cross_set.relabel(sample, ('lamp', 'people', 'bus', 'car'), ('person', 'car'))
    assert new.class_ids.tolist() == [1, 0, -1]
    assert new.boxes_xyxy[:, 0].tolist() == [0, 2, 3]
    assert new.labeled.tolist() == [True, False]


def test_a_sequence_ends_where_numbers_jump_or_the_rest_of_the_name_changes():
    names = ['00225D', '00229D', '00806N', '00810D', '00814D', '00813D']
    assert sequences(names, 5).tolist() == [0, 0, 1, 2, 2, 3]
    assert sequences(['a', 'b'], 5).tolist() == [0, 1]


def test_an_interval_over_sequences_is_wider_than_one_over_their_images(labeled, detected):
    box = [[0, 0, 20, 20]], [0]
    samples = [replace(labeled(*box), name=f'{10 * (i // 8) + i % 8}') for i in range(48)]
    found = [detected(*(box if i // 8 % 2 else ([], []))) for i in range(48)]
    how = {'resamples': 300, 'classes': THREE}
    widths = [
        np.subtract(*list(bootstrap_ap50(samples, found, gap=gap, **how)['person'].values())[::-1])
        for gap in (None, 1)
    ]
    assert widths[1] > 1.5 * widths[0]


@pytest.mark.parametrize('name', ['rgb', 'ir', 'average', 'maximum', 'msrs_rt', 'late'])
def test_inputs_are_color_images_of_the_size_of_the_pair(small_pairs, labeled, name):
    rgb, ir = (np.ascontiguousarray(image[:75, :101]) for image in small_pairs[0])
    sample = replace(labeled([], []), rgb=rgb, ir=ir)
    images = open_input(name)(sample)
    assert [(image.shape, image.dtype) for image in images] == [((75, 101, 3), np.uint8)] * (
        2 if name == 'late' else 1
    )
    if name in ('rgb', 'late'):
        np.testing.assert_array_equal(images[0], rgb)
    if name in ('ir', 'late'):
        np.testing.assert_array_equal(images[-1], np.dstack([ir] * 3))
    [*_, without] = open_input(name, Change('ir'))(sample)
    if name == 'msrs_rt':
        np.testing.assert_array_equal(without, rgb)
    if name == 'ir':
        assert not without.any()


def test_detectors_on_several_sets_are_one_table(file, data_root, fusion_run, tmp_path, capsys):
    (data_root / 'splits' / 'two.txt').write_text('a\nb')
    output = tmp_path / 'table.json'
    main(
        f'--detector {file} --bundle msrs_rt --fusion {fusion_run} --inputs rgb late '
        f'--data {data_root} {data_root}:two --bootstrap 20 --against rgb -o {output}'.split()
    )
    content = json.loads(output.read_text(encoding='utf-8'))
    assert list(content) == [str(data_root), f'{data_root}:two']
    reads = ['rgb', 'late', fusion_run, 'msrs_rt']
    for table in content.values():
        assert list(table) == ['msrs_rt', *(f'{file.stem} on {name}' for name in reads)]
    assert [table['msrs_rt']['all']['boxes'] for table in content.values()] == [3, 2]
    text = capsys.readouterr().out
    assert f'{data_root}:two, 2 pairs' in text
    assert '| minus rgb | 95 % |' in text


def test_a_table_of_several_inputs_needs_no_interval(file, data_root, capsys):
    main(f'--detector {file} --inputs rgb ir --data {data_root}'.split())
    text = capsys.readouterr().out
    assert '| detector | input | AP50 | AP50-95 |' in text
    assert '95 %' not in text
