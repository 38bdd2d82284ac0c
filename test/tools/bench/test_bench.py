"""``tdfusion bench``: what it times, what it says, and what it refuses."""

from contextlib import suppress
from functools import partial
import json
import os
from pathlib import Path
import signal
import subprocess
import sys
from time import sleep

import cv2
import numpy as np
import pytest

from tdfusion_ros.cli import main
from tdfusion_ros.core.config import FusionConfig
from tdfusion_ros.core.config import SyncConfig
from tdfusion_ros.core.data import Frame
from tdfusion_ros.core.errors import BagError
from tdfusion_ros.core.errors import FrameError
from tdfusion_ros.core.errors import FusionError
from tdfusion_ros.formats import messages
from tdfusion_ros.formats.bags import bag_types
from tdfusion_ros.tools.bench import benchmark as run
from tdfusion_ros.tools.bench import host as machine
from tdfusion_ros.tools.bench.pairs import load_pairs
from tdfusion_ros.tools.bench.pairs import Source
from tdfusion_ros.tools.bench.subjects import RobotPath
from tdfusion_ros.tools.bench.turns import Child
from tdfusion_ros.tools.bench.turns import percentiles_ms
from tdfusion_ros.tools.bench.turns import ratio
from tdfusion_ros.tools.bench.turns import take_turns

STAGES = ['decode', 'pairing', 'thermal', 'registration', 'network', 'postprocess', 'messages']
STAMP_NS = 1_700_000_000_000_000_000


def bench(*arguments):
    return main(['bench', '--backend', 'cpu', '--frames', '3', *map(str, arguments)])


@pytest.fixture
def folders(tmp_path):
    """Return two folders of three small images; infrared has 16 bits."""
    rng = np.random.default_rng(0)
    for name, shape, dtype in (('rgb', (64, 96, 3), np.uint8), ('ir', (64, 96), np.uint16)):
        (tmp_path / name).mkdir()
        for number in range(3):
            pixels = rng.integers(0, np.iinfo(dtype).max, shape, dtype)
            cv2.imwrite(str(tmp_path / name / f'{number}.png'), pixels)
    return tmp_path / 'rgb', tmp_path / 'ir'


@pytest.fixture(scope='module')
def reported(tmp_path_factory):
    """Return what a run on the demo bag printed at two sizes, and what it wrote."""
    path = tmp_path_factory.mktemp('bench') / 'report.json'
    with pytest.MonkeyPatch.context() as patch:
        printed = []
        patch.setattr('builtins.print', lambda *words, **_: printed.append(' '.join(words)))
        assert bench('--size', '96x64', '--size', '160x128', '--raw', '-o', path) == 0
    return '\n'.join(printed), json.loads(path.read_text())


def test_report_has_every_stage_of_the_robots_path_at_every_size(reported):
    printed, report = reported
    assert [one['size'] for one in report['runs']] == ['96x64', '160x128']
    for one in report['runs']:
        assert list(one['stages_ms']) == [*STAGES, 'total', 'all but network']
        for found in one['stages_ms'].values():
            assert 0 < found['p50'] <= found['p95'] <= found['p99']
        assert one['frames_per_second'] == pytest.approx(
            1e3 / one['stages_ms']['total']['mean'], 0.01
        )
        assert one['before_model_mib'] < one['peak_mib']
    for stage in STAGES:
        assert sum(line.startswith(stage) for line in printed.splitlines()) >= 2


def test_stages_are_parts_of_the_total(reported):
    for one in reported[1]['runs']:
        means = {stage: found['mean'] for stage, found in one['stages_ms'].items()}
        parts = sum(means[stage] for stage in STAGES)
        assert means['total'] / 2 < parts < means['total'] + 0.01  # the rest is told in no stage
        assert means['all but network'] == pytest.approx(means['total'] - means['network'], 0.01)


def test_report_says_on_what_it_was_measured(reported, bundle):
    printed, report = reported
    graph_hash = json.loads((bundle / 'model.json').read_text())['files']['model.onnx']
    for one in report['runs']:
        assert (one['backend'], one['sha256'], one['pairs']) == ('cpu', graph_hash, 37)
        assert one['images'] == 'rgb8 + mono8'
        assert one['engine'].startswith('ONNX Runtime ')
    assert report['environment']['cores_usable'] == len(os.sched_getaffinity(0))
    assert (report['frames'], report['warm_up']) == (3, 10)
    assert '3 frames after 10 to warm up' in printed
    assert graph_hash[:12] in printed


def test_growth_is_told_from_three_sizes_on(reported):
    report = reported[1]
    assert 'growth ' in run.text(report)
    assert 'per Mpx' not in run.text(report)
    assert 'per Mpx' in run.text({**report, 'runs': [*report['runs'], report['runs'][0]]})


def test_busy_machine_is_called_busy(reported):
    report = reported[1]
    for load, busy in ((0.0, False), (9.0, True)):
        report['environment']['load_1_min'] = load
        assert ('BUSY' in run.text(report)) is busy


def test_folders_are_timed_as_raw_messages_of_their_own_size(folders, capsys, tmp_path):
    assert bench(*folders, '-o', tmp_path / 'out.json') == 0
    (one,) = json.loads((tmp_path / 'out.json').read_text())['runs']
    assert (one['size'], one['images'], one['pairs']) == ('96x64', 'rgb8 + mono16', 3)


def test_without_the_fused_image_less_is_timed(folders, tmp_path):
    times = {}
    for name, more in (('both', ()), ('detections', ('--detections-only',))):
        path = tmp_path / f'{name}.json'
        assert bench(*folders, '--size', '640x480', *more, '-o', path) == 0
        (one,) = json.loads(path.read_text())['runs']
        times[name] = one['stages_ms']
    assert one['published'] == 'detections'
    assert times['detections']['network']['p50'] < times['both']['network']['p50']
    assert times['detections']['messages']['p50'] < times['both']['messages']['p50']


def odd_one(folders):
    cv2.imwrite(str(folders[0] / '1.png'), np.zeros((32, 32, 3), np.uint8))


def test_images_of_several_sizes_ask_for_one(folders):
    odd_one(folders)
    with pytest.raises(BagError, match='--size'):
        load_pairs(Source(folders), SyncConfig())
    assert len(load_pairs(Source(folders, size_hw=(64, 96)), SyncConfig())) == 3


def test_bag_must_be_named_where_there_is_no_demo_bag(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(run, 'DEMO_BAG', tmp_path / 'nothing')
    assert bench() == 1
    assert 'name a bag, or two folders' in capsys.readouterr().err


WRONG = {
    '--frames must be at least 1': ('--frames', '0'),
    'one bag or two folders': ('a', 'b', 'c'),
    'wants WIDTHxHEIGHT': ('--size', '640'),
    'does not exist': ('nowhere',),
    'shipped models': ('-p', 'model=nowhere'),
    'cannot be written': ('-o', '/nowhere/report.json'),
}


@pytest.mark.parametrize(('words', 'given'), WRONG.items(), ids=list(WRONG))
def test_what_is_wrong_is_said_in_one_sentence_with_exit_status_1(words, given, capsys):
    assert bench(*given) == 1
    sentence = capsys.readouterr().err.splitlines()[-1]
    assert sentence.startswith('tdfusion: ')
    assert words in sentence


def test_pairs_of_a_bag_are_its_messages_untouched_and_in_order(demo, demo_pairs):
    pairs = load_pairs(Source((demo,)), SyncConfig())
    assert [messages.stamp_ns(rgb.header) for rgb, _ in pairs] == [
        pair.rgb.stamp_ns for pair in demo_pairs
    ]
    for (rgb, ir), pair in zip(pairs[:3], demo_pairs, strict=False):
        np.testing.assert_array_equal(messages.to_frame(rgb).pixels, pair.rgb.pixels)
        np.testing.assert_array_equal(messages.to_frame(ir).pixels, pair.ir.pixels)


def test_resized_pairs_keep_the_way_they_are_carried(demo):
    ((rgb, ir), *_) = load_pairs(Source((demo,), size_hw=(64, 96)), SyncConfig())
    assert (rgb.format, ir.encoding) == ('jpg', 'mono8')
    for message in (rgb, ir):
        assert messages.to_frame(message).size_hw == (64, 96)


def test_raw_pairs_show_what_the_compressed_ones_show(demo, demo_pairs):
    ((rgb, _), *_) = load_pairs(Source((demo,), raw=True), SyncConfig())
    assert rgb.encoding == 'rgb8'
    np.testing.assert_array_equal(messages.to_frame(rgb).pixels, demo_pairs[0].rgb.pixels)


def test_sixteen_bit_image_becomes_a_mono16_message_and_back():
    pixels = np.arange(12, dtype=np.uint16).reshape(3, 4) * 5000
    frame = Frame(pixels, STAMP_NS)
    types = bag_types()
    message = messages.image(types, messages.header(types, frame), pixels)
    assert (message.encoding, message.step, message.width) == ('mono16', 8, 4)
    np.testing.assert_array_equal(messages.to_frame(message).pixels, pixels)


class Logged:
    """A child that takes as many nanoseconds as it has worked frames, and notes its turns."""

    def __init__(self, name, order):
        self.name, self.order, self.number = name, order, 0

    def work(self, frames):
        self.order.append((self.name, frames))
        self.number += frames
        return [{'work': n} for n in range(self.number - frames + 1, self.number + 1)]


def test_children_take_turns_there_and_back_and_the_first_frame_of_a_turn_is_not_timed():
    order = []
    turns = take_turns({name: Logged(name, order) for name in 'ab'}, frames=5, block=2)
    assert order == [('a', 3), ('b', 3), ('b', 3), ('a', 3), ('a', 2), ('b', 2)]
    assert turns['a'] == [[{'work': 2}, {'work': 3}], [{'work': 5}, {'work': 6}], [{'work': 8}]]


def test_ratio_is_one_of_neighbors_so_that_a_slow_round_cancels():
    slow = [[{'work': 30 * mood}] * 3 for mood in (1, 7, 2, 5)]
    fast = [[{'work': 10 * mood}] * 3 for mood in (1, 7, 2, 5)]
    assert ratio(slow, fast, 'work') == (3.0, 3.0, 3.0)


def test_percentiles_are_those_of_all_frames_in_milliseconds():
    turns = [[{'work': n * 1_000_000} for n in range(0, 51)], [{'work': 100_000_000}] * 50]
    assert percentiles_ms(turns)['work']['p50'] == 50.0
    assert percentiles_ms(turns)['work']['p99'] == 100.0


def test_child_lives_in_another_process_and_hands_on_what_it_raises(folders):
    build = partial(RobotPath, Source(folders), FusionConfig(backend='cpu'))
    before = machine.process()
    child = Child(build)
    try:
        assert child.facts == build().facts() | {
            'before_model_mib': child.facts['before_model_mib']
        }
        assert len(child.work(2)) == 2
        assert child.facts['before_model_mib'] < before['memory_mib']  # this one has pytest
    finally:
        child.close()
    with pytest.raises(BagError, match='nowhere does not exist'):
        Child(partial(RobotPath, Source((Path('nowhere'),)), FusionConfig()))


def test_child_that_dies_is_a_sentence():
    with pytest.raises(FusionError, match='ended'):
        Child(partial(os._exit, 1))


def test_interrupt_ends_it_with_its_children(root):
    """Ctrl-C goes to all of a terminal's processes, and people press it twice."""
    command = [sys.executable, '-m', 'tdfusion_ros.cli', 'bench', '--frames', '100000']
    process = subprocess.Popen(
        command,
        cwd=root,
        start_new_session=True,
        # In the background of a script SIGINT is ignored, also by what is started there.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    sleep(3)
    for _ in range(2):
        os.killpg(process.pid, signal.SIGINT)
    try:
        assert process.wait(30) != 0
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def test_peak_of_memory_is_that_of_this_process():
    taken = machine.process()
    assert 0 < taken['memory_mib'] <= taken['peak_mib']
    held = np.ones(64 << 20, np.uint8)
    assert machine.process()['memory_mib'] > taken['memory_mib'] + 50
    assert held.any()


def test_pair_that_cannot_be_fused_is_a_sentence_that_crosses_processes(folders, monkeypatch):
    def refuse(*_, **__):
        raise FrameError('bad_encoding', 'the ir image is colored')

    path = RobotPath(Source(folders), FusionConfig(backend='cpu'))
    monkeypatch.setattr(path._pipeline, 'process', refuse)
    with pytest.raises(BagError, match='colored'):
        path.frame()
