"""Read a bag once: times, stamps, detections and diagnostics, but no image data."""

from array import array
from collections import Counter
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from dataclasses import field
from dataclasses import replace
from functools import partial
import math
import re
import struct
from typing import Any

from tdfusion_ros.core.errors import BagError
from tdfusion_ros.formats.bag_topics import find_cameras
from tdfusion_ros.formats.bag_topics import image_topics
from tdfusion_ros.formats.bags import BagReader
from tdfusion_ros.formats.messages import cdr_stamp_ns
from tdfusion_ros.formats.messages import MEASUREMENTS
from tdfusion_ros.formats.messages import results_by_name
from tdfusion_ros.formats.messages import STALL_STATUS
from tdfusion_ros.formats.messages import stamp_ns
from tdfusion_ros.tools.view.result_folder import ResultFolder
from tdfusion_ros.tools.view.rig_topics import find_rig
from tdfusion_ros.tools.view.rig_topics import Rig

OWN_STATUS = '{}/[^/]*: (rgb stream|ir stream|sync|inference)'  # NAMESPACE/NODE: SUBJECT
BAD_LEVELS = (1, 2)  # WARN and ERROR; a STALE status only waits for a cause reported elsewhere
LABELS = 'labels', 'mask_labels'
STAMPED = (
    *('rgb', 'ir', 'fused', 'overlay', 'registered', 'segmentation'),
    *('detections', 'temperatures'),
)


@dataclass
class TopicTimes:
    """Messages of one topic in order: when recorded [ns], and their stamps where needed [ns]."""

    type_name: str = ''
    times_ns: array = field(default_factory=partial(array, 'q'))
    stamps_ns: array = field(default_factory=partial(array, 'q'))


@dataclass
class DetectionColumns:
    """
    One entry per detection: index of its message, place of its class in ``names``, score.

    ``ids``: by class, the different ids of its detections.
    """

    image: array = field(default_factory=partial(array, 'I'))
    class_index: array = field(default_factory=partial(array, 'I'))
    score: array = field(default_factory=partial(array, 'f'))
    names: dict[str, int] = field(default_factory=dict)
    ids: dict[str, set[str]] = field(default_factory=partial(defaultdict, set))

    def add(self, image: int, detections: Iterable[Any]) -> None:
        """Add the vision_msgs/Detection2D of one image."""
        for hypothesis, name in ((best_hypothesis(d), d.id) for d in detections if d.results):
            self.ids[hypothesis.class_id] |= {name} - {''}
            self.image.append(image)
            self.class_index.append(self.names.setdefault(hypothesis.class_id, len(self.names)))
            self.score.append(hypothesis.score)


@dataclass
class NodeStatus:
    """
    Diagnostics of the node.

    :param counts: by name, how far a counter of drops rose within the bag, and its last value.
    :param warnings: how often each warning came, numbers in it replaced by an ellipsis.
    :param latencies: of each message that has them: when it was recorded [ns], p50, p95 [ms].
    """

    messages: int = 0
    counts: dict[str, tuple[float, float]] = field(default_factory=dict)
    warnings: Counter[str] = field(default_factory=Counter)
    backend: str = ''
    latencies: list[tuple[int, float, float]] = field(default_factory=list)

    @property
    def drops(self) -> dict[str, tuple[float, float]]:
        """Return the counts of dropped frames and pairs."""
        return {key: n for key, n in self.counts.items() if not key.startswith('lost.')}

    @property
    def lost(self) -> dict[str, int]:
        """Return by cause how many possible pairs were lost within the bag."""
        found = self.counts.items()
        return {k.removeprefix('lost.'): round(n) for k, (n, _) in found if k.startswith('lost.')}

    def add(self, time_ns: int, statuses: Iterable[Any], namespace: str) -> None:
        """Add the diagnostic_msgs/DiagnosticStatus of one message; skip other programs' ones."""
        pattern = OWN_STATUS.format(re.escape(namespace))
        own = [status for status in statuses if re.fullmatch(pattern, status.name)]
        if not own:
            return
        values = {pair.key: pair.value for status in own for pair in status.values}
        self.backend = values.get('backend', '')
        if warning := '; '.join(status.message for status in own if status.level in BAD_LEVELS):
            self.warnings[re.sub(r'\d+(\.\d+)?', '…', warning)] += 1
        p50, p95 = _number(values, 'latency_ms_p50'), _number(values, 'latency_ms_p95')
        if math.isfinite(p50) and math.isfinite(p95):
            self.latencies.append((time_ns, p50, p95))
        for key in {*self.counts, *values}:
            if key.startswith(('dropped.', 'lost.', 'exceptions')):
                count = _number(values, key)
                count = count if math.isfinite(count) else 0.0  # a cause appears when it happens
                # What was counted before the bag began is not in the rise.
                rise, last = self.counts.get(key, (0.0, 0.0 if self.messages else count))
                # A counter that falls was reset to zero by a restart.
                self.counts[key] = rise + (count - last if count >= last else count), count
        self.messages += 1


@dataclass
class Recording:
    """
    A bag, and everything that a report needs from it except the images.

    :param temperatures: by class, the values of MEASUREMENTS of each detection, one after another.
    :param labels, mask_labels: class names in the order of their ids, from a LabelInfo message.
    :param alone: stamps of the results that ``tdfusion fuse`` made while a camera stalled [ns].
    :param unreadable: number of damaged messages by topic; they are left out.
    """

    reader: BagReader | ResultFolder
    rig: Rig
    topics: dict[str, TopicTimes]
    detections: DetectionColumns = field(default_factory=DetectionColumns)
    node: NodeStatus = field(default_factory=NodeStatus)
    temperatures: dict[str, array] = field(default_factory=dict)
    labels: list[str] = field(default_factory=list)
    mask_labels: list[str] = field(default_factory=list)
    alone: set[int] = field(default_factory=set)
    unreadable: Counter[str] = field(default_factory=Counter)

    def times(self, role: str) -> TopicTimes:
        """Return the messages of a role's topic, none if the bag lacks it."""
        return self.topics.get(self.rig.topics.get(role, ''), TopicTimes())

    @property
    def class_names(self) -> list[str]:
        """Names of all classes in the order of their colors, as in the overlay."""
        return list(dict.fromkeys((*self.labels, *self.detections.names)))

    def message(self, role: str, stamp: int) -> Any:
        """Return the message of a role with this stamp, None if there is none."""
        times = self.times(role)
        if stamp in times.stamps_ns:
            time_ns = times.times_ns[times.stamps_ns.index(stamp)]
            for _, _, message in self.reader.messages(self.rig.topics[role], at_ns=time_ns):
                if stamp_ns(message.header) == stamp:
                    return message
        return None


def read_recording(reader: BagReader | ResultFolder, rig: Rig) -> Recording:
    """Read a bag once; what is damaged is left out."""
    types, roles = reader.topics(), {topic: role for role, topic in rig.topics.items()}
    recording = Recording(reader, rig, {topic: TopicTimes(types[topic]) for topic in types})
    for topic, time_ns, data in reader.serialized(*types):
        times, role = recording.topics[topic], roles.get(topic, '')
        stamp = None
        message: Any = None
        try:
            if role in STAMPED:
                stamp = cdr_stamp_ns(data)
            if role in ('detections', 'temperatures', 'diagnostics', *LABELS):
                message = reader.deserialize(topic, data)
        except (BagError, struct.error, IndexError):
            recording.unreadable[topic] += 1
            continue
        if role == 'detections':
            recording.detections.add(len(times.stamps_ns), message.detections)
        elif role == 'temperatures':
            for one in message.detections:
                if MEASUREMENTS[0] in (values := results_by_name(one)):
                    name = best_hypothesis(one).class_id
                    columns = recording.temperatures.setdefault(name, array('d'))
                    columns.extend(values.get(key, math.nan) for key in MEASUREMENTS)
        elif role == 'diagnostics':
            recording.node.add(time_ns, message.status, rig.namespace)
            if any(status.name == STALL_STATUS for status in message.status):
                recording.alone.add(stamp_ns(message.header))
        elif role in LABELS:
            entries = sorted(message.class_map, key=lambda entry: entry.class_id)
            setattr(recording, role, [entry.class_name for entry in entries])
        times.times_ns.append(time_ns)
        if stamp is not None:
            times.stamps_ns.append(stamp)
    return recording


def read_both(
    bag: BagReader | ResultFolder,
    inputs: BagReader | None = None,
    *,
    namespace: str | None = None,
    rgb: str = '',
    ir: str = '',
) -> tuple[Recording, Recording]:
    """Read the results of a rig, and its cameras, which may be in another bag, ``inputs``."""
    rig = find_rig(bag.topics(), namespace, **({} if inputs else {'rgb': rgb, 'ir': ir}))
    result = source = read_recording(bag, rig)
    if inputs is not None:
        cameras = find_cameras(inputs.topics(), {'rgb': rgb, 'ir': ir}, {}, rig.namespace)
        source = read_recording(inputs, replace(rig, topics=cameras))
    if not any(each.times(role).times_ns for each in (result, source) for role in each.rig.topics):
        images = ', '.join(image_topics(bag.topics())) or 'none'
        raise BagError(
            f'{bag.path} has no images and no results that can be shown; its image topics are '
            f'{images}: name them with --rgb-topic and --ir-topic'
        )
    return result, source


def best_hypothesis(detection: Any) -> Any:
    """Return the hypothesis of a vision_msgs/Detection2D of the highest score, no temperature."""
    found = (one.hypothesis for one in detection.results)
    return max(found, key=lambda one: (one.class_id not in MEASUREMENTS, one.score))


def _number(values: dict[str, str], key: str) -> float:
    """Return a value of the diagnostics, NaN if it is missing or no number."""
    try:
        return float(values[key])
    except (KeyError, ValueError):
        return math.nan
