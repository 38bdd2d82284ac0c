"""What the node would make of the image topics that were seen. No ROS here."""

from collections.abc import Mapping
from collections.abc import Sequence

import numpy as np

from tdfusion_ros.core.config import FusionConfig
from tdfusion_ros.tools.doctor.finding import FAIL
from tdfusion_ros.tools.doctor.finding import Finding
from tdfusion_ros.tools.doctor.finding import OK
from tdfusion_ros.tools.doctor.finding import WARN
from tdfusion_ros.tools.doctor.sighting import Sighting
from tdfusion_ros.tools.doctor.sighting import skews_ms

CLOCKS_MS = 1000.0  # an image that is older than this when it comes has another clock, or waited
ENOUGH = 0.8  # of the ir frames that should find a partner


def judge(
    seen: Sequence[Sighting], wanted: Mapping[str, str], config: FusionConfig
) -> list[Finding]:
    """
    Judge the topics of both streams, and name the others.

    :param wanted: topic of each stream, ``rgb`` and ``ir``.
    """
    by_topic = {sighting.topic: sighting for sighting in seen}
    others = [s for s in seen if s.topic not in wanted.values()]
    findings = [Finding(OK, 'also there', f'{s.topic}: {s}') for s in others]
    used = {}
    for stream, topic in wanted.items():
        if topic in by_topic:
            used[stream] = by_topic[topic]
            findings += _stream(stream, by_topic[topic], config)
        else:
            findings.append(_absent(stream, topic, others))
    if len(used) == 2 and all(s.stamps_ns for s in used.values()):
        findings.append(_skew(used['rgb'], used['ir'], config))
    return findings


def _absent(stream: str, topic: str, others: Sequence[Sighting]) -> Finding:
    sentence = f'nobody publishes {topic}'
    twin = topic.removesuffix('/compressed') if topic.endswith('/compressed') else ''
    names = [s.topic for s in others]
    if f'{topic}/compressed' in names:
        remedy = f'{stream}.image_transport:=compressed'
    elif twin in names:
        remedy = f'{stream}.image_transport:=raw'
    elif names:
        remedy = f'{stream}_topic:=… with one of {", ".join(names)} (here: --{stream}-topic)'
    else:
        remedy = 'start the camera driver; compare ROS_DOMAIN_ID and discovery with its own'
    return Finding(FAIL, stream, sentence, remedy)


def _stream(stream: str, seen: Sighting, config: FusionConfig) -> list[Finding]:
    findings = [Finding(OK, stream, f'{seen.topic}: {seen}')]
    if seen.best_effort and config.input_qos not in ('AUTO', 'SENSOR_DATA'):
        findings.append(
            Finding(
                FAIL,
                f'{stream} QoS',
                f'the publisher offers best effort, input_qos is {config.input_qos}: '
                'nothing would be received',
                'set input_qos to AUTO',
            )
        )
    if not seen.stamps_ns:
        remedy = (
            'is the camera running? if it is, images may be too large for the transport: see Fast '
            'DDS profile'
        )
        findings.append(Finding(FAIL, stream, f'nothing came on {seen.topic}', remedy))
        return findings
    if seen.fault:
        findings.append(
            Finding(FAIL, f'{stream} encoding', seen.fault, 'change it in the camera driver')
        )
    return [*findings, *_stamps(stream, seen), _info(stream, seen)]


def _stamps(stream: str, seen: Sighting) -> list[Finding]:
    subject = f'{stream} stamps'
    stamps = np.array(seen.stamps_ns, np.int64)
    if not stamps.all():
        remedy = 'let the driver stamp its images at exposure: without stamps there are no pairs'
        return [Finding(FAIL, subject, f'{int((stamps == 0).sum())} stamps are zero', remedy)]
    if len(stamps) > 1 and (np.diff(stamps) <= 0).any():
        remedy = 'a looping bag is fine; else two publishers share the topic, or the clock jumps'
        return [Finding(WARN, subject, 'stamps do not always grow', remedy)]
    late_ms = float(np.median(np.array(seen.clock_ns, np.int64) - stamps)) / 1e6
    if not -CLOCKS_MS / 10 < late_ms < CLOCKS_MS:
        where = 'behind' if late_ms > 0 else 'ahead of'
        return [
            Finding(
                WARN,
                subject,
                f'{abs(late_ms) / 1e3:.3f} s {where} the clock of this machine',
                'a bag: use_sim_time; a camera with a clock of its own: synchronize it (PTP, NTP)',
            )
        ]
    return [Finding(OK, subject, f'{late_ms:.1f} ms old when they come')]


def _info(stream: str, seen: Sighting) -> Finding:
    subject = f'{stream} camera_info'
    if seen.info is None:
        return Finding(
            WARN,
            subject,
            'none came',
            'not needed for fusing; without it there is no fused/camera_info'
            if stream == 'rgb'
            else 'not needed for fusing',
        )
    size_hw, focal = seen.info
    if seen.size_hw and size_hw != seen.size_hw:
        return Finding(
            WARN,
            subject,
            f'is for {size_hw[1]}x{size_hw[0]}, the image is {seen.size_hw[1]}x{seen.size_hw[0]}',
            'calibrate at the size that is used, or switch off scaling in the driver',
        )
    if focal == 0.0:
        remedy = 'calibrate the camera (camera_calibration), if you want to measure in the image'
        return Finding(WARN, subject, 'uncalibrated (K is zero)', remedy)
    return Finding(OK, subject, f'calibrated, focal length {focal:.1f} px')


def _skew(rgb: Sighting, ir: Sighting, config: FusionConfig) -> Finding:
    offset_ms = config.sync.ir_time_offset_ms - config.sync.rgb_time_offset_ms
    skews = skews_ms(rgb, ir) + offset_ms
    if not len(skews):
        return Finding(WARN, 'skew', 'too few images to tell', 'listen longer: --seconds')
    limit_ms = config.sync.max_skew_ms
    share = float((np.abs(skews) <= limit_ms).mean())
    sentence = (
        f'{share:.0%} of the ir images have an rgb image within {limit_ms:g} ms, their skew is '
        f'{np.median(skews):.1f} ms (median), {np.abs(skews).max():.1f} ms (largest)'
    )
    if share >= ENOUGH:
        return Finding(OK, 'skew', sentence)
    remedy = (
        'the cameras are not synchronized, or one has another clock: set sync.ir_time_offset_ms '
        f'(now {config.sync.ir_time_offset_ms:g}; {offset_ms - np.median(skews):.1f} would make '
        'the median zero), then sync.max_skew_ms, below half a period'
    )
    return Finding(WARN if share else FAIL, 'skew', sentence, remedy)
