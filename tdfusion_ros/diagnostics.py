"""What the node counts and measures, and how it says so on /diagnostics."""

from collections import Counter
from collections import defaultdict
from collections import deque
from dataclasses import dataclass
from dataclasses import field
from threading import Lock
from time import monotonic

import numpy as np

WINDOW = 300  # samples a percentile looks back
RATE_WINDOW_S = 5.0
OK, WARN, ERROR, STALE = 0, 1, 2, 3  # diagnostic_msgs/DiagnosticStatus
STREAMS = ('rgb', 'ir')
SYNC_DROPS = ('no_partner', 'too_old', 'queue_full', 'out_of_order', 'time_jump', 'reset')


@dataclass(frozen=True)
class Status:
    """
    One diagnostic_msgs/DiagnosticStatus: its subject, level, a sentence, named values as text.

    STALE says that the values are old because something before it in the path is silent, which
    has a status of its own.
    """

    name: str
    level: int
    message: str
    values: dict[str, str] = field(default_factory=dict)


class Counters:
    """
    Rates, drops by cause and latencies; both threads of the node write here.

    :param clock: returns seconds that never go back.
    """

    def __init__(self, clock=monotonic) -> None:
        self._lock = Lock()
        self._clock = clock
        self._totals: Counter[str] = Counter()
        self._times: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=2000))
        self._samples: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=WINDOW))
        self._notes: dict[str, str] = {}

    def count(self, name: str, times: int = 1) -> None:
        """Add to a total."""
        with self._lock:
            self._totals[name] += times

    def tick(self, name: str) -> None:
        """Add one to a total and to its rate."""
        with self._lock:
            self._totals[name] += 1
            self._times[name].append(self._clock())

    def sample(self, name: str, value: float) -> None:
        """Add a measured value to a percentile window."""
        with self._lock:
            self._samples[name].append(value)

    def note(self, name: str, text: str) -> None:
        """Keep a sentence to be shown until it is replaced; empty text removes it."""
        with self._lock:
            self._notes[name] = text
            if not text:
                del self._notes[name]

    def begin(self) -> None:
        """Forget when things happened last: what was before a pause is no silence."""
        with self._lock:
            self._times.clear()

    def total(self, name: str) -> int:
        """Return a total."""
        with self._lock:
            return self._totals[name]

    def silent_s(self, name: str) -> float:
        """Return the time since the last tick, infinite before the first [s]."""
        with self._lock:
            times = self._times[name]
            return self._clock() - times[-1] if times else float('inf')

    def rate_hz(self, name: str) -> float:
        """Return ticks per second over the last five seconds [Hz]."""
        with self._lock:
            now = self._clock()
            recent = [t for t in self._times[name] if now - t <= RATE_WINDOW_S]
        if len(recent) < 2:
            return 0.0
        intervals, span = len(recent) - 1, recent[-1] - recent[0]
        silence = now - recent[-1] - span / intervals  # only what is overdue lowers the rate
        return intervals / max(span + max(silence, 0.0), 1e-9)

    def values(self, drops: Counter[str]) -> dict[str, str]:
        """Return everything as named text, for a diagnostics message or a table."""
        out = {f'{name}_rate_hz': f'{self.rate_hz(name):.2f}' for name in ('rgb', 'ir', 'pairs')}
        with self._lock:
            totals = Counter(self._totals)
            for cause, number in drops.items():
                totals[f'dropped.{cause}'] += number
            out |= {name: str(number) for name, number in sorted(totals.items())}
            for name, window in sorted(self._samples.items()):
                p50, p95 = np.percentile(window, (50, 95))
                out |= {
                    f'{name}_p50': f'{p50:.3f}',
                    f'{name}_p95': f'{p95:.3f}',
                    f'{name}_mean': f'{np.mean(window):.3f}',
                }
        return out

    def problems(self, end: str = '') -> list[str]:
        """Return the sentences that were noted under names with this end, as ``.rgb``."""
        with self._lock:
            return [text for name, text in sorted(self._notes.items()) if name.endswith(end)]


def idle(level: int, sentence: str, values: dict[str, str]) -> list[Status]:
    """
    Return the statuses of a node that does not receive: not configured, inactive, or paused.

    :param level: of what hinders it, for the inference; the cameras are not looked at.
    """
    others = (*(f'{stream} stream' for stream in STREAMS), 'sync')
    return [
        *(Status(name, OK, 'not received: see inference') for name in others),
        Status('inference', level, sentence, values),
    ]


def judge(
    counters: Counters, drops: Counter[str], timeout_s: float, engine: dict[str, str]
) -> list[Status]:
    """
    Say how the node is doing: each stream, the pairing, the inference.

    :param drops: what pairing dropped, by cause.
    :param timeout_s: silence of a stream that is worth a complaint [s].
    :param engine: what runs the model, for the values.
    """
    values: dict[str, dict[str, str]] = defaultdict(dict)
    for key, value in counters.values(drops).items():
        values[_subject(key)][key] = value
    streams = [_stream(counters, stream, timeout_s, values[stream]) for stream in STREAMS]
    received = all(status.level == OK for status in streams)
    sync = _sync(counters, received, timeout_s, values['sync'])
    inference = _inference(counters, sync.level, timeout_s, engine | values['inference'])
    return [*streams, sync, inference]


def _subject(key: str) -> str:
    """Return what a value belongs to."""
    name = key.removeprefix('dropped.')
    for stream in STREAMS:
        if name == stream or name.startswith((f'{stream}.', f'{stream}_')):
            return stream
    if name == 'paired' or 'skew' in name or (name in SYNC_DROPS and name != key):
        return 'sync'
    return 'inference'


def _stream(counters: Counters, stream: str, timeout_s: float, values: dict[str, str]) -> Status:
    name, problems = f'{stream} stream', counters.problems(f'.{stream}')
    silent = counters.silent_s(stream)
    if silent == float('inf'):
        problems.append(f'no usable {stream} image yet')
    elif silent > timeout_s:
        problems.append(f'no usable {stream} image for {silent:.1f} s: look at its driver')
        return Status(name, ERROR, '; '.join(problems), values)
    if problems:
        return Status(name, WARN, '; '.join(problems), values)
    return Status(name, OK, f'{values[f"{stream}_rate_hz"]} images a second', values)


def _sync(counters: Counters, received: bool, timeout_s: float, values: dict[str, str]) -> Status:
    if counters.silent_s('paired') <= timeout_s:
        return Status('sync', OK, f'skew {values["abs_skew_ms_mean"]} ms on the average', values)
    if not received:
        return Status('sync', STALE, 'waits for images of both cameras', values)
    return Status(
        'sync',
        WARN,
        'images arrive but no pair: compare the stamps of both cameras, set '
        'sync.ir_time_offset_ms or sync.max_skew_ms',
        values,
    )


def _inference(counters: Counters, sync: int, timeout_s: float, values: dict[str, str]) -> Status:
    problems = counters.problems('.inference')
    if problems:
        return Status('inference', ERROR, '; '.join(problems), values)
    silent = counters.silent_s('pairs')
    if silent <= timeout_s:
        sentence = f'fusing {values["pairs_rate_hz"]} pairs a second'
        return Status('inference', OK, sentence, values)
    if sync != OK:
        return Status('inference', STALE, 'no pair to fuse', values)
    never = silent == float('inf')
    waited = 'the first pair is not fused yet' if never else f'no pair fused for {silent:.1f} s'
    said = values.get('engine_said', '')
    return Status(
        'inference', WARN if never else ERROR, f'{waited}; the engine said: {said}', values
    )
