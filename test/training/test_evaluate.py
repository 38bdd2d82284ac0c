import json

import numpy as np
import pytest

torch = pytest.importorskip('torch')
for package in ('cv2', 'onnxruntime', 'pycocotools', 'safetensors', 'skimage', 'tqdm', 'yaml'):
    pytest.importorskip(package)

from tdfusion_ros.core.errors import FusionError  # noqa: E402
from training.data.datasets import load_samples  # noqa: E402
from training.data.datasets import open_dataset  # noqa: E402
from training.evaluate import main  # noqa: E402
from training.measure.tables import segmentation_table  # noqa: E402
from training.train import train  # noqa: E402

pytestmark = pytest.mark.torch


@pytest.fixture
def config(short_run):
    return short_run(steps=1)


def measure(what, config, data_root, *more):
    output = data_root / 'table.json'
    main([what, config.run, '--data', str(data_root), '-o', str(output), *more])
    return json.loads(output.read_text(encoding='utf-8'))


def images(data_root):
    return '--images', str(data_root / 'vi'), str(data_root / 'ir')


def rename(data_root, names):
    for folder in ('vi', 'ir', 'boxes/fusion'):
        for path in sorted((data_root / folder).iterdir()):
            path.rename(path.with_stem(names[path.stem]))
    for split in ('train', 'val'):
        (data_root / 'splits' / f'{split}.txt').write_text('\n'.join(names.values()))


def test_evaluation_of_a_detector_has_a_row_for_each_class(short_run, data_root, capsys):
    config = short_run('detection', source='ir', steps=1)
    train(config, load_samples(data_root, 'train'))
    table = measure('--detector', config, data_root)
    assert list(table) == ['person', 'bicycle', 'car', 'all']
    assert list(table['car']) == ['boxes', 'AP50', 'AP75', 'AP50-95']
    assert [row['boxes'] for row in table.values()] == [0, 0, 3, 3]
    assert table['person']['AP50'] is None
    assert '| car |' in capsys.readouterr().out


def test_evaluation_of_a_fusion_network_compares_it_with_the_plain_mean(config, data_root):
    train(config, load_samples(data_root, 'train'))
    table = measure('--fusion', config, data_root)
    assert table['mean']['intensity'] < table['ir']['intensity']
    assert table['network']['loss'] > 0


def test_detection_is_measured_by_day_and_by_night_with_intervals(short_run, data_root):
    rename(data_root, {'a': '00001D', 'b': '00002N', 'c': '00003D', 'empty': '00004N'})
    config = short_run('detection', source='rgb', steps=1)
    train(config, load_samples(data_root, 'train'))
    table = measure('--detector', config, data_root, '--bootstrap', '20')
    assert [name for name in table if name.startswith('all')] == ['all', 'all, day', 'all, night']
    for row in ('car', 'car, day', 'car, night'):
        low, high = table[row]['AP50 low'], table[row]['AP50 high']
        assert low <= table[row]['AP50'] <= high


def test_strata_that_hold_every_pair_have_no_rows_and_sources_have_some(short_run, data_root):
    rows = ['name,day_night,source_repo', 'a,night,here', 'b,night,here', 'c,night,there']
    (data_root / 'index.csv').write_text('\n'.join([*rows, 'empty,night,there']))
    config = short_run('detection', source='rgb', steps=1)
    train(config, load_samples(data_root, 'train'))
    table = measure('--detector', config, data_root)
    assert [n for n in table if n.startswith('all')] == ['all', 'all, here', 'all, there']
    assert table['car, here']['boxes'] == 2


def test_a_detector_of_other_classes_than_the_data_is_refused(short_run, data_root):
    config = short_run('detection', source='ir', steps=1)
    train(config, load_samples(data_root, 'train'))
    (data_root / 'vi').rename(data_root / 'rgb')
    (data_root / 'boxes' / 'fusion').rename(data_root / 'labels')
    (data_root / 'classes.txt').write_text('people\nlamp\ntruck\n', encoding='utf-8')
    with pytest.raises(FusionError, match=r'detects person, bicycle, car; .* people, lamp, truck'):
        measure('--detector', config, data_root)
    with pytest.raises(FusionError, match='msrs_rt detects person, bicycle, car'):
        main(['--bundle', 'msrs_rt', '--data', str(data_root)])


def test_detection_is_not_measured_without_boxes(config, masked_root):
    (masked_root / 'labels').rename(masked_root / 'elsewhere')
    with pytest.raises(FusionError, match='has no boxes'):
        main(['--bundle', 'msrs_rt', '--data', str(masked_root)])


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


def test_fusion_quality_of_a_split_has_both_conventions_of_vif_and_ssim(data_root, capsys):
    (data_root / 'splits' / 'val.txt').write_text('a\nb')
    output = data_root / 'table.json'
    main(['--quality', '--data', str(data_root), '-o', str(output)])
    row = json.loads(output.read_text(encoding='utf-8'))['average']
    for name in ('VIF', 'SSIM'):
        assert row[f'{name} sum'] == pytest.approx(2 * row[name], abs=2e-4)
    assert '2 pairs' in capsys.readouterr().out


def test_fusion_quality_compares_a_run_with_average_and_maximum(config, data_root, capsys):
    train(config, load_samples(data_root, 'train'))
    table = measure('--fusion', config, data_root, *images(data_root))
    assert list(table) == ['average', 'maximum', config.run]
    assert list(table['average'])[:8] == ['EN', 'SF', 'SD', 'AG', 'SCD', 'VIF', 'Qabf', 'SSIM']
    assert table['average']['AG'] < table['maximum']['AG']
    assert 'not stretched' in capsys.readouterr().out


def test_fusion_quality_has_rows_for_day_and_night_where_names_say_so(data_root):
    rename(data_root, {'a': '00001D', 'b': '00002N', 'c': '00003D', 'empty': '00004N'})
    output = data_root / 'table.json'
    main([*images(data_root), '-o', str(output)])
    table = json.loads(output.read_text(encoding='utf-8'))
    assert list(table)[2:] == ['average, day', 'maximum, day', 'average, night', 'maximum, night']
    for key, value in table['average'].items():
        parts = table['average, day'][key] + table['average, night'][key]
        assert parts / 2 == pytest.approx(value, abs=2e-4)


def test_pictures_show_rgb_ir_and_each_run_side_by_side(config, data_root, tmp_path):
    import cv2

    train(config, load_samples(data_root, 'train'))
    out = tmp_path / 'pictures'
    again = ('--bundle', 'msrs_rt', '--pictures', str(out))
    measure('--fusion', config, data_root, *images(data_root), *again)
    assert sorted(path.name for path in out.iterdir()) == ['a.png', 'b.png', 'c.png', 'empty.png']
    picture = cv2.imread(str(out / 'a.png'))
    assert picture.shape == (96, 4 * 128, 3)
    assert (picture[:, :128] == cv2.imread(str(data_root / 'vi' / 'a.webp'))).all()
    assert (picture[:, 128:256] == cv2.imread(str(data_root / 'ir' / 'a.png'))).all()


@pytest.mark.parametrize(
    'arguments',
    [
        [],
        ['--fusion', 'one', '--fusion', 'two'],
        ['--detector', 'one', '--images', 'vi', 'ir'],
        ['--detector', 'one', '--quality'],
        ['--fusion', 'one', '--bootstrap', '9'],
        ['--segmenter', 'one', '--bootstrap', '9'],
        ['--segmenter', 'one', '--images', 'vi', 'ir'],
        ['--detector', 'one', '--bootstrap', '-1'],
        ['--detector', 'one', '--pictures', 'out'],
        ['--detector', 'one', '--without', 'ir'],
        ['--bundle', 'one', '--quality', '--stretched'],
    ],
)
def test_evaluation_refuses_options_that_do_not_go_together(arguments, capsys):
    with pytest.raises(SystemExit):
        main(arguments)
    assert 'error: ' in capsys.readouterr().err
