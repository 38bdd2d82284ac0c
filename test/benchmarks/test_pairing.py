"""``python -m benchmarks.pairing``: our pairing and message_filters on the same arrivals."""

import sys

import pytest

from benchmarks import pairing
from tdfusion_ros.core.config import SyncConfig


def run(monkeypatch, capsys):
    monkeypatch.setattr(sys, 'argv', ['pairing'])
    assert pairing.main() == 0
    return capsys.readouterr().out.splitlines()[1:]


@pytest.mark.parametrize('max_skew_ms', [20.0, 50.0])
@pytest.mark.parametrize('number', range(5))
def test_our_pairing_comes_within_a_millisecond_of_the_nearest_possible(number, max_skew_ms):
    scene, sync = pairing.SCENES[number], SyncConfig(max_skew_ms=max_skew_ms)
    arrivals = scene.arrivals()
    best_ms = pairing.best_skews_ms(arrivals, max_skew_ms)
    found = pairing.row(scene, arrivals, pairing.NearestPolicy(sync))
    assert abs(found['skew_ms'] - best_ms.mean()) < 1.0
    if not scene.spread_ms:  # frames of one camera that overtake each other are given up
        assert found['pairs'] == len(best_ms)


def test_our_pairing_keeps_every_pair_of_every_loop_of_a_bag():
    (scene,) = (scene for scene in pairing.SCENES if scene.loops == 4)
    arrivals = scene.arrivals()
    found = pairing.row(scene, arrivals, pairing.NearestPolicy(SyncConfig()))
    assert found['loops'] == [len(pairing.best_skews_ms(arrivals, 20.0)) // 4] * 4
    assert found['mixed'] == 0


def test_missing_message_filters_are_said_in_every_scene(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, 'message_filters', None)
    lines = run(monkeypatch, capsys)
    assert sum('nearest' in line for line in lines) == len(pairing.SCENES)
    assert sum('is not installed' in line for line in lines) == len(pairing.SCENES)


def test_message_filters_pair_the_same_arrivals_where_they_are_installed(monkeypatch, capsys):
    pytest.importorskip('message_filters')
    lines = run(monkeypatch, capsys)
    for line in (line for line in lines if ' approximate ' in line):
        pairs, possible = (int(word) for word in line.split(' approximate ')[1].split()[:2])
        assert possible / 2 < pairs <= possible
