"""Check the received image topics as the node would use them, without ROS."""

from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import replace
import math

import numpy as np

from tdfusion_ros.core.calibration import cropped_size
from tdfusion_ros.core.calibration import Size
from tdfusion_ros.core.camera_monitor import probe
from tdfusion_ros.core.config import FusionConfig
from tdfusion_ros.core.config import TRANSPORTS
from tdfusion_ros.core.errors import FrameError
from tdfusion_ros.core.flatness import is_flat
from tdfusion_ros.core.rgb_image import rgb_image
from tdfusion_ros.core.stamps import advise_waiting
from tdfusion_ros.core.stamps import CameraTimes
from tdfusion_ros.core.stamps import clock_difference_ms
from tdfusion_ros.core.stamps import describe_difference
from tdfusion_ros.core.stamps import images_at_once
from tdfusion_ros.core.stamps import lag_ms
from tdfusion_ros.core.stamps import MAX_DELAY_MS
from tdfusion_ros.core.stamps import skews_ms
from tdfusion_ros.core.stamps import STAMP_IT
from tdfusion_ros.core.thermal import sides_to_cut
from tdfusion_ros.core.thermal import ThermalScaler
from tdfusion_ros.formats.bag_topics import image_type
from tdfusion_ros.formats.bag_topics import mixed
from tdfusion_ros.formats.bag_topics import raw_topic
from tdfusion_ros.formats.bag_topics import transport_topic
from tdfusion_ros.formats.bag_topics import wrong_type
from tdfusion_ros.formats.camera_info import describes
from tdfusion_ros.formats.camera_info import region_of
from tdfusion_ros.tools.doctor.finding import Finding
from tdfusion_ros.tools.doctor.finding import OK
from tdfusion_ros.tools.doctor.received_topics import ReceivedTopic

MAX_AHEAD_MS = 100.0
MIN_SHARE = 0.8  # of the frames of the slower camera that find a partner
MAX_VIEW_RATIO = 1.05  # of the widths: at 640 px, 16 px at the border
CHANGE_IT = 'change it in the camera driver, or set the parameters of docs/thermal.md'
USUAL_REMARKS = ('ir.crop', 'ir.no_data')
MAX_AT_ONCE = 1.7  # images, on average
ONE_KIND = 'look for a second publisher, or keep the driver in one mode'
SEND_EACH = 'let the driver send each image as soon as it has it, with fewer buffers'
STEADY_FIRST = 'mend the stamps that do not always increase first'
USE_PROFILE = 'its images may be too large for the transport: see Fast DDS profile'


def check(
    topics: Sequence[ReceivedTopic], wanted: Mapping[str, str], config: FusionConfig
) -> Iterator[Finding]:
    """Check the topics of both streams, named by ``wanted``, and list the others."""
    others = [topic for topic in topics if topic.name not in wanted.values()]
    for other in others:
        yield Finding.ok('other topic', f'{other.name}: {other}')
    usable = {}
    for stream, name in wanted.items():
        transport = getattr(config, stream).image_transport
        sent = {topic.type_name: topic for topic in topics if topic.name == name}
        if wrong := wrong_type(stream, name, sent, transport):
            yield Finding.fail(stream, *wrong)
        elif topic := sent.get(image_type(transport)):
            yield from _check_stream(stream, topic, config)
            usable[stream] = topic
        else:
            yield _missing(stream, name, {other.name: other.type_name for other in others})
    if len(usable) == 2:
        yield from _check_views(usable, config)
        if all(any(topic.stamps_ns) for topic in usable.values()):
            skew = _check_skew(usable['rgb'], usable['ir'], config)
            jumps = any((np.diff(topic.stamps_ns) < 0).any() for topic in usable.values())
            yield replace(skew, remedy=STEADY_FIRST) if jumps and skew.level != OK else skew


def _missing(stream: str, name: str, others: Mapping[str, str]) -> Finding:
    raw = raw_topic(name)
    sent = [
        (base, transport)
        for base in (raw, raw_topic(raw))
        for transport in TRANSPORTS
        if others.get(transport_topic(base, transport)) == image_type(transport)
    ]
    if sent:
        base, transport = sent[0]
        remedy = f'set {stream}_topic:={base} and {stream}.image_transport:={transport}'
    elif others:
        remedy = f'set {stream}_topic:=… to one of {", ".join(others)} (here: --{stream}-topic)'
    else:
        remedy = 'start the camera driver, with the same ROS_DOMAIN_ID and discovery as here'
    return Finding.fail(stream, f'no node publishes {name}', remedy)


def _check_stream(stream: str, topic: ReceivedTopic, config: FusionConfig) -> Iterator[Finding]:
    yield Finding.ok(stream, f'{topic.name}: {topic}')
    if topic.endpoints > 1:
        problem = mixed(topic.name, topic.endpoints, topic.publishers)
        yield Finding.warn(f'{stream} publishers', *problem)
    if topic.best_effort and config.input_qos not in ('AUTO', 'SENSOR_DATA'):
        found = (
            f'the publisher offers best effort, but input_qos is {config.input_qos}, which '
            'receives nothing'
        )
        yield Finding.fail(f'{stream} QoS', found, 'set input_qos to AUTO')
    if not topic.stamps_ns:
        remedy = f'if the camera runs, {USE_PROFILE}'
        yield Finding.fail(stream, f'no messages on {topic.name}', remedy)
        return
    if topic.loses:
        found = f'DDS lost {topic.lost} of {topic.lost + len(topic.stamps_ns)} images'
        yield Finding.warn(f'{stream} transport', found, USE_PROFILE)
    if len(topic.kinds) > 1:
        found = f'they are of several kinds: {", ".join(sorted(topic.kinds))}'
        yield Finding.warn(f'{stream} images', found, ONE_KIND)
    if topic.fault:
        yield Finding.fail(f'{stream} encoding', topic.fault, CHANGE_IT)
    if topic.pixels is not None:
        yield from _check_pixels(stream, topic.pixels, config)
    yield _check_stamps(f'{stream} stamps', topic)
    if (number := images_at_once(CameraTimes(topic.stamps_ns, topic.arrivals_ns))) > MAX_AT_ONCE:
        found = f'about {number:.0f} arrive at once, so all but the last one are late'
        yield Finding.warn(f'{stream} arrival', found, SEND_EACH)
    yield _check_info(stream, topic, _left_hw(stream, topic, config))


def _check_pixels(stream: str, pixels: np.ndarray, config: FusionConfig) -> Iterator[Finding]:
    """Check the last image as the node uses it."""
    scaler, subject = ThermalScaler(config.ir), f'{stream} image'
    try:
        if stream == 'rgb':
            rgb_image(pixels)
            return
        scaler.scale(pixels)
    except FrameError as error:
        yield Finding.fail(subject, f'the node drops it: {error}', CHANGE_IT)
        return
    for name, remark in scaler.remarks.items():
        found, is_usual = f'{name}: {remark}', name in USUAL_REMARKS
        yield Finding.ok(subject, found) if is_usual else Finding.warn(subject, found, CHANGE_IT)
    if is_flat(probe(pixels)):
        remedy = 'if this is no closed shutter, take off the lens cap'
        yield Finding.warn(
            subject, 'the last one shows no detail: the node uses rgb alone', remedy
        )


def _check_stamps(subject: str, topic: ReceivedTopic) -> Finding:
    stamps = np.array(topic.stamps_ns, np.int64)
    if not stamps.all():
        remedy = f'{STAMP_IT}; frames without stamps are dropped'
        return Finding.fail(subject, f'{int((stamps == 0).sum())} stamps are zero', remedy)
    if (np.diff(stamps) <= 0).any():
        remedy = 'ignore this for a looping bag; else look for a second publisher or clock jumps'
        return Finding.warn(subject, 'stamps do not always increase', remedy)
    age_ms = float(np.median(np.array(topic.arrivals_ns, np.int64) - stamps)) / 1e6
    if -MAX_AHEAD_MS < age_ms < MAX_DELAY_MS:
        return Finding.ok(subject, f'{age_ms:.1f} ms old on arrival')
    where = 'behind' if age_ms > 0 else 'ahead of'
    found = f'{abs(age_ms) / 1e3:.3f} s {where} the clock of this machine'
    remedy = 'for a bag set use_sim_time; synchronize the clock of a camera (PTP, NTP)'
    return Finding.warn(subject, found, remedy)


def _left_hw(stream: str, topic: ReceivedTopic, config: FusionConfig) -> Size:
    """Return the size of what ``ir.crop`` leaves of the last image; (0, 0) without one."""
    size_hw = topic.size_hw or (0, 0)
    cut = sides_to_cut(config.ir.crop, size_hw) if stream == 'ir' else (0, 0, 0, 0)
    return cropped_size(size_hw, cut)


def _check_info(stream: str, topic: ReceivedTopic, left_hw: Size) -> Finding:
    subject = f'{stream} camera_info'
    if topic.info is None:
        remedy = 'not needed for fusion'
        if stream == 'rgb':
            remedy += '; without it the node does not publish fused/camera_info'
        return Finding.warn(subject, 'none received', remedy)
    if topic.size_hw and not any(describes(topic.info, hw) for hw in (topic.size_hw, left_hw)):
        height, width = region_of(topic.info).sent_size_hw
        return Finding.warn(
            subject,
            f'is for {width}x{height}, but the image is {topic.size_hw[1]}x{topic.size_hw[0]}',
            'calibrate at the size that is used, or turn off scaling in the driver',
        )
    focal_px = topic.info.k[0]
    if focal_px == 0.0:
        remedy = 'to measure in the image, calibrate the camera (camera_calibration)'
        return Finding.warn(subject, 'uncalibrated (K is zero)', remedy)
    return Finding.ok(subject, f'calibrated, focal length {focal_px:.1f} px')


def _check_skew(rgb: ReceivedTopic, ir: ReceivedTopic, config: FusionConfig) -> Finding:
    sync = config.sync
    offset_ms = sync.ir_time_offset_ms - sync.rgb_time_offset_ms
    times = [CameraTimes(topic.stamps_ns, topic.arrivals_ns) for topic in (rgb, ir)]
    ahead_ms = clock_difference_ms(*times)
    if ahead_ms is None:
        return Finding.warn('skew', 'too few images to measure', 'listen longer: --seconds')
    wanted_ms = sync.ir_time_offset_ms - ahead_ms - offset_ms
    waiting = advise_waiting(lag_ms(*times), {'rgb': rgb.rate_hz, 'ir': ir.rate_hz}, sync)
    if abs(ahead_ms) > MAX_DELAY_MS:
        found = describe_difference(ahead_ms)
        if abs(ahead_ms + offset_ms) <= sync.max_skew_ms:
            return Finding.ok('skew', f'{found}, and the time offsets compensate it')
        offset = f'{wanted_ms:.1f} (now {sync.ir_time_offset_ms:g})'
        remedy = 'set the clocks of both cameras to the same time (PTP, NTP)'
        remedy += f', or set sync.ir_time_offset_ms to {offset}{waiting and "; " + waiting}'
        return Finding.fail('skew', found, remedy)
    if ir.rate_hz <= rgb.rate_hz:
        slow, skews = 'ir', skews_ms(rgb.stamps_ns, ir.stamps_ns) + offset_ms
    else:
        slow, skews = 'rgb', offset_ms - skews_ms(ir.stamps_ns, rgb.stamps_ns)
    median_ms, largest_ms = np.median(skews), np.abs(skews).max()
    share, with_offset = (
        float((np.abs(values) <= sync.max_skew_ms).mean()) for values in (skews, skews - median_ms)
    )
    found = (
        f'{share:.0%} of the {slow} images have a partner within {sync.max_skew_ms:g} ms; the '
        f'skew is {median_ms:.1f} ms (median), {largest_ms:.1f} ms (largest)'
    )
    if share >= MIN_SHARE and waiting:
        found += f', but one camera arrives {abs(lag_ms(*times)) / 1e3:.2f} s later'
        return Finding.warn('skew', found, waiting)
    if share >= MIN_SHARE:
        return Finding.ok('skew', found)
    if rgb.loses or ir.loses:
        return Finding.warn('skew', f'{found}, but images are lost', 'mend the transport first')
    if with_offset >= MIN_SHARE:
        remedy = (
            'synchronize the cameras, or set sync.ir_time_offset_ms (now '
            f'{sync.ir_time_offset_ms:g}; {wanted_ms:.1f} makes the median zero), '
            'then sync.max_skew_ms (below half a frame period)'
        )
    else:
        half_ms = min(np.median(np.diff(one.stamps_ns)) for one in times) / 2e6
        remedy = (
            'trigger both cameras together, or set sync.max_skew_ms to half a frame period, '
            f'{half_ms:.0f}; no time offset helps, because the skew varies'
        )
    return (Finding.warn if share else Finding.fail)('skew', found, remedy)


def _check_views(cameras: Mapping[str, ReceivedTopic], config: FusionConfig) -> Iterator[Finding]:
    """Compare the fields of view: without a calibration they must be the same."""
    views = {s: _view(topic, _left_hw(s, topic, config)) for s, topic in cameras.items()}
    rgb, ir = views['rgb'], views['ir']
    if config.calibration or rgb is None or ir is None:
        return
    if max(max(a / b, b / a) for a, b in zip(rgb, ir, strict=True)) < MAX_VIEW_RATIO:
        return
    degrees = {
        stream: ' x '.join(f'{2 * math.degrees(math.atan(x)):.0f}' for x in view or ())
        for stream, view in views.items()
    }
    yield Finding.warn(
        'field of view',
        f'rgb sees {degrees["rgb"]} degrees, ir {degrees["ir"]}; without a calibration, ir is '
        'stretched over the whole rgb image',
        'run tdfusion calibrate and set calibration to its result',
    )


def _view(topic: ReceivedTopic, left_hw: Size) -> tuple[float, float] | None:
    """Return the tangents of half the horizontal and vertical angle; None if not calibrated."""
    info, sizes = topic.info, (left_hw, topic.size_hw)
    if info is None or not topic.size_hw or not info.k[0]:
        return None
    described_hw = next((hw for hw in sizes if hw and describes(info, hw)), None)
    if described_hw is None:
        return None
    height, width = (
        side * left / described
        for side, left, described in zip(
            region_of(info).size_hw, left_hw, described_hw, strict=True
        )
    )
    return width / 2 / info.k[0], height / 2 / info.k[4]
