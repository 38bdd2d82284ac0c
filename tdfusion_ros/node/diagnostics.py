"""The statuses on /diagnostics: evaluate the counters of each stream, pairing and inference."""

from collections import Counter
from collections import defaultdict
from dataclasses import dataclass
from dataclasses import field

import numpy as np

from tdfusion_ros.core.config import FusionConfig
from tdfusion_ros.core.config import SyncConfig
from tdfusion_ros.core.stamps import advise_waiting
from tdfusion_ros.core.stamps import describe_difference
from tdfusion_ros.core.stamps import is_lossy
from tdfusion_ros.node.counters import Counters
from tdfusion_ros.node.counters import RATE_WINDOW_S

OK, WARN, ERROR, STALE = 0, 1, 2, 3  # diagnostic_msgs/DiagnosticStatus
STREAMS = ('rgb', 'ir')
SYNC_DROPS = {
    *('no_partner', 'too_old', 'queue_full', 'out_of_order', 'time_jump', 'reset'),
    *('rgb_stalled', 'ir_stalled', 'both_stalled', 'too_late'),
}
BACK = ('dropped.out_of_order', 'dropped.time_jump')  # because the stamps go back
MAX_BACK_SHARE = 0.2  # of the images; more is no looping bag
# Lost pairs that the status of a stream explains, or that nobody can help.
ELSEWHERE = {'rgb_stalled', 'ir_stalled', 'both_stalled', 'too_late', 'reset', 'no_partner'}
CLOCK_SAMPLES = 15  # the newest only: older ones may be from before a clock was set
# Results while a camera stalls, see core/synchronizer.py.
MODES = {
    'held': 'rgb images are fused with the last good ir image',
    'rgb_only': 'only rgb images are published and searched for objects',
    'ir_only': 'only ir images are published and searched for objects',
}


@dataclass(frozen=True)
class Status:
    """One DiagnosticStatus; STALE: an earlier step of the path stopped, and has its own status."""

    name: str
    level: int
    message: str
    values: dict[str, str] = field(default_factory=dict)


def not_receiving(level: int, message: str, values: dict[str, str]) -> list[Status]:
    """Return the statuses of an idle node; ``level``: of inference, the others are OK."""
    others = (*(f'{stream} stream' for stream in STREAMS), 'sync')
    return [
        *(Status(name, OK, 'not receiving; see the status of inference') for name in others),
        Status('inference', level, message, values),
    ]


def evaluate(counters: Counters, config: FusionConfig, backend: dict[str, str]) -> list[Status]:
    """Return the statuses of a node that receives."""
    timeout_s = config.input_timeout_s
    values: dict[str, dict[str, str]] = defaultdict(dict)
    for key, value in (counters.values() | steady_skew(counters)).items():
        values[_subject(key)][key] = value
    streams = [_stream(counters, stream, timeout_s, values[stream]) for stream in STREAMS]
    received = all(status.level == OK for status in streams)
    sync = _sync(counters, received, config, values['sync'])
    inference = _inference(counters, sync.level, timeout_s, backend | values['inference'])
    return [*streams, sync, inference]


def _subject(key: str) -> str:
    """Return the status that a value belongs to."""
    name = key.removeprefix('dropped.')
    for stream in STREAMS:
        if name in (stream, f'stalls.{stream}') or name.startswith(
            (f'{stream}.', f'{stream}_rate', f'{stream}_stamp_age')
        ):
            return stream
    is_sync = name in ('paired', 'possible') or 'skew' in name
    is_sync |= name.startswith(('sync.', 'ir_age_ms', 'lost.'))
    return 'sync' if is_sync or (name != key and name in SYNC_DROPS) else 'inference'


def _stream(counters: Counters, stream: str, timeout_s: float, values: dict[str, str]) -> Status:
    name, problems = f'{stream} stream', counters.problems(f'.{stream}')
    lost = counters.recent(f'dropped.{stream}.transport')
    sent = lost + counters.recent(stream)
    if is_lossy(lost, sent):
        problems.append(
            f'DDS lost {lost} of {sent} {stream} images within {RATE_WINDOW_S:g} s: use '
            'config/fastdds_profile.xml for the camera driver too'
        )
    idle_s = counters.idle_s(stream)
    if idle_s == float('inf'):
        problems.append(f'no usable {stream} image yet')
    elif idle_s > timeout_s:
        problems.append(f'no usable {stream} image for {idle_s:.1f} s: check the camera driver')
        return Status(name, ERROR, '; '.join(problems), values)
    if problems:
        return Status(name, WARN, '; '.join(problems), values)
    return Status(name, OK, f'{values[f"{stream}_rate_hz"]} images per second', values)


def _sync(
    counters: Counters, received: bool, config: FusionConfig, values: dict[str, str]
) -> Status:
    timeout_s, limit = config.input_timeout_s, config.sync.limit_name
    if counters.idle_s('paired') <= timeout_s:
        if losses := lost_pairs(counters, config.sync):
            return Status('sync', WARN, losses, values)
        return Status('sync', OK, f'mean skew {values["abs_skew_ms_mean"]} ms', values)
    if not received:
        return Status('sync', STALE, 'waiting for images of both cameras', values)
    if min(counters.running_s(stream, timeout_s) for stream in STREAMS) <= timeout_s:
        return Status('sync', STALE, 'waiting for the first pair', values)
    offset = clock_offset(counters, config.sync)
    return Status(
        'sync',
        WARN,
        f'both streams arrive, but no frames match within {limit}: compare the stamps of '
        f'both cameras, set sync.ir_time_offset_ms or {limit}{offset}',
        values,
    )


def _inference(
    counters: Counters, sync_level: int, timeout_s: float, values: dict[str, str]
) -> Status:
    def status(level: int, message: str) -> Status:
        return Status('inference', level, message, values)

    if problems := counters.problems('.inference'):
        return status(ERROR, '; '.join(problems))
    mode = min(('pairs', 'unsubscribed', *MODES), key=counters.idle_s)
    idle_s = counters.idle_s(mode)
    if idle_s <= timeout_s:
        if mode == 'unsubscribed':
            return status(OK, 'pairs arrive; nothing is computed without a subscriber')
        if mode == 'pairs':
            return status(OK, f'fusing {values["pairs_rate_hz"]} pairs per second')
        return status(WARN, f'{mode}: {MODES[mode]}, {counters.rate_hz(mode):.2f} per second')
    if sync_level != OK:
        return status(STALE, 'waiting for pairs')
    if counters.running_s('paired', timeout_s) <= timeout_s:
        return status(STALE, 'the first pair is being fused')
    message = values.get('engine_said', '')
    last_message = f'; last message of the backend: {message}' if message else ''
    if idle_s == float('inf'):
        return status(WARN, f'the first pair is not fused yet{last_message}')
    return status(ERROR, f'no pair was fused for {idle_s:.1f} s{last_message}')


def lost_pairs(counters: Counters, sync: SyncConfig) -> str:
    """Return which pairs were lost before inference lately, and what to do; empty: few."""
    frames, back = (sum(map(counters.recent, names)) for names in (STREAMS, BACK))
    within = f'within {RATE_WINDOW_S:g} s'
    if back > max(10, MAX_BACK_SHARE * frames):
        return (
            f'{back} of {frames} images {within} are not newer than the one before, or waited '
            'when the stamps jumped back: look for a second publisher, or a clock that jumps'
        )
    lost = Counter({c: n for c, n in counters.recent_of('lost.').items() if c not in ELSEWHERE})
    if not is_lossy(lost.total(), possible := counters.recent('possible')):
        return ''
    named = ', '.join(f'{cause} {number}' for cause, number in lost.most_common() if number)
    main = lost.most_common(1)[0][0]
    remedy = _late_advice(counters, sync) if main in ('too_old', 'queue_full') else ''
    remedy = remedy or f'docs/interface.md says what to do about dropped.{main}'
    return f'{lost.total()} of {possible} possible pairs were lost {within} ({named}): {remedy}'


def _late_advice(counters: Counters, sync: SyncConfig) -> str:
    """Return how to wait for the latest images of a camera that sends some late."""
    ages_ms = [counters.samples(f'{stream}_stamp_age_ms') for stream in STREAMS]
    if not all(map(len, ages_ms)):
        return ''
    (rgb_ms, late_rgb_ms), (ir_ms, late_ir_ms) = (np.percentile(a, (50, 95)) for a in ages_ms)
    lag_ms = max(late_ir_ms - rgb_ms, ir_ms - late_rgb_ms, key=abs)
    return advise_waiting(lag_ms, {s: counters.rate_hz(s) for s in STREAMS}, sync)


def clock_offset(counters: Counters, sync: SyncConfig) -> str:
    """
    Describe the offset between the camera clocks, if it exceeds what transport delays explain.

    Arrival time minus stamp is the lag of a camera's clock plus its delay. In a replayed bag both
    cameras lag equally, so only the difference counts.
    """
    ages_ms = [counters.samples(f'{stream}_stamp_age_ms')[-CLOCK_SAMPLES:] for stream in STREAMS]
    if min(map(len, ages_ms)) < 3:
        return ''
    rgb_ms, ir_ms = (float(np.median(ages)) for ages in ages_ms)
    lag_ms = ir_ms - rgb_ms
    if abs(lag_ms) < 20.0:
        return ''
    waiting = advise_waiting(lag_ms, {s: counters.rate_hz(s) for s in STREAMS}, sync)
    return (
        f'; {describe_difference(-lag_ms)}: set the clocks of both cameras to the same time (NTP, '
        f'PTP), or sync.ir_time_offset_ms to about {lag_ms:+.0f}{waiting and "; " + waiting}'
    )


def steady_skew(counters: Counters) -> dict[str, str]:
    """
    Return a hint at the constant part of the skew, if the stamps show one.

    Stamps do not distinguish a delay from different exposure times; only a user whose cameras are
    triggered together may compensate it.
    """
    skew_ms = counters.samples('skew_ms')
    rates_hz = [counters.rate_hz(stream) for stream in STREAMS]
    if len(skew_ms) < 30 or max(rates_hz) > 1.02 * min(rates_hz):
        return {}
    low, middle, high = np.percentile(skew_ms, (5, 50, 95))
    if high - low > 4.0 or abs(middle) < 1.0:
        return {}
    hint = f'add {-middle:+.1f} if both cameras are triggered together (equal rates, steady skew)'
    return {'sync.ir_time_offset_ms.hint': hint}
