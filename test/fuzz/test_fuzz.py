"""A small share of ``python -m demo.fuzz``, and that its findings would be seen."""

import pytest

pytest.importorskip('rosbags')
pytest.importorskip('onnx')
pytest.importorskip('onnxruntime')
pytest.importorskip('torch')

from demo.fuzz.__main__ import plan
from demo.fuzz.__main__ import table
from demo.fuzz.child import judge
from demo.fuzz.runner import fuzz
from demo.fuzz.runner import Tally
from demo.fuzz.target import must
from demo.fuzz.target import Target
from demo.fuzz.targets import TARGETS
from tdfusion_ros.core.errors import FrameError

pytestmark = pytest.mark.torch
NAMES = [target.name for target in TARGETS]


@pytest.fixture(scope='module')
def tallies():
    """Return what became of two thousand wrong inputs."""
    return {tally.name: tally for tally in fuzz(plan(2000), seed=20)}


@pytest.mark.parametrize('name', NAMES)
def test_wrong_input_is_read_or_refused_with_an_error_of_ours_in_time(tallies, name):
    tally = tallies[name]
    assert not tally.faults
    assert tally.inputs >= 1
    assert tally.peak_bytes < 500e6


def test_most_inputs_are_refused_and_some_are_read(tallies):
    read = sum(t.accepted for t in tallies.values())
    refused = sum(t.refused.total() for t in tallies.values())
    assert refused > read > 100


def test_input_that_ends_the_process_is_a_finding_and_not_the_end(tmp_path, monkeypatch):
    # Read by the child when it starts: a target that kills its process at every third input.
    (tmp_path / 'sitecustomize.py').write_text(
        'import os\n'
        'from demo.fuzz import targets\n'
        'from demo.fuzz.target import Target\n'
        'def draw(rng):\n'
        '    rng.random()\n'
        '    draw.n += 1\n'
        '    return lambda: os.abort() if draw.n % 3 == 0 else None\n'
        'draw.n = 0\n'
        "targets.TARGETS = (Target('deadly', 1, lambda place: draw),)\n"
    )
    monkeypatch.setenv('PYTHONPATH', f'{tmp_path}:.')
    from demo.fuzz.runner import Part

    (tally,) = fuzz([Part('deadly', 0, 7)], seed=0)
    assert (tally.accepted, [number for number, _ in tally.faults]) == (5, [2, 5])
    assert '| deadly | 7 | 5 | 0 | 2 |' in table([tally])


@pytest.mark.parametrize(
    ('error', 'outcome'),
    [
        (FrameError('truncated', 'x'), ('refused', 'truncated')),
        (FrameError, ('fault', 'TypeError')),
        (ValueError('x'), ('fault', 'ValueError')),
        (MemoryError(), ('fault', 'MemoryError')),
    ],
)
def test_only_errors_of_ours_count_as_refusal(error, outcome):
    def case():
        raise error

    got = judge(Target('x', 1, None), lambda rng: case, 0, 0)
    assert got[0] == outcome[0]
    assert got[1].startswith(outcome[1])


def test_broken_promise_and_a_slow_input_are_faults():
    got = judge(Target('x', 1, None), lambda rng: lambda: must(False, 'order'), 0, 0)
    assert got[0] == 'fault'
    tally = Tally('x')
    tally.add(0, 'accepted', '', 2.5)
    assert tally.faults == [(0, 'accepted after 2.5 s')]


def test_same_seed_draws_the_same_inputs(tmp_path):
    (target,) = (t for t in TARGETS if t.name == 'CompressedImage')
    draw = target.prepare(tmp_path)
    first, again = ([judge(target, draw, 3, number)[:2] for number in range(40)] for _ in range(2))
    other = [judge(target, draw, 4, number)[:2] for number in range(40)]
    assert first == again != other
