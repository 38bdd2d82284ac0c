from dataclasses import replace
import json
from pathlib import Path

import numpy as np
import pytest

from tdfusion_ros.core.errors import FusionError
from tdfusion_ros.core.errors import OutputError
from training.data.datasets import open_dataset
from training.evaluate import main
from training.measure.tables import loss_table
from training.measure.tables import segmentation_table

pytest.importorskip('onnxruntime')

BY_LIGHT = {'a': '00001D', 'b': '00002N', 'c': '00003D', 'empty': '00004N'}


@pytest.fixture
def detector(save_detector):
    return save_detector()


@pytest.fixture
def measure(tmp_path, data_root):
    """Return the table that main writes: ``measure('--detector', run)``."""

    def run(*arguments):
        where = () if '--images' in arguments else ('--data', str(data_root))
        output = tmp_path / 'table.json'
        main([*arguments, *where, '-o', str(output), '--overwrite'])
        return json.loads(output.read_text(encoding='utf-8'))

    return run


@pytest.fixture
def images(data_root):
    return '--images', str(data_root / 'vi'), str(data_root / 'ir')


def rename(data_root):
    """Rename the pairs as in MSRS, by day and by night."""
    for folder in ('vi', 'ir', 'boxes/fusion'):
        for path in sorted((data_root / folder).iterdir()):
            path.rename(path.with_stem(BY_LIGHT[path.stem]))
    for split in ('train', 'val'):
        (data_root / 'splits' / f'{split}.txt').write_text('\n'.join(BY_LIGHT.values()))


def test_detection_has_a_row_for_each_class(measure, detector, capsys):
    table = measure('--detector', detector)
    assert list(table) == ['person', 'bicycle', 'car', 'all']
    assert list(table['car']) == [*('boxes', 'AP50', 'AP75', 'AP50-95', 'precision', 'recall')]
    assert [row['boxes'] for row in table.values()] == [0, 0, 3, 3]
    assert table['person']['AP50'] is None
    assert '| car |' in capsys.readouterr().out


def test_detection_is_measured_by_day_and_by_night_with_intervals(measure, detector, data_root):
    rename(data_root)
    table = measure('--detector', detector, '--bootstrap', '20')
    assert [name for name in table if name.startswith('all')] == ['all', 'all, day', 'all, night']
    for row in ('car', 'car, day', 'car, night'):
        low, high = table[row]['AP50 low'], table[row]['AP50 high']
        assert low <= table[row]['AP50'] <= high


def test_only_strata_that_differ_have_rows(measure, detector, data_root):
    rows = ['name,day_night,source_repo', 'a,night,here', 'b,night,here', 'c,night,there']
    (data_root / 'index.csv').write_text('\n'.join([*rows, 'empty,night,there']))
    table = measure('--detector', detector)
    assert [n for n in table if n.startswith('all')] == ['all', 'all, here', 'all, there']
    assert table['car, here']['boxes'] == 2


def test_detection_needs_boxes_of_the_classes_of_the_detector(measure, detector, masked_root):
    (masked_root / 'classes.txt').write_text('lamp\ndog\ncat\n', encoding='utf-8')
    for option, name in (('--detector', detector), ('--bundle', 'msrs_rt')):
        with pytest.raises(FusionError, match='common to lamp, dog, cat; person, bicycle, car'):
            measure(option, name)
    (masked_root / 'labels').rename(masked_root / 'elsewhere')
    with pytest.raises(FusionError, match='has no boxes'):
        measure('--bundle', 'msrs_rt')


def test_segmentation_has_mean_iou_and_accuracy_by_day_and_by_night(masked_root):
    (masked_root / 'index.csv').write_text('name,day_night\na,day\nb,day\nc,night\nempty,night')
    data = open_dataset(masked_root, 'val')

    def right_by_day(sample):
        known = np.where(sample.mask == 255, 0, sample.mask)
        return known if sample.strata['light'] == 'day' else 1 - known

    table = segmentation_table(right_by_day, data, data.mask_classes)
    assert list(table)[:3] == ['road', 'car', 'all']
    assert table['all, day'] == {'IoU': 1, 'Acc': 1}
    assert table['all, night'] == {'IoU': 0, 'Acc': 0}
    assert 0 < table['all']['IoU'] < 1


def test_the_loss_is_compared_with_the_sources_at_any_size_for_fusion_networks_only(
    measure, fusion_run, data_root, detector
):
    table = measure('--fusion', fusion_run)
    assert list(table) == ['network', 'mean', 'ir', 'rgb']
    assert table['mean']['intensity'] < table['ir']['intensity']
    assert table['network']['loss'] > 0
    sample = open_dataset(data_root, 'val')[0]
    small = replace(sample, rgb=sample.rgb[:90, :100], ir=sample.ir[:90, :100])
    assert loss_table(fusion_run, [small])['network']['loss'] > 0
    with pytest.raises(FusionError, match='Detector, not a fusion network'):
        loss_table(detector, [small])


def test_fusion_quality_of_a_split_names_how_many_pairs_it_has(measure, data_root, capsys):
    (data_root / 'splits' / 'val.txt').write_text('a\nb')
    row = measure('--quality')['average']
    for name in ('VIF', 'SSIM'):
        assert row[f'{name} sum'] == pytest.approx(2 * row[name], abs=2e-4)
    assert '2 pairs; luma and ir as 8-bit levels, not stretched' in capsys.readouterr().out


def test_fusion_quality_and_pictures_compare_runs_and_bundles_with_average_and_maximum(
    measure, fusion_run, images, data_root, tmp_path
):
    import cv2

    out = tmp_path / 'pictures'
    arguments = '--fusion', fusion_run, *images, '--bundle', 'msrs_rt', '--pictures', str(out)
    table = measure(*arguments)
    assert list(table) == ['average', 'maximum', fusion_run, 'msrs_rt']
    assert list(table['average'])[:8] == ['EN', 'SF', 'SD', 'AG', 'SCD', 'VIF', 'Qabf', 'SSIM']
    assert table['average']['AG'] < table['maximum']['AG']
    assert sorted(path.name for path in out.iterdir()) == ['a.png', 'b.png', 'c.png', 'empty.png']
    picture = cv2.imread(str(out / 'a.png'))
    assert picture.shape == (96, 4 * 128, 3)
    assert (picture[:, :128] == cv2.imread(str(data_root / 'vi' / 'a.png'))).all()
    assert (picture[:, 128:256] == cv2.imread(str(data_root / 'ir' / 'a.png'))).all()
    with pytest.raises(OutputError, match='pictures exists: name a new folder'):
        measure(*arguments)
    with pytest.raises(OutputError, match=r'table\.json exists: name a new file, or add --overw'):
        main([*images, '-o', str(tmp_path / 'table.json')])


def test_fusion_quality_has_rows_for_day_and_night_where_names_say_so(measure, data_root, images):
    rename(data_root)
    table = measure(*images)
    assert list(table)[2:] == ['average, day', 'maximum, day', 'average, night', 'maximum, night']
    for key, value in table['average'].items():
        parts = table['average, day'][key] + table['average, night'][key]
        assert parts / 2 == pytest.approx(value, abs=2e-4)


@pytest.mark.parametrize(
    'arguments',
    [
        '--data data',
        '--detector one',
        '--fusion one --data a b',
        '--fusion one --fusion two --data data',
        '--detector one --images vi ir --data data',
        '--detector one --quality --data data',
        '--fusion one --bootstrap 9 --data data',
        '--segmenter one --bootstrap 9 --data data',
        '--segmenter one --images vi ir --data data',
        '--detector one --bootstrap -1 --data data',
        '--detector one --pictures out --data data',
        '--fusion one --without ir --data data',
        '--detector one --segmenter one --data data',
        '--detector one --fusion one --data data',
        '--detector one --against rgb --data data',
        '--detector one --sequences 5 --data data',
        '--detector one --bootstrap 9 --against other --data data',
        '--bundle one --quality --stretched --data data',
    ],
)
def test_options_that_are_missing_or_contradict_each_other_are_refused(arguments, capsys):
    with pytest.raises(SystemExit):
        main(arguments.split())
    assert 'error: ' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('options', 'message'),
    [('a/x.onnx b/x.onnx', 'of different names'), ('a/x.onnx --inputs', 'have nothing to read')],
)
def test_files_of_detectors_need_a_name_and_an_input_each(
    options, message, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    for folder in 'ab':
        Path(folder).mkdir()
        Path(folder, 'x.onnx').touch()
    arguments = options.replace('a/', '--detector a/').replace('b/', '--detector b/')
    with pytest.raises(SystemExit):
        main([*arguments.split(), '--data', 'data'])
    assert message in capsys.readouterr().err
