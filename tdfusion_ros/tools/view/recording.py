"""Read a bag once: times, stamps, detections and diagnostics, but no image data."""

from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from dataclasses import field
from functools import partial
import math
import re
import struct
from typing import Any

from tdfusion_ros.core.errors import BagError
from tdfusion_ros.formats.bags import BagReader
from tdfusion_ros.formats.bags import typestore
from tdfusion_ros.tools.view.rig_topics import RigTopics

OWN_STATUS = '{}/[^/]*: (rgb stream|ir stream|sync|inference)'  # NAMESPACE/NODE: SUBJECT
BAD_LEVELS = (1, 2)  # WARN and ERROR; a STALE status only waits for a cause reported elsewhere


@dataclass
class TopicTimes:
    """
    Messages of one topic in the order of the bag.

    :param times_ns: when they were recorded [ns].
    :param stamps_ns: stamps of their headers [ns]; empty for topics whose stamps are not needed.
    """

    type: str = ''
    times_ns: array = field(default_factory=partial(array, 'q'))
    stamps_ns: array = field(default_factory=partial(array, 'q'))


@dataclass
class DetectionColumns:
    """
    One entry per detection of the bag.

    :param image: index of its message on the detections topic.
    :param class_index: place of its class in ``names``.
    """

    image: array = field(default_factory=partial(array, 'I'))
    class_index: array = field(default_factory=partial(array, 'I'))
    score: array = field(default_factory=partial(array, 'f'))
    names: dict[str, int] = field(default_factory=dict)


@dataclass
class NodeStatus:
    """
    Diagnostics of the node.

    :param drops: by cause, how far the counter rose within the bag, and its last value.
    :param warnings: how often each warning came, numbers in it replaced by an ellipsis.
    :param latencies: of each message that has them: when it was recorded [ns], p50, p95 [ms].
    """

    messages: int = 0
    drops: dict[str, tuple[float, float]] = field(default_factory=dict)
    warnings: Counter[str] = field(default_factory=Counter)
    backend: str = ''
    latencies: list[tuple[int, float, float]] = field(default_factory=list)


@dataclass
class Recording:
    """
    Everything that a report needs from a bag except its images.

    :param labels: class names in the order of their ids, from the LabelInfo message.
    :param damage: why the bag could not be read to its end, empty if it could.
    :param unreadable: number of damaged messages by topic; they are left out.
    """

    rig: RigTopics
    topics: dict[str, TopicTimes]
    detections: DetectionColumns = field(default_factory=DetectionColumns)
    node: NodeStatus = field(default_factory=NodeStatus)
    labels: list[str] = field(default_factory=list)
    damage: str = ''
    unreadable: Counter[str] = field(default_factory=Counter)

    def times(self, role: str) -> TopicTimes:
        """Return the messages of a role's topic, none if the bag lacks it."""
        return self.topics.get(getattr(self.rig, role), TopicTimes())

    @property
    def class_names(self) -> list[str]:
        """Names of all classes in the order of their colors, as in the overlay."""
        return list(dict.fromkeys((*self.labels, *self.detections.names)))


def read_recording(reader: BagReader, rig: RigTopics) -> Recording:
    """Read a bag once, up to its end or to the first damage."""
    types = reader.topics()
    recording = Recording(rig, {topic: TopicTimes(name) for topic, name in types.items()})
    stamped = {rig.rgb, rig.ir, rig.fused, rig.overlay, rig.registered, rig.detections}
    adders = {
        rig.detections: _add_detections,
        rig.diagnostics: _add_status,
        rig.labels: _add_labels,
    }
    for topic, time_ns, data in _until_damage(reader, recording):
        times = recording.topics[topic]
        try:
            stamp_ns = cdr_stamp_ns(data) if topic in stamped else None
            if topic in adders:
                adders[topic](recording, time_ns, _deserialize(data, types[topic]))
        except BagError:
            recording.unreadable[topic] += 1
            continue
        times.times_ns.append(time_ns)
        if stamp_ns is not None:
            times.stamps_ns.append(stamp_ns)
    return recording


def _until_damage(reader: BagReader, recording: Recording) -> Iterator[tuple[str, int, bytes]]:
    try:
        yield from reader.serialized(*recording.topics)
    except BagError as error:
        recording.damage = str(error)


def cdr_stamp_ns(data: bytes) -> int:
    """
    Return the stamp of a serialized message that begins with a header [ns].

    :param data: CDR: four bytes, the lowest bit of the second means little endian, then the
        fields (OMG DDS-XTypes, 7.4.3.4).
    :raises BagError: if it is too short.
    """
    if len(data) < 12:
        raise BagError(f'a message has {len(data)} bytes, its header alone has 12')
    sec, nanosec = struct.unpack_from('<iI' if data[1] & 1 else '>iI', data, 4)
    return sec * 1_000_000_000 + nanosec


def _deserialize(data: bytes, message_type: str) -> Any:
    try:
        return typestore().deserialize_cdr(data, message_type)
    except Exception as error:  # rosbags has no common base class for damaged messages
        raise BagError(f'a {message_type} cannot be read: {error!r}') from error


def best_hypothesis(detection: Any) -> Any:
    """Return the hypothesis with the highest score of a vision_msgs/Detection2D."""
    return max(detection.results, key=lambda result: result.hypothesis.score).hypothesis


def _add_detections(recording: Recording, time_ns: int, message: Any) -> None:
    columns, image = recording.detections, len(recording.times('detections').stamps_ns)
    for hypothesis in (best_hypothesis(one) for one in message.detections if one.results):
        columns.image.append(image)
        names = columns.names
        columns.class_index.append(names.setdefault(hypothesis.class_id, len(names)))
        columns.score.append(hypothesis.score)


def _add_labels(recording: Recording, time_ns: int, message: Any) -> None:
    entries = sorted(message.class_map, key=lambda entry: entry.class_id)
    recording.labels = [entry.class_name for entry in entries]


def _add_status(recording: Recording, time_ns: int, message: Any) -> None:
    pattern = OWN_STATUS.format(re.escape(recording.rig.namespace))
    own = [status for status in message.status if re.fullmatch(pattern, status.name)]
    if not own:
        return
    node, values = recording.node, {pair.key: pair.value for s in own for pair in s.values}
    node.backend = values.get('backend', '')
    if warning := '; '.join(status.message for status in own if status.level in BAD_LEVELS):
        node.warnings[re.sub(r'\d+(\.\d+)?', '…', warning)] += 1
    p50, p95 = _number(values, 'latency_ms_p50'), _number(values, 'latency_ms_p95')
    if math.isfinite(p50) and math.isfinite(p95):
        node.latencies.append((time_ns, p50, p95))
    for key in {*node.drops, *values}:
        if key.startswith(('dropped.', 'exceptions')):
            count = _number(values, key)
            count = count if math.isfinite(count) else 0.0  # a cause appears when it happens
            # What was counted before the bag began is not in the rise.
            rise, last = node.drops.get(key, (0.0, 0.0 if node.messages else count))
            # A counter that falls was reset to zero by a restart.
            node.drops[key] = rise + (count - last if count >= last else count), count
    node.messages += 1


def _number(values: dict[str, str], key: str) -> float:
    """Return a value of the diagnostics, NaN if it is missing or no number."""
    try:
        return float(values[key])
    except (KeyError, ValueError):
        return math.nan
