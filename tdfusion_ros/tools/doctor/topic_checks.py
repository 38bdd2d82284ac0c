"""Check the received image topics as the node would use them, without ROS."""

from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence

import numpy as np

from tdfusion_ros.core.config import FusionConfig
from tdfusion_ros.tools.doctor.finding import Finding
from tdfusion_ros.tools.doctor.received_topics import ReceivedTopic

MAX_AGE_MS = 1000.0  # an image that arrives older than this has another clock, or waited
MAX_AHEAD_MS = 100.0
MIN_SHARE = 0.8  # of the ir frames that find a partner


def check(
    topics: Sequence[ReceivedTopic], wanted: Mapping[str, str], config: FusionConfig
) -> Iterator[Finding]:
    """
    Check the topics of both streams, and list the others.

    :param wanted: topic of each stream, ``rgb`` and ``ir``.
    """
    by_name = {topic.name: topic for topic in topics}
    others = [topic for topic in topics if topic.name not in wanted.values()]
    for topic in others:
        yield Finding.ok('other topic', f'{topic.name}: {topic}')
    for stream, name in wanted.items():
        if name in by_name:
            yield from _check_stream(stream, by_name[name], config)
        else:
            yield _missing(stream, name, [topic.name for topic in others])
    rgb, ir = by_name.get(wanted['rgb']), by_name.get(wanted['ir'])
    if rgb and ir and rgb.stamps_ns and ir.stamps_ns:
        yield _check_skew(rgb, ir, config)


def _missing(stream: str, name: str, others: Sequence[str]) -> Finding:
    if f'{name}/compressed' in others:
        remedy = f'set {stream}.image_transport:=compressed'
    elif name.endswith('/compressed') and name.removesuffix('/compressed') in others:
        remedy = f'set {stream}.image_transport:=raw'
    elif others:
        remedy = f'set {stream}_topic:=… to one of {", ".join(others)} (here: --{stream}-topic)'
    else:
        remedy = 'start the camera driver, with the same ROS_DOMAIN_ID and discovery as here'
    return Finding.fail(stream, f'no node publishes {name}', remedy)


def _check_stream(stream: str, topic: ReceivedTopic, config: FusionConfig) -> Iterator[Finding]:
    yield Finding.ok(stream, f'{topic.name}: {topic}')
    if topic.best_effort and config.input_qos not in ('AUTO', 'SENSOR_DATA'):
        found = (
            f'the publisher offers best effort, but input_qos is {config.input_qos}, which '
            'receives nothing'
        )
        yield Finding.fail(f'{stream} QoS', found, 'set input_qos to AUTO')
    if not topic.stamps_ns:
        remedy = (
            'check that the camera is running; if it is, its images may be too large for the '
            'transport: see Fast DDS profile'
        )
        yield Finding.fail(stream, f'no messages on {topic.name}', remedy)
        return
    if topic.fault:
        yield Finding.fail(f'{stream} encoding', topic.fault, 'change it in the camera driver')
    yield _check_stamps(f'{stream} stamps', topic)
    yield _check_info(stream, topic)


def _check_stamps(subject: str, topic: ReceivedTopic) -> Finding:
    stamps = np.array(topic.stamps_ns, np.int64)
    if not stamps.all():
        remedy = 'make the driver stamp images at exposure; frames without stamps do not match'
        return Finding.fail(subject, f'{int((stamps == 0).sum())} stamps are zero', remedy)
    if (np.diff(stamps) <= 0).any():
        remedy = 'ignore this for a looping bag; else look for a second publisher or clock jumps'
        return Finding.warn(subject, 'stamps do not always increase', remedy)
    age_ms = float(np.median(np.array(topic.arrivals_ns, np.int64) - stamps)) / 1e6
    if -MAX_AHEAD_MS < age_ms < MAX_AGE_MS:
        return Finding.ok(subject, f'{age_ms:.1f} ms old on arrival')
    return Finding.warn(
        subject,
        f'{abs(age_ms) / 1e3:.3f} s {"behind" if age_ms > 0 else "ahead of"} the clock of this '
        'machine',
        'for a bag set use_sim_time; synchronize the clock of a camera (PTP, NTP)',
    )


def _check_info(stream: str, topic: ReceivedTopic) -> Finding:
    subject = f'{stream} camera_info'
    if topic.info is None:
        remedy = 'not needed for fusion'
        if stream == 'rgb':
            remedy += '; without it the node does not publish fused/camera_info'
        return Finding.warn(subject, 'none received', remedy)
    size_hw, focal_px = topic.info
    if topic.size_hw and size_hw != topic.size_hw:
        return Finding.warn(
            subject,
            f'is for {size_hw[1]}x{size_hw[0]}, but the image is '
            f'{topic.size_hw[1]}x{topic.size_hw[0]}',
            'calibrate at the size that is used, or turn off scaling in the driver',
        )
    if focal_px == 0.0:
        remedy = 'to measure in the image, calibrate the camera (camera_calibration)'
        return Finding.warn(subject, 'uncalibrated (K is zero)', remedy)
    return Finding.ok(subject, f'calibrated, focal length {focal_px:.1f} px')


def _check_skew(rgb: ReceivedTopic, ir: ReceivedTopic, config: FusionConfig) -> Finding:
    sync = config.sync
    offset_ms = sync.ir_time_offset_ms - sync.rgb_time_offset_ms
    skews = skews_ms(rgb.stamps_ns, ir.stamps_ns) + offset_ms
    if not len(skews):
        return Finding.warn('skew', 'too few images to measure', 'listen longer: --seconds')
    share = float((np.abs(skews) <= sync.max_skew_ms).mean())
    found = (
        f'{share:.0%} of the ir images have an rgb image within {sync.max_skew_ms:g} ms; the skew '
        f'is {np.median(skews):.1f} ms (median), {np.abs(skews).max():.1f} ms (largest)'
    )
    if share >= MIN_SHARE:
        return Finding.ok('skew', found)
    remedy = (
        'synchronize the cameras, or set sync.ir_time_offset_ms (now '
        f'{sync.ir_time_offset_ms:g}; {offset_ms - np.median(skews):.1f} makes the median zero), '
        'then sync.max_skew_ms (below half a frame period)'
    )
    return (Finding.warn if share else Finding.fail)('skew', found, remedy)


def skews_ms(rgb_stamps_ns: Sequence[int], ir_stamps_ns: Sequence[int]) -> np.ndarray:
    """
    Return the stamp of each ir frame minus that of its nearest rgb frame [ms].

    ir frames before the first and after the last rgb frame are left out: their partner may have
    been missed.
    """
    rgb, ir = (np.sort(np.array(s, np.int64)) for s in (rgb_stamps_ns, ir_stamps_ns))
    if len(rgb) < 2 or len(ir) < 2:
        return np.zeros(0)
    overlapping = ir[(ir >= rgb[0]) & (ir <= rgb[-1])]
    chosen = overlapping if len(overlapping) else ir
    nearest = rgb[np.abs(chosen[:, None] - rgb).argmin(axis=1)]
    return (chosen - nearest) / 1e6
