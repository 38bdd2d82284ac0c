"""``python -m demo.faults`` and ``python -m demo.soak``: what they believe and what not."""

from dataclasses import replace
import json
from types import SimpleNamespace

import numpy as np
import pytest
from rig.stage import ROOT
from rig.stage import run_module

pytestmark = pytest.mark.ros

HELD = {'memory_mib': 240.0, 'threads': 21, 'descriptors': 26, 'shared_mib': 68.0}


@pytest.fixture
def demo(monkeypatch):
    """Return the modules; they lie beside the package."""
    monkeypatch.syspath_prepend(str(ROOT))
    from demo import soak
    from demo.faults import faults
    from demo.faults import judge
    from demo.faults import runner

    return SimpleNamespace(soak=soak, faults=faults, judge=judge, runner=runner)


@pytest.fixture
def frozen(demo):
    """Return a fault and what a good node does about it."""
    (fault,) = (f for f in demo.faults.FAULTS if f.name == 'ir picture frozen')
    return fault, demo.runner.Observation(
        fault=fault.name,
        state='active',
        hz_before=20.0,
        hz_during=19.0,
        sent_hz=20.0,
        made={'pairs': 4, 'held': 6, 'rgb_only': 50},
        said=('ir stream: the ir picture stands still for 2.9 s (shutter): rgb_only',),
        counted={'stalls.ir': 1},
        recovery_s=0.2,
        found_s=0.0,
        steady_s=0.1,
        oldest_ms=90.0,
        before=HELD,
        after=HELD,
    )


def test_a_node_that_does_what_it_has_to_is_believed(demo, frozen):
    assert demo.results.judge(*frozen) == []


@pytest.mark.parametrize(
    ('changes', 'said'),
    [
        ({'state': ''}, 'state unknown instead of active'),
        ({'state': 'inactive'}, 'state inactive'),
        ({'recovery_s': None, 'steady_s': None}, 'no pair was fused any more'),
        ({'recovery_s': 2.5}, 'the first pair came after 2.5 s, not 2'),
        ({'steady_s': None}, 'not as fast as before'),
        ({'steady_s': 6.0}, 'not as fast as before'),
        ({'oldest_ms': 2500.0}, 'a result was 2500 ms old'),
        ({'hz_during': 8.0}, '8.0 results a second, less than 50% of 20.0'),
        ({'made': {'pairs': 3}}, 'made mostly nothing, not rgb_only'),
        ({'made': {'pairs': 60}}, 'made mostly pairs, not rgb_only'),
        ({'said': ('ir stream: no ir image for 1 s',)}, 'no warning like'),
        ({'counted': {}}, 'stalls.ir did not rise'),
    ],
)
def test_a_node_that_does_not_is_told_what_is_wrong(demo, frozen, changes, said):
    fault, seen = frozen
    wrong = demo.results.judge(fault, replace(seen, **changes))
    assert any(said in what for what in wrong), wrong


def test_the_time_that_dds_takes_to_find_a_camera_is_not_the_nodes(demo, frozen):
    fault, seen = frozen
    assert demo.results.judge(fault, replace(seen, recovery_s=2.5, found_s=2.4)) == []


def test_results_of_pictures_that_do_not_belong_together_are_wrong(demo, frozen):
    (hour,) = (f for f in demo.faults.FAULTS if f.name == 'ir clock off by an hour')
    said = ('sync: images arrive but no pair; 3600 s behind those of rgb: set the clocks',)
    seen = replace(frozen[1], said=said, counted={'dropped.time_jump': 9})
    assert demo.results.judge(hour, replace(seen, made={'pairs': 2})) == []
    assert demo.results.judge(hour, seen) == ['made mostly rgb_only, not nothing']


@pytest.mark.parametrize(
    ('name', 'more', 'leaks'),
    [
        ('threads', 1, True),
        ('descriptors', 1, True),
        ('descriptors', -1, False),
        ('memory_mib', 30, False),
        ('memory_mib', 300, True),
    ],
)
def test_what_the_node_holds_more_of_in_the_end_is_told(demo, name, more, leaks):
    found = demo.results.leaks(HELD, {**HELD, name: HELD[name] + more})
    assert bool(found) == leaks


def test_recovery_is_the_first_fresh_pair_of_pictures_sent_after_the_fault(demo):
    heard = demo.runner.Heard()
    heard.sent['rgb'] |= {1: 10.0, 2: 11.0, 3: 12.0}
    heard.fresh += [(10.1, 1), (11.3, 2), (12.1, 3)]
    assert demo.runner.recovered_s(heard, ended=10.5) == 11.3
    assert demo.runner.recovered_s(heard, ended=12.5) is None


def soaked(demo, *, mib_per_min=0.0, ms_per_min=0.0, noise_ms=3.0, **grown):
    """Return the verdict about twenty minutes."""
    rng = np.random.default_rng(0)
    samples = []
    for at in np.arange(5, 1200, 5.0):
        memory = 240 + mib_per_min * at / 60 + 8 * (at > 40) + rng.normal(0, 0.1)
        held = {**HELD, 'memory_mib': memory}
        if at > 900:
            held |= grown
        age = 50 + ms_per_min * at / 60 + rng.normal(0, noise_ms)
        samples.append(demo.soak.Sample(at, held, (age, age + 20), 100, 99))
    return demo.soak.judge(samples)


def test_memory_that_is_taken_in_the_first_minute_is_no_growth(demo):
    told = soaked(demo)
    assert told['wrong'] == []
    assert abs(told['memory_growth']) < 0.001


@pytest.mark.parametrize(
    ('growing', 'said'),
    [
        ({'mib_per_min': 0.3}, 'memory grew by 2.3%'),
        ({'ms_per_min': 1.0}, 'results got older by 18.8 ms'),
        ({'threads': 22}, 'threads grew from 21 to 22'),
        ({'descriptors': 40}, 'descriptors grew from 26 to 40'),
    ],
)
def test_what_grows_in_a_soak_is_told(demo, growing, said):
    (wrong,) = soaked(demo, **growing)['wrong']
    assert said in wrong


@pytest.mark.parametrize('little', [{'mib_per_min': 0.1}, {'ms_per_min': 0.1}, {'noise_ms': 30}])
def test_a_little_growth_or_other_work_fails_no_soak(demo, little):
    assert soaked(demo, **little)['wrong'] == []


def test_a_busy_spell_is_less_certain_than_its_scatter_says(demo):
    """Neighboring samples resemble each other: a line through them errs more."""
    rng = np.random.default_rng(0)
    samples = [demo.soak.Sample(at, HELD, (50, 70), 100, 99) for at in np.arange(5, 1200, 5.0)]
    spell = np.convolve(rng.normal(0, 5, 260), np.ones(22) / 22, 'valid')[: len(samples)]
    shuffled = rng.permutation(spell)
    assert demo.soak.line(samples, spell)['error'] > 3 * demo.soak.line(samples, shuffled)['error']


def test_too_little_to_judge_is_a_sentence(demo):
    with pytest.raises(demo.soak.FusionError, match='too few'):
        demo.soak.judge([])


def test_a_camera_that_is_killed_is_survived_by_the_real_node(tmp_path):
    path = tmp_path / 'report.json'
    size = ('--size', '96x64', '--hz', 10)
    done = run_module('demo.faults', *size, '--only', 'ir camera killed', '-o', path)
    assert done.returncode == 0, done.stdout + done.stderr
    (seen,) = json.loads(path.read_text())['faults']
    assert (seen['fault'], seen['state'], seen['mostly']) == (
        'ir camera killed',
        'active',
        'rgb_only',
    )
    # Finding the camera again is DDS's share, of up to three seconds.
    assert 0 < seen['recovery_s'] - seen['found_s'] < 2
    assert '1 of 1 faults as expected' in done.stdout


def test_a_short_soak_tells_what_the_real_node_holds(tmp_path):
    path = tmp_path / 'report.json'
    done = run_module(
        'demo.soak', '--minutes', 0.2, '--every', 1, '--size', '96x64', '--hz', 10, '-o', path
    )
    report = json.loads(path.read_text())
    assert len(report['samples']) == 12
    assert report['made'] > 0.8 * report['offered'] > 80, done.stdout + done.stderr
    assert report['samples'][0]['held']['descriptors'] > 10
    assert 'MiB an hour' in done.stdout
