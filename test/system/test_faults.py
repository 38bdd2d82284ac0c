"""What happens on robots, caused on purpose: cameras, clocks, engine, viewers and disks fail."""

from dataclasses import asdict

import pytest

pytest.importorskip('rclpy')

from disturbances import small_disk
from faults import FAULTS
from live import HERE
from live import Live
from live import Options
from observation import leaks
from observation import observe
from observation import reaction_problems
from observation import table
from observation import timing_problems
from rig.stage import Stage

from tdfusion_ros.tools.bench.host import describe_environment
from tdfusion_ros.tools.bench.host import environment

pytestmark = pytest.mark.ros
WARM_UP_S = 3.0
LEASE_S = 25.0  # Fast DDS keeps what belonged to a killed participant for 20 s
PARAMETERS = {'input_timeout_s': 1.0}
NAMES = [fault.name.replace(' ', '_') for fault in FAULTS]


class Session:
    """One node for all faults, and what was observed."""

    def __init__(self, live):
        self.live = live
        live.watch(WARM_UP_S)
        self.before = self.after = live.resources()
        self.observations = []
        self.problems = {}

    def text(self):
        """Return the table and what changed over all faults."""
        failed = sum(map(bool, self.problems.values()))
        return '\n'.join(
            [
                table(self.observations),
                '',
                'node before and after all faults: '
                + ', '.join(f'{n} {v:g} -> {self.after[n]:g}' for n, v in self.before.items()),
                f'{len(self.problems) - failed} of {len(self.problems)} faults as expected',
            ]
        )

    def values(self):
        """Return the report for a file."""
        seen = [
            {**asdict(o), 'mostly': o.mostly, 'wrong': self.problems[o.fault]}
            for o in self.observations
        ]
        return {'before': self.before, 'after': self.after, 'faults': seen}


@pytest.fixture(scope='module')
def session(tmp_path_factory, command_line, publish):
    facts, folder = environment(), tmp_path_factory.mktemp('faults')
    with small_disk(folder / 'disk') as mounted, pytest.MonkeyPatch.context() as patch:
        disk = folder / 'disk' if mounted else None
        parameters = {**PARAMETERS, **command_line['parameters']}
        if mounted:
            patch.setenv('ROS_LOG_DIR', str(disk))
            parameters['save_folder'] = disk
        options = Options(**{**command_line, 'parameters': parameters, 'disk': disk})
        stage = Stage(folder)
        live = None
        try:
            live = Live(stage, options, script=(str(HERE / 'faulty_engine_node.py'),))
            session = Session(live)
            yield session
            cameras = f'{options.size}, both cameras at {options.hz:g} Hz'
            head = f'{describe_environment(facts)}\n{cameras}\n\n'
            given = {'schema': 1, 'environment': facts, 'size': options.size, 'hz': options.hz}
            publish('faults', head + session.text(), {**given, **session.values()})
        finally:
            if live:
                live.close()
            stage.close()  # fails unless the node ends with status 0 and without a traceback


@pytest.mark.system
@pytest.mark.parametrize('fault', FAULTS, ids=NAMES)
def test_node_survives_reports_and_recovers_from(fault, session):
    if fault.needs_disk and not session.live.options.disk:
        pytest.skip('only root may mount a small disk')
    seen = observe(fault, session.live)
    found = reaction_problems(fault.expected, seen) + timing_problems(fault.expected, seen)
    session.observations.append(seen)
    session.problems[fault.name] = found
    assert not found


@pytest.mark.system
def test_node_uses_no_more_resources_after_all_faults(session):
    live = session.live
    live.watch(LEASE_S, lambda: not leaks(session.before, live.resources()))
    session.after = live.resources()
    assert not leaks(session.before, session.after)


def test_node_fuses_rgb_alone_without_an_ir_camera_and_pairs_when_it_is_back(tmp_path):
    stage = Stage(tmp_path)
    live = Live(stage, Options('96x64', 10.0, PARAMETERS))
    try:
        seen = observe(FAULTS[0], live)
    finally:
        live.close()
        stage.close()
    assert not reaction_problems(FAULTS[0].expected, seen)
