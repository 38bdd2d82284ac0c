"""The faults: what is done to the cameras, for how long, and what the node has to do about it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from demo.faults import harms
from demo.faults.harms import Harm

Changes = Mapping[str, Any]  # of benchmarks.live.camera.Settings
WELL: Changes = {}
KILLED = None
NO_ROOM = 'No space left on device'


@dataclass(frozen=True)
class Expected:
    """
    What the node has to do while a fault lasts.

    :param mode: what most results are made of: ``pairs``, ``held``, ``rgb_only``, ``ir_only``;
        empty: there are to be no results.
    :param share: of the rate before that has to remain.
    :param says: what a warning on /diagnostics has to say, ``subject: sentence`` (a regular
        expression); empty where there is nothing to warn of.
    :param counts: a counter of the diagnostics that has to rise.
    :param oldest_ms: age of the oldest result, from the sending of its picture to its arrival: a
        queue without end would pass this in a burst.
    """

    mode: str
    share: float = 0.5
    says: str = ''
    counts: str = ''
    oldest_ms: float = 2000.0


@dataclass(frozen=True)
class Fault:
    """
    One fault.

    :param rgb: what the camera does otherwise meanwhile; KILLED: it is.
    :param ir: likewise.
    :param seconds: how long that lasts; 0: it is a jump, and stays until the next fault.
    :param harm: what is done to others meanwhile.
    :param disk: whether that takes a small disk to be filled.
    """

    name: str
    rgb: Changes | None
    ir: Changes | None
    seconds: float
    expected: Expected
    harm: Harm = harms.none
    disk: bool = False


def missing(camera: str, mode: str) -> Expected:
    """Return what is expected without a camera."""
    return Expected(mode, says=f'{camera} stream: no {camera} image', counts=f'stalls.{camera}')


def stalled(sentence: str) -> Expected:
    """Return what is expected of an ir camera that still sends, but shows nothing."""
    return Expected('rgb_only', says=f'ir stream: the ir picture {sentence}', counts='stalls.ir')


def refused(mode: str, camera: str, cause: str) -> Expected:
    """Return what is expected where images of a camera cannot be used."""
    says = rf'{camera} stream: {camera} image dropped \({cause}\): '
    return Expected(mode, says=says, counts=f'dropped.{camera}.{cause}')


OFF, BURST, LOSS = {'hz': 0.0}, {'hz': 300.0}, {'loss': 0.3}
BACK, HOUR = {'clock_off_s': -10.0}, {'clock_off_s': -3600.0}
FROZEN, FLAT, TRUNCATED, UNKNOWN, SMALL, FAULTY = (
    {'picture': name} for name in ('frozen', 'flat', 'truncated', 'unknown', 'small', 'faulty')
)
BEST_EFFORT = {'reliable': False}

SILENT = Expected('', says='(rgb|ir) stream: no usable')
PAIRS = Expected('pairs')
FEW = Expected('pairs', share=0.2)  # whoever sends so much takes the processor, too
HALF = Expected('pairs', share=0.3, counts='dropped.no_partner')  # 0.7 of 0.7
APART = Expected('', says='sync: .* 3600 s behind .*set the clocks', counts='dropped.time_jump')
RAISED = Expected('', says='inference: pair dropped', counts='exceptions')
SUSPENDED = Expected('', oldest_ms=5000.0)
UNSAVED = Expected('pairs', says=f'save_pair: .*{NO_ROOM}')
UNKEPT = Expected('pairs', says=f'cache: the engine cannot be kept .*{NO_ROOM}')

FAULTS = (
    Fault('ir camera killed', WELL, KILLED, 4, missing('ir', 'rgb_only')),
    Fault('rgb camera killed', KILLED, WELL, 4, missing('rgb', 'ir_only')),
    Fault('both cameras pause', OFF, OFF, 4, SILENT),
    Fault('ir picture frozen', WELL, FROZEN, 3, stalled('stands still')),
    Fault('ir picture flat', WELL, FLAT, 3, stalled('shows nothing')),
    Fault('both clocks jump back 10 s', BACK, BACK, 0, PAIRS),
    Fault('both clocks jump forward 10 s', WELL, WELL, 0, PAIRS),
    Fault('ir clock off by an hour', WELL, HOUR, 5, APART),
    Fault('burst of 300 Hz', BURST, BURST, 2, FEW),
    Fault('30 % loss of each camera', LOSS, LOSS, 4, HALF),
    Fault('best effort', BEST_EFFORT, BEST_EFFORT, 4, PAIRS),
    Fault('rgb images truncated', TRUNCATED, WELL, 3, refused('ir_only', 'rgb', 'truncated')),
    Fault('ir images of no encoding', WELL, UNKNOWN, 3, refused('rgb_only', 'ir', 'bad_encoding')),
    Fault('rgb images of half size', SMALL, WELL, 3, refused('pairs', 'rgb', 'size_changed')),
    Fault('exception in the engine', FAULTY, WELL, 3, RAISED),
    Fault('a viewer hangs and dies', WELL, WELL, 4, PAIRS, harms.viewer_hangs),
    Fault('node stopped, as in suspend', WELL, WELL, 3, SUSPENDED, harms.node_stops),
    Fault('disk full: log, saved pair', WELL, WELL, 3, UNSAVED, harms.disk_full, disk=True),
    Fault('disk full: engine cache', WELL, WELL, 1, UNKEPT, harms.cache_full, disk=True),
)
