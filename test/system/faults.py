"""The faults: what the cameras do, for how long, and how the node must react."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from contextlib import nullcontext
from dataclasses import dataclass
from dataclasses import field
from dataclasses import replace
from typing import Any

from camera import CameraSettings
import disturbances
from live import Live

Changes = dict[str, Any]  # of CameraSettings
KILLED = None


@dataclass(frozen=True)
class Expected:
    """How the node must react while a fault lasts."""

    mode: str  # of most results: pairs, held, rgb_only, ir_only; empty: no results
    rate: float = 0.5  # lowest rate of results, as a fraction of the rate before
    warning: str = ''  # regular expression of a ``subject: message`` on /diagnostics
    counter: str = ''  # of the diagnostics that must rise
    max_age_ms: float = 2000.0  # of a result at arrival; an unbounded queue exceeds it


@dataclass(frozen=True)
class Fault:
    """One fault: changes of the cameras (KILLED: killed), and what else happens."""

    name: str
    rgb: Changes | None = field(default_factory=dict)
    ir: Changes | None = field(default_factory=dict)
    seconds: float = 3.0  # 0: a jump, which stays until the next fault
    expected: Expected = Expected('pairs')
    disturbance: Callable[[Live], AbstractContextManager] = nullcontext
    needs_disk: bool = False  # it fills the small disk

    def settings(self, normal: CameraSettings) -> list[CameraSettings | None]:
        """Return the settings of rgb and ir, None for a killed camera."""
        return [c if c is None else replace(normal, **c) for c in (self.rgb, self.ir)]


def missing(name: str, mode: str) -> Expected:
    return Expected(mode, warning=f'{name} stream: no {name} image', counter=f'stalls.{name}')


def stalled(text: str) -> Expected:
    """Return the reaction to an ir camera that sends useless images."""
    return Expected('rgb_only', warning=f'ir stream: the ir image {text}', counter='stalls.ir')


def dropped(mode: str, camera: str, cause: str) -> Expected:
    """Return the reaction to images of a camera that cannot be decoded."""
    warning = rf'{camera} stream: {camera} image dropped \({cause}\): '
    return Expected(mode, warning=warning, counter=f'dropped.{camera}.{cause}')


BURST, LOSS, NOTHING = {'hz': 300.0}, {'loss': 0.3}, {'hz': 0.0}
BACK, HOUR = {'clock_offset_s': -10.0}, {'clock_offset_s': -3600.0}
APART = Expected(
    '', warning=r'sync: .* (3599|3600)\.\d+ s behind .*set the clocks', counter='dropped.time_jump'
)
PAUSED = Expected('', warning='(rgb|ir) stream: no usable')
UNREADABLE = dropped('rgb_only', 'ir', 'bad_encoding')
RAISED = Expected('', warning='inference: pair dropped', counter='exceptions')
OLD = Expected('', max_age_ms=5000.0)
UNSAVED = Expected('pairs', warning='save_pair: .*No space left on device')


def shows(content: str) -> Changes:
    return {'content': content}


FAULTS = (
    Fault('ir camera killed', {}, KILLED, 4, missing('ir', 'rgb_only')),
    Fault('rgb camera killed', KILLED, {}, 4, missing('rgb', 'ir_only')),
    Fault('both cameras pause', NOTHING, NOTHING, 4, PAUSED),
    Fault('ir image frozen', {}, shows('frozen'), 3, stalled('has not changed')),
    Fault('ir image flat', {}, shows('flat'), 3, stalled('has shown no detail')),
    Fault('both clocks jump back 10 s', BACK, BACK, 0),
    Fault('both clocks jump forward 10 s', {}, {}, 0),
    Fault('ir clock off by an hour', {}, HOUR, 5, APART),
    # The senders of a burst take the processor, too.
    Fault('burst of 300 Hz', BURST, BURST, 2, Expected('pairs', rate=0.2)),
    # 0.7 of 0.7 of the pairs remain.
    Fault('30 % loss', LOSS, LOSS, 4, Expected('pairs', rate=0.3, counter='dropped.no_partner')),
    Fault('best effort', {'reliable': False}, {'reliable': False}, 4),
    Fault('rgb truncated', shows('truncated'), {}, 3, dropped('ir_only', 'rgb', 'truncated')),
    Fault('ir encoding unknown', {}, shows('unknown_encoding'), 3, UNREADABLE),
    Fault('rgb half size', shows('half_size'), {}, 3, dropped('pairs', 'rgb', 'size_changed')),
    Fault('engine raises', shows('faulty'), expected=RAISED),
    Fault('viewer hangs and dies', seconds=4, disturbance=disturbances.viewer_hangs),
    Fault('node stopped as in suspend', expected=OLD, disturbance=disturbances.node_stops),
    Fault('disk of log and pairs full', {}, {}, 3, UNSAVED, disturbances.disk_full, True),
)
