"""What happens on robots, caused on purpose: cameras, clocks, engine, viewers and disks fail."""

from types import SimpleNamespace

import pytest

pytest.importorskip('rclpy')

from disturbances import small_disk
from faults import FAULTS
from live import Live
from live import Options
from observation import leaks
from observation import observe
from observation import reaction_problems
from observation import table
from observation import timing_problems
from rig.stage import SLOW_NODE

from tdfusion_ros.tools.bench.host import describe_environment
from tdfusion_ros.tools.bench.host import environment

WARM_UP_S = 3.0
LEASE_S = 25.0  # Fast DDS keeps what belonged to a killed participant for 20 s
PARAMETERS = {'input_timeout_s': 1.0}
NAMES = [fault.name.replace(' ', '_') for fault in FAULTS]


def report(session):
    """Return the table with what changed over all faults."""
    before, after, results = session.before, session.after, session.results
    passed = sum(not problems for _, problems in results)
    changes = ', '.join(f'{name} {before[name]:g} -> {after[name]:g}' for name in before)
    text = f'{table([seen for seen, _ in results])}\n\nnode before and after: {changes}\n'
    return f'{text}{passed} of {len(results)} faults as expected'


@pytest.fixture(scope='module')
def session(tmp_path_factory, command_line, publish):
    """Yield the node of all faults, its resources, and the results of each fault."""
    facts, folder = environment(), tmp_path_factory.mktemp('faults')
    disk = folder / 'disk'
    with small_disk(disk) as mounted, pytest.MonkeyPatch.context() as patch:
        parameters = {**PARAMETERS, **command_line['parameters']}
        if mounted:
            patch.setenv('ROS_LOG_DIR', str(disk))
            parameters['save_folder'] = disk
        kept = {'parameters': parameters, 'disk': disk if mounted else None}
        options = Options(**{**command_line, **kept})
        patch.setenv('BLOCK', str(folder / 'block'))
        with Live(folder, options, SLOW_NODE) as live:
            live.watch(WARM_UP_S)
            if mounted:
                live.client.trigger('save_pair')  # the first call starts the thread that saves
            used = live.resources()
            session = SimpleNamespace(live=live, before=used, after=used, results=[])
            yield session
            head = f'{describe_environment(facts)}\n{options.size} at {options.hz:g} Hz\n\n'
            publish('faults', head + report(session))


@pytest.mark.system
@pytest.mark.parametrize('fault', FAULTS, ids=NAMES)
def test_node_survives_reports_and_recovers_from(fault, session):
    if fault.needs_disk and not session.live.options.disk:
        pytest.skip('only root may mount a small disk')
    seen = observe(fault, session.live)
    found = reaction_problems(fault.expected, seen) + timing_problems(fault.expected, seen)
    session.results.append((seen, found))
    assert not found


@pytest.mark.system
def test_node_uses_no_more_resources_after_all_faults(session):
    live = session.live
    live.watch(LEASE_S, lambda: not leaks(session.before, live.resources()))
    session.after = live.resources()
    assert not leaks(session.before, session.after)


def test_node_survives_a_killed_camera_and_an_engine_that_raises(tmp_path, monkeypatch):
    monkeypatch.setenv('BLOCK', str(tmp_path / 'block'))
    chosen = [f for f in FAULTS if f.name in ('ir camera killed', 'engine raises')]
    with Live(tmp_path, Options('96x64', 10.0, PARAMETERS), SLOW_NODE) as live:
        found = [reaction_problems(fault.expected, observe(fault, live)) for fault in chosen]
    assert found == [[], []]
