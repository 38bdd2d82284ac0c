"""``python -m benchmarks.speed``: the paper's network and a bundle's network."""

import json
import sys
from types import SimpleNamespace

import pytest

from benchmarks import speed
from tdfusion_ros.core.errors import ModelError


@pytest.fixture
def shipped_graphs(monkeypatch, bundle):
    """Use the shipped graph for all four, so that nothing is exported."""
    names = [f'{n}, {w}' for w in ('fusion', 'fusion + detector') for n in ('paper', 'real-time')]
    fake = SimpleNamespace(export_graphs=lambda *_: dict.fromkeys(names, bundle / 'model.onnx'))
    monkeypatch.setitem(sys.modules, 'benchmarks.graphs', fake)


def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, 'argv', ['speed', '--size', '96x64', '--rounds', '3', *arguments])
    speed.main()


def test_four_graphs_are_timed_and_two_ratios_printed_with_their_spread(
    shipped_graphs, monkeypatch, tmp_path, capsys
):
    path = tmp_path / 'report.json'
    run(monkeypatch, '-o', str(path))
    report, printed = json.loads(path.read_text()), capsys.readouterr().out
    assert list(report['graphs']) == [name for pair in speed.RATIOS.values() for name in pair]
    for found in report['graphs'].values():
        assert 0 < found['p50'] <= found['p99']
        assert found['before_model_mib'] < found['peak_mib']
    for what, found in report['ratios'].items():
        assert found['p5'] <= found['median'] <= found['p95']
        assert f'paper / real-time, {what}: {found["median"]:.1f}' in printed
    assert 'random weights' in printed


def test_unknown_bundle_is_an_error(shipped_graphs, monkeypatch):
    with pytest.raises(ModelError, match="model 'nowhere' is neither"):
        run(monkeypatch, '--model', 'nowhere')
