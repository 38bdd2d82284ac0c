"""``python -m benchmarks.latency``: what it says of the live node, and of ages that grow."""

import json

import numpy as np
import pytest
from rig.stage import ROOT
from rig.stage import run_module

pytestmark = pytest.mark.ros


@pytest.fixture
def latency(monkeypatch):
    """Return the module; it lies beside the package."""
    monkeypatch.syspath_prepend(str(ROOT))
    from benchmarks import latency

    return latency


def test_every_pair_of_a_slow_camera_is_fused_and_its_age_told(tmp_path):
    path = tmp_path / 'report.json'
    done = run_module(
        'benchmarks.latency', '--hz', 5, '--seconds', 2, '--size', '96x64', '--raw', '-o', path
    )
    report = json.loads(path.read_text())
    # A busy machine skips ticks of the player; what it does send must come back.
    assert report['fused'] == report['offered'] >= 8, done.stdout + done.stderr
    assert (report['size'], report['images']) == ('96x64', 'rgb8 + mono8')
    assert report['sent_hz'] == pytest.approx(5, rel=0.2)
    ages, node = report['age_ms'], report['node_ms']
    assert ages['p50'] <= ages['p95'] <= ages['p99'] <= ages['worst']
    assert 0 < node['network_ms_p50'] < node['latency_ms_p50']
    assert 'within the node' in done.stdout


def test_node_that_cannot_start_is_said_with_its_log():
    done = run_module(
        'benchmarks.latency', '--hz', 5, '--seconds', 1, '--size', '96x64', '-p', 'model:=nowhere'
    )
    assert done.returncode == 1
    assert 'the node ended' in done.stderr
    assert "model 'nowhere' is neither" in done.stderr


def sent_and_received(latency, ages_s, lost=()):
    sent = {n: 100 + n / 30 for n in range(len(ages_s) + 60)}  # the first two seconds warm up
    received = {n: sent[n] + 0.01 for n in range(60)}
    received |= {n + 60: sent[n + 60] + age for n, age in enumerate(ages_s) if n not in lost}
    return latency.summary(sent, received)


def test_pairs_that_were_lost_are_offered_and_not_fused(latency):
    told = sent_and_received(latency, [0.02] * 90, lost=(3, 50))
    assert (told['offered'], told['fused'], told['sent_hz']) == (90, 88, 30.0)
    assert told['age_ms']['p99'] == pytest.approx(20)


@pytest.mark.parametrize(('growth_ms_per_s', 'grows'), [(0, False), (0.1, False), (10, True)])
def test_ages_that_grow_are_told_from_ages_that_scatter(latency, growth_ms_per_s, grows):
    noise = np.random.default_rng(0).normal(0, 2e-3, 300)
    ages = 0.05 + noise + np.arange(300) / 30 * growth_ms_per_s / 1e3
    told = sent_and_received(latency, ages.tolist())
    assert told['grows'] is grows
    assert told['slope_ms_per_s'] == pytest.approx(growth_ms_per_s, abs=0.2)


def test_nothing_that_comes_back_is_a_sentence(latency):
    with pytest.raises(latency.FusionError, match='0 of 30 pairs'):
        sent_and_received(latency, [0.02] * 30, lost=range(30))
