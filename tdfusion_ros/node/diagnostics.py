"""What is said of the counters on /diagnostics: each stream, the pairing, the inference."""

from collections import Counter
from collections import defaultdict

import numpy as np

from tdfusion_ros.node.counters import Counters
from tdfusion_ros.node.counters import ERROR
from tdfusion_ros.node.counters import OK
from tdfusion_ros.node.counters import RATE_WINDOW_S
from tdfusion_ros.node.counters import STALE
from tdfusion_ros.node.counters import Status
from tdfusion_ros.node.counters import WARN

STREAMS = ('rgb', 'ir')
SYNC_DROPS = (
    'no_partner',
    'too_old',
    'queue_full',
    'out_of_order',
    'time_jump',
    'reset',
    'rgb_stalled',
    'ir_stalled',
    'both_stalled',
    'too_late',
)
LOST_SHARE = 0.05  # of the images that were sent: when more are lost, that is worth a complaint
NOW = 15  # images that tell a clock: of the whole window most may be from before it was set
# Modes of results while a camera stalls, see core/matching.py.
MODES = {
    'held': 'the last good ir image with each rgb image',
    'rgb_only': 'the rgb image alone is shown and searched',
    'ir_only': 'the ir image alone is shown and searched',
}


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
    for key, value in (counters.values(drops) | steady_skew(counters)).items():
        values[_subject(key)][key] = value
    streams = [_stream(counters, stream, timeout_s, values[stream]) for stream in STREAMS]
    received = all(status.level == OK for status in streams)
    sync = _sync(counters, received, timeout_s, values['sync'])
    inference = _inference(counters, sync.level, timeout_s, engine | values['inference'])
    return [*streams, sync, inference]


def _subject(key: str) -> str:
    """Return what a value belongs to."""
    name = key.removeprefix('dropped.')
    if name in MODES:
        return 'inference'
    if name in SYNC_DROPS and name != key:
        return 'sync'
    if name == 'paired' or 'skew' in name or name.startswith(('sync.', 'ir_age_ms')):
        return 'sync'
    for stream in STREAMS:
        if name == stream or name.startswith((f'{stream}.', f'{stream}_')):
            return stream
        if name == f'stalls.{stream}':
            return stream
    return 'inference'


def _stream(counters: Counters, stream: str, timeout_s: float, values: dict[str, str]) -> Status:
    name, problems = f'{stream} stream', counters.problems(f'.{stream}')
    lost, came = counters.lately(f'dropped.{stream}.transport'), counters.lately(stream)
    if lost > max(1, LOST_SHARE * (lost + came)):
        problems.append(
            f'{lost} of {lost + came} {stream} images were lost on the way (DDS) within '
            f'{RATE_WINDOW_S:g} s: set config/fastdds_profile.xml for the driver of the camera too'
        )
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
    if min(counters.since_s(stream, timeout_s) for stream in STREAMS) <= timeout_s:
        return Status('sync', STALE, 'waits for the first pair', values)
    return Status(
        'sync',
        WARN,
        'images arrive but no pair: compare the stamps of both cameras, set '
        f'sync.ir_time_offset_ms or sync.max_skew_ms{clock_difference(counters)}',
        values,
    )


def _inference(counters: Counters, sync: int, timeout_s: float, values: dict[str, str]) -> Status:
    problems = counters.problems('.inference')
    if problems:
        return Status('inference', ERROR, '; '.join(problems), values)
    mode = min(('pairs', *MODES), key=counters.silent_s)
    silent = counters.silent_s(mode)
    if silent <= timeout_s:
        if mode == 'pairs':
            sentence = f'fusing {values["pairs_rate_hz"]} pairs a second'
            return Status('inference', OK, sentence, values)
        sentence = f'{mode}: {MODES[mode]}, {counters.rate_hz(mode):.2f} a second'
        return Status('inference', WARN, sentence, values)
    if sync != OK:
        return Status('inference', STALE, 'no pair to fuse', values)
    if counters.since_s('paired', timeout_s) <= timeout_s:
        return Status('inference', STALE, 'the first pair is at the engine', values)
    never = silent == float('inf')
    waited = 'the first pair is not fused yet' if never else f'no pair fused for {silent:.1f} s'
    said = values.get('engine_said', '')
    return Status(
        'inference', WARN if never else ERROR, f'{waited}; the engine said: {said}', values
    )


def clock_difference(counters: Counters) -> str:
    """
    Say how far apart the stamps of the cameras are, where that is more than delays can be.

    Arrival minus stamp is what the clock of a camera lags behind this computer's, plus the delay
    on the way. Both cameras lag alike in a bag that is replayed, so only the difference tells.
    """
    ages_ms = [counters.recent(f'{stream}_stamp_age_ms')[-NOW:] for stream in STREAMS]
    if min(map(len, ages_ms)) < 3:
        return ''
    rgb_ms, ir_ms = (float(np.median(ages)) for ages in ages_ms)
    lag_ms = ir_ms - rgb_ms
    if abs(lag_ms) < 20.0:
        return ''
    where = 'behind' if lag_ms > 0 else 'ahead of'
    lag_s = abs(lag_ms) / 1e3
    apart = f'{lag_s:.2f} s {where}' if lag_s < 10.0 else f'{lag_s:.0f} s {where}'
    said = f'; by their arrival the ir stamps are about {apart} those of rgb'
    if abs(lag_ms) < 10_000.0:  # what sync.ir_time_offset_ms can be
        return f'{said} (sync.ir_time_offset_ms about {lag_ms:+.0f}, more or less)'
    return f'{said}: set the clocks of both cameras alike (NTP, PTP)'


def steady_skew(counters: Counters) -> dict[str, str]:
    """
    Return the constant part of the skew, where the stamps themselves show that there is one.

    Stamps cannot tell a delay from cameras that really expose at different times; only who knows
    that both are triggered together may take the difference out.
    """
    skew_ms = counters.recent('skew_ms')
    rates_hz = [counters.rate_hz(name) for name in ('rgb', 'ir')]
    if len(skew_ms) < 30 or max(rates_hz) > 1.02 * min(rates_hz):
        return {}
    low, middle, high = np.percentile(skew_ms, (5, 50, 95))
    if high - low > 4.0 or abs(middle) < 1.0:
        return {}
    return {
        'sync.ir_time_offset_ms.hint': f'{-middle:+.1f} more, if both cameras are triggered '
        'together (equal rates, steady skew)'
    }
