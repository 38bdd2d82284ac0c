"""``tdfusion bench``: what it times, what it reports, and what it refuses."""

from contextlib import closing
from contextlib import suppress
from functools import partial
import json
import os
from pathlib import Path
import re
import signal
import subprocess
import sys
from time import sleep
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from tdfusion_ros import build
from tdfusion_ros.cli import main
from tdfusion_ros.core import errors
from tdfusion_ros.core.config import FusionConfig
from tdfusion_ros.formats import messages
from tdfusion_ros.tools.bench import benchmark
from tdfusion_ros.tools.bench import host
from tdfusion_ros.tools.bench import turns
from tdfusion_ros.tools.bench.message_pairs import load_pairs
from tdfusion_ros.tools.bench.message_pairs import PairSource
from tdfusion_ros.tools.bench.workloads import RobotPath

STAGES = ['decode', 'pairing', 'thermal', 'registration', 'network', 'postprocess', 'messages']
CPU = FusionConfig(backend='cpu')
MS = 1_000_000


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


def test_report_has_every_stage_at_every_size_and_they_add_up_to_the_total(reported):
    printed, report = reported
    assert [run['size'] for run in report['runs']] == ['96x64', '160x128']
    for run in report['runs']:
        stages = run['stages_ms']
        assert list(stages) == [*STAGES, 'total', 'all but network']
        assert all(0 < s['p50'] <= s['p95'] <= s['p99'] for s in stages.values())
        means = {stage: times['mean'] for stage, times in stages.items()}
        # Rounding apart: the time between two stages belongs to none.
        assert sum(means[stage] for stage in STAGES) < means['total'] + 0.01
        assert means['all but network'] == pytest.approx(means['total'] - means['network'], 0.01)
        assert run['frames_per_second'] == pytest.approx(1e3 / means['total'], 0.01)
        assert run['before_model_mib'] < run['peak_mib']
    for stage in STAGES:
        assert sum(line.startswith(stage) for line in printed.splitlines()) >= 2


def test_the_threads_that_are_set_are_used(folders, monkeypatch):
    given, open_backend = [], build.open_backend
    record = lambda *args, **how: given.append(how) or open_backend(*args, **how)  # noqa: E731
    monkeypatch.setattr(build, 'open_backend', record)
    RobotPath(PairSource(folders), FusionConfig(backend='cpu', cpu_threads=1))
    assert given == [{'cpu_threads': 1}]


def test_report_describes_what_was_measured_on_what(reported, bundle):
    printed, report = reported
    graph_hash = json.loads((bundle / 'model.json').read_text())['files']['model.onnx']
    for run in report['runs']:
        assert (run['backend'], run['sha256'], run['pairs']) == ('cpu', graph_hash, 40)
        assert run['images'] == 'rgb8 + mono8'
        assert run['engine'].startswith('ONNX Runtime ')
    assert report['environment']['cores_usable'] == len(os.sched_getaffinity(0))
    assert '3 frames after 10 to warm up' in printed
    assert graph_hash[:12] in printed
    assert 'growth ' in printed
    assert 'per Mpx' not in printed  # two points are always on a line
    for load, busy in ((9.0, True), (0.0, False)):
        facts = {**report['environment'], 'load_1_min': load}
        assert ('BUSY' in host.describe_environment(facts)) == busy


def timing(mpx, *turns_ms):
    times = [[dict.fromkeys(('network', 'total'), round(ms * MS))] for ms in turns_ms]
    usage = {'peak_mib': 100 + 50 * mpx}
    return turns.Timing({'megapixels': mpx, 'before_model_mib': 60}, usage, times)


def test_growth_is_a_line_over_three_sizes_with_its_spread_over_the_rounds():
    machine = np.array([1.0, 1.1, 1.0, 1.05, 1.0])  # slower in some rounds, at all sizes
    growth = benchmark.fit_growth(
        [timing(mpx, *(2 + 90 * mpx) * machine) for mpx in (0.1, 0.3, 1)]
    )
    line = growth['network ms']
    assert (line['fixed'], line['per_mpx']) == pytest.approx((2, 90), rel=1e-3)
    assert (line['low'], line['high']) == pytest.approx((90, 98), rel=0.01)
    assert line['deviation'] < 1e-6
    assert growth['model MiB']['per_mpx'] == pytest.approx(50)
    assert benchmark.fit_growth([timing(0.1, 1), timing(0.3, 1)]) == {}
    growth = benchmark.fit_growth([timing(mpx, 100 * mpx**2) for mpx in (0.1, 0.5, 1)])
    assert growth['network ms']['deviation'] > 0.1


def test_folders_are_timed_as_raw_messages_of_their_own_size(folders, tmp_path):
    assert bench(*folders, '-o', tmp_path / 'out.json') == 0
    (run,) = json.loads((tmp_path / 'out.json').read_text())['runs']
    assert (run['size'], run['images'], run['pairs']) == ('96x64', 'rgb8 + mono16', 3)


def test_images_of_several_sizes_need_a_size_option(folders):
    cv2.imwrite(str(folders[0] / '1.png'), np.zeros((32, 32, 3), np.uint8))
    with pytest.raises(errors.BagError, match='--size'):
        load_pairs(PairSource(folders), CPU.sync)
    assert len(load_pairs(PairSource(folders, size_hw=(64, 96)), CPU.sync)) == 3


def test_pairs_that_cannot_be_read_are_counted(folders, capsys):
    (folders[1] / '1.png').write_bytes(b'')
    assert len(load_pairs(PairSource(folders), CPU.sync)) == 2
    assert re.search(r'left out: 1 pair, the first: .*ir/1.png', capsys.readouterr().err)


def test_bag_must_be_named_where_there_is_no_demo_bag(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(benchmark, 'DEMO_BAG', tmp_path / 'nothing')
    assert bench() == 1
    assert 'name a bag, or two folders' in capsys.readouterr().err


def test_pairs_of_a_bag_are_its_messages_in_order_and_keep_their_encoding(demo, demo_pairs):
    pairs = load_pairs(PairSource((demo,)), CPU.sync)
    raw = load_pairs(PairSource((demo,), raw=True), CPU.sync)
    assert [messages.stamp_ns(rgb.header) for rgb, _ in pairs] == [
        pair.rgb.stamp_ns for pair in demo_pairs[:40]
    ]
    for (rgb, ir), (raw_rgb, _), pair in zip(pairs[:3], raw, demo_pairs, strict=False):
        np.testing.assert_array_equal(messages.to_frame(rgb).pixels, pair.rgb.pixels)
        np.testing.assert_array_equal(messages.to_frame(raw_rgb).pixels, pair.rgb.pixels)
        np.testing.assert_array_equal(messages.to_frame(ir).pixels, pair.ir.pixels)
        assert 'jpeg' in rgb.format
        assert raw_rgb.encoding == 'rgb8'
    ((rgb, ir), *_) = load_pairs(PairSource((demo,), size_hw=(64, 96)), CPU.sync)
    assert (rgb.format, ir.encoding) == ('jpg', 'mono8')
    assert messages.to_frame(rgb).size_hw == messages.to_frame(ir).size_hw == (64, 96)


def test_workers_alternate_in_order_and_the_first_frame_of_a_turn_is_not_timed():
    order, counts = [], {'a': 0, 'b': 0}

    def run(name, frames):
        order.append((name, frames))
        counts[name] += frames
        return [{'work': n} for n in range(counts[name] - frames + 1, counts[name] + 1)]

    workers = {name: SimpleNamespace(ask=partial(run, name)) for name in 'ab'}
    times = turns.take_turns(workers, frames=5, block=2)
    assert order == [('a', 3), ('b', 3), ('b', 3), ('a', 3), ('a', 2), ('b', 2)]
    assert times['a'] == [[{'work': 2}, {'work': 3}], [{'work': 5}, {'work': 6}], [{'work': 8}]]


def test_times_are_compared_in_neighboring_turns_so_that_slow_rounds_cancel():
    slow, fast = timing(1, 30, 210, 60, 150), timing(1, 10, 70, 20, 50)
    assert turns.ratio(slow, fast, 'network') == (3.0, 3.0, 3.0)
    times = timing(1, *range(51), *[100] * 50).percentiles_ms()['network']
    assert (times['p50'], times['p99']) == (50.0, 100.0)


def test_worker_is_another_process_and_passes_on_errors(folders):
    build = partial(RobotPath, PairSource(folders), CPU)
    with closing(turns.WorkerProcess(build)) as worker:
        own = host.process_usage()
        before = worker.facts['before_model_mib']
        assert worker.facts == build().facts() | {'before_model_mib': before}
        assert before < own['memory_mib']  # this process has loaded pytest too
        assert len(worker.ask(2)) == 2
        assert before < worker.ask(None)['peak_mib']
    with pytest.raises(errors.BagError, match='nowhere does not exist'):
        turns.WorkerProcess(partial(RobotPath, PairSource((Path('nowhere'),)), CPU))
    with pytest.raises(errors.FusionError, match='ended unexpectedly'):
        turns.WorkerProcess(partial(os._exit, 1))


def test_interrupt_ends_it_with_its_workers(root):
    """Ctrl-C reaches every process of a terminal, and people press it twice."""
    command = [sys.executable, '-m', 'tdfusion_ros.cli', 'bench', '--frames', '100000']
    process = subprocess.Popen(
        command,
        cwd=root,
        start_new_session=True,
        # In the background of a script SIGINT is ignored, also by what is started there.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    children = Path(f'/proc/{process.pid}/task/{process.pid}/children')
    while process.poll() is None and not children.read_text():  # until its first worker runs
        sleep(0.02)
    for _ in range(2):
        os.killpg(process.pid, signal.SIGINT)
    try:
        assert process.wait(60) != 0
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
