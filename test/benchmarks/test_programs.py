"""The programs that print the measured values of the documentation, on tiny data."""

import json
import sys
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from benchmarks import calibration_error
from benchmarks import pairing
from benchmarks import postprocess
from benchmarks import speed
from benchmarks import tracking
from tdfusion_ros.core.data import Detections
from tdfusion_ros.core.errors import ConfigError
from tdfusion_ros.core.errors import ModelError
from tdfusion_ros.core.errors import OutputError
from tdfusion_ros.tools.calibrate import matching

SIZE = 320, 240


def run(monkeypatch, capsys, program, *arguments):
    """Run a program; return the lines that it prints."""
    monkeypatch.setattr(sys, 'argv', [program.__name__, *arguments])
    program.main()
    return capsys.readouterr().out.splitlines()


def test_missing_message_filters_are_said_in_every_scene(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, 'message_filters', None)
    lines = run(monkeypatch, capsys, pairing)
    assert sum('nearest' in line for line in lines) == len(pairing.SCENES)
    assert sum('is not installed' in line for line in lines) == len(pairing.SCENES)


def test_message_filters_pair_the_same_arrivals_where_they_are_installed(monkeypatch, capsys):
    pytest.importorskip('message_filters')
    for line in run(monkeypatch, capsys, pairing):
        if ' approximate ' in line:
            pairs, possible = map(int, line.split(' approximate ')[1].split()[:2])
            assert possible / 2 < pairs <= possible


def test_the_times_of_the_postprocessing_have_a_row_for_each_case(capsys, monkeypatch):
    monkeypatch.setattr(postprocess, 'RUNS', 1)
    rows = [line for line in run(monkeypatch, capsys, postprocess) if line.startswith('| ')]
    assert len(rows) == 1 + 2 * len(postprocess.CLASSES) * len(postprocess.THRESHOLDS)


@pytest.fixture
def shipped_graphs(monkeypatch, bundle):
    """Use the shipped graph for all four, so that nothing is exported."""
    names = [f'{n}, {w}' for w in ('fusion', 'fusion + detector') for n in ('paper', 'real-time')]
    fake = SimpleNamespace(export_graphs=lambda *_: dict.fromkeys(names, bundle / 'model.onnx'))
    monkeypatch.setitem(sys.modules, 'benchmarks.graphs', fake)


SMALL = '--size', '96x64', '--rounds', '3'


def test_four_graphs_are_timed_and_two_ratios_printed_with_their_spread(
    shipped_graphs, monkeypatch, tmp_path, capsys
):
    path = tmp_path / 'report.json'
    printed = '\n'.join(run(monkeypatch, capsys, speed, *SMALL, '-o', str(path)))
    report = json.loads(path.read_text())
    assert list(report['graphs']) == [name for pair in speed.RATIOS.values() for name in pair]
    for found in report['graphs'].values():
        assert 0 < found['p50'] <= found['p99']
        assert found['before_model_mib'] < found['peak_mib']
    for what, found in report['ratios'].items():
        assert found['p5'] <= found['median'] <= found['p95']
        assert f'paper / real-time, {what}: {found["median"]:.1f}' in printed
    assert 'random weights' in printed
    with pytest.raises(OutputError, match=r'report\.json exists: name a new file'):
        run(monkeypatch, capsys, speed, *SMALL, '-o', str(path))


def test_unknown_bundle_is_an_error(shipped_graphs, monkeypatch, capsys):
    with pytest.raises(ModelError, match="model 'nowhere' is neither"):
        run(monkeypatch, capsys, speed, *SMALL, '--model', 'nowhere')


def frames(clip, ids_of, seen=lambda name, frame: True):
    """Return the people of a clip as detections; ``ids_of`` gives the id for name and frame."""
    made = []
    for frame in range(0, 400, 3):
        people = {n: b for n, b in tracking.people_at(clip, frame).items() if seen(n, frame)}
        ids = np.array([ids_of(name, frame) for name in people], np.int64)
        boxes = np.array(list(people.values()), np.float32).reshape(-1, 4)
        found = Detections(boxes, np.ones(len(ids), np.float32), ids * 0, ids=ids)
        made.append((frame, 10**18 + frame * 33_333_333, found))
    return made


@pytest.mark.parametrize('clip', tracking.PEOPLE)
def test_each_change_of_an_id_is_counted_once(clip):
    names = list(tracking.PEOPLE[clip])
    good = tracking.count(clip, frames(clip, lambda name, frame: 1 + names.index(name)))
    assert good['people'] == good['ids'] == len(names)
    assert good['found'] == good['shown'] > 100
    assert (good['switches'], good['main']) == (0, good['found'])

    keyframes = tracking.PEOPLE[clip][names[0]]
    middle = keyframes[len(keyframes) // 2][0]

    def swapped(name, frame):
        return 1 + names.index(name) + 10 * (frame >= middle) * (name == names[0])

    bad = tracking.count(clip, frames(clip, swapped))
    assert (bad['switches'], bad['ids']) == (1, 1 + len(names))
    assert good['shown'] / 2 < bad['main'] < bad['found'] == good['found']


def test_a_person_who_is_not_found_for_a_while_changes_no_id():
    clip = tracking.CLIP
    names = list(tracking.PEOPLE[clip])
    row = tracking.count(
        clip,
        frames(clip, lambda name, frame: 1 + names.index(name), lambda name, at: at % 60 < 40),
    )
    assert row['switches'] == 0
    assert row['found'] < row['shown']


def test_the_tables_have_a_row_for_each_scene_and_number_of_objects(capsys, monkeypatch):
    clip = tracking.CLIP
    scene = 'made', clip, [frames(clip, lambda name, frame: 1)] * 2
    monkeypatch.setattr(tracking, 'scenes', lambda *_: iter([scene]))
    monkeypatch.setattr(tracking, 'RUNS', 2)
    rows = [line for line in run(monkeypatch, capsys, tracking) if line.startswith('| ')]
    assert [row.split(' | ')[3] for row in rows[1:3]] == ['none', 'iou']
    assert len(rows) == 3 + 1 + len(tracking.COUNTS)


def write_pairs(pairs, rgb_folder, ir_folder):
    for folder in (rgb_folder, ir_folder):
        folder.mkdir(parents=True)
    for name, pair in pairs.items():
        cv2.imwrite(str(rgb_folder / f'{name}.png'), cv2.resize(pair.rgb.pixels, SIZE))
        cv2.imwrite(str(ir_folder / f'{name}.png'), cv2.resize(pair.ir.pixels, SIZE))


@pytest.fixture
def data(demo_pairs, tmp_path):
    """Write a pair of the demo, 320x240, as each of the data sets; two for MSRS."""
    sets = {'misreg_landmarks': 'ir', 'misreg_flow': 'ir_warp', 'm3svd_seq/a': 'ir'}
    for name, ir in sets.items():
        write_pairs({'a': demo_pairs[0]}, tmp_path / name / 'vi', tmp_path / name / ir)
    msrs = {'1D': demo_pairs[0], '2N': demo_pairs[1]}
    write_pairs(msrs, tmp_path / 'msrs_det' / 'vi', tmp_path / 'msrs_det' / 'ir')
    points = [[x, y] for x in range(40, 300, 40) for y in range(40, 220, 40)]
    (tmp_path / 'misreg_landmarks' / 'landmarks').mkdir()
    (tmp_path / 'misreg_landmarks' / 'landmarks' / 'a.json').write_text(
        json.dumps({'vi_xy': points, 'ir_xy': points})
    )
    identity = np.stack(np.meshgrid(*((np.arange(n) * 2 + 1) / n - 1 for n in SIZE)), axis=-1)
    (tmp_path / 'misreg_flow' / 'grid').mkdir()
    np.savez(tmp_path / 'misreg_flow' / 'grid' / 'a.npz', grid=identity.astype(np.float32))
    return tmp_path


def test_each_data_set_has_a_row_with_its_errors(data, capsys, monkeypatch):
    # The search is short, because the demo's cameras are aligned.
    monkeypatch.setattr(matching, 'ZOOMS', [1.0, 1.05])
    calibration_error.main(['--data', str(data), '--pictures', str(data / 'out')])
    _, *lines = capsys.readouterr().out.splitlines()
    rows = {line[:24].strip(): line[24:].split() for line in lines}
    assert list(rows) == ['landmarks a', 'flow a', 'm3svd a x 1', 'msrs day x 1', 'msrs night x 1']
    for name in ('landmarks a', 'flow a'):
        before, picked, found = map(float, rows[name][:3])
        assert before == pytest.approx(0, abs=0.01)
        assert picked < 2
        assert found < 5  # the demo is misregistered by 2 px at this size
    assert (data / 'out' / 'landmarks_a.png').exists()


def test_a_folder_without_data_is_an_error(tmp_path):
    with pytest.raises(ConfigError, match=str(tmp_path)):
        calibration_error.main(['--data', str(tmp_path)])
