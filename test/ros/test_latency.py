"""``python -m benchmarks.latency``: ages of the live node's results, and whether they grow."""

import json

import numpy as np
import pytest
from rig.stage import run_module

from benchmarks import latency

FAST = ('--hz', 5, '--seconds', 2, '--size', '96x64')


def test_every_pair_of_a_slow_camera_is_fused_or_counted_and_its_age_reported(tmp_path):
    path = tmp_path / 'report.json'
    done = run_module('benchmarks.latency', *FAST, '--raw', '-o', path)
    report = json.loads(path.read_text())
    # A busy machine skips ticks of the sender; what it does send comes back or is counted.
    lost = report['offered'] - report['fused']
    assert report['fused'] > 0, done.stdout + done.stderr
    assert 0 <= lost <= sum(report['dropped'].values()), done.stdout + done.stderr
    assert (report['size'], report['images']) == ('96x64', 'rgb8 + mono8')
    ages, node = report['age_ms'], report['node_ms']
    assert ages['p50'] <= ages['p95'] <= ages['p99'] <= ages['worst']
    assert 0 < node['network_ms_p50'] < node['latency_ms_p50']
    assert 'within the node' in done.stdout


def test_log_of_a_node_that_cannot_start_is_printed():
    done = run_module('benchmarks.latency', *FAST, '-p', 'model:=nowhere')
    assert done.returncode == 1
    assert 'the node ended' in done.stderr
    assert "model 'nowhere'" in done.stderr


def summary(ages_s, lost=()):
    """Return the summary of pairs at 30 Hz with these ages after two seconds of warm-up."""
    sent = {n: 100 + n / 30 for n in range(len(ages_s) + 60)}
    received = {n: sent[n] + 0.01 for n in range(60)}
    received |= {n + 60: sent[n + 60] + age for n, age in enumerate(ages_s) if n not in lost}
    return latency.summary(sent, received)


@pytest.mark.parametrize(('growth_ms_per_s', 'grows'), [(0, False), (0.1, False), (10, True)])
def test_ages_that_grow_differ_from_ages_that_scatter(growth_ms_per_s, grows):
    noise = np.random.default_rng(0).normal(0, 2e-3, 300)
    ages = 0.05 + noise + np.arange(300) / 30 * growth_ms_per_s / 1e3
    found = summary(ages.tolist())
    assert found['grows'] is grows
    assert found['slope_ms_per_s'] == pytest.approx(growth_ms_per_s, abs=0.2)


def test_results_that_never_arrive_are_an_error():
    with pytest.raises(latency.FusionError, match='0 of 30 pairs'):
        summary([0.02] * 30, lost=range(30))
