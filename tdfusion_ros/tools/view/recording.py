"""One pass through a bag: times, stamps, detections and diagnostics, never the pictures."""

from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from dataclasses import field
import re
import struct
from typing import Any

from tdfusion_ros.core.errors import BagError
from tdfusion_ros.formats.bags import BagReader
from tdfusion_ros.formats.bags import typestore
from tdfusion_ros.tools.view.topics import Roles

MOST_CLASSES = 200  # names beyond that count as OTHER: the bag is not to be trusted
MOST_SENTENCES = 200
MOST_SERIES = 300
OTHER = '(other)'
SUBJECTS = ('rgb stream', 'ir stream', 'sync', 'inference')  # of the node's statuses
TROUBLE = (1, 2)  # WARN and ERROR; what is STALE only waits for another one's trouble to end


@dataclass
class Track:
    """
    The messages of one topic in their order, 16 bytes each.

    :param times_ns: when they were recorded [ns].
    :param stamps_ns: what their headers say [ns]; as long as times_ns, or empty if not wanted.
    """

    kind: str
    times_ns: array = field(default_factory=lambda: array('q'))
    stamps_ns: array = field(default_factory=lambda: array('q'))


@dataclass
class Found:
    """All detections of the bag; ``frame`` counts the messages on the detections' topic."""

    frame: array = field(default_factory=lambda: array('I'))
    kind: array = field(default_factory=lambda: array('H'))
    score: array = field(default_factory=lambda: array('f'))
    names: list[str] = field(default_factory=list)


@dataclass
class Health:
    """
    What the node said of itself.

    :param series: every value that is a number, by name; NaN where a message lacks it.
    :param warned: sentences that were not OK, numbers left out, and how often.
    """

    times_ns: array = field(default_factory=lambda: array('q'))
    series: dict[str, array] = field(default_factory=dict)
    warned: Counter[str] = field(default_factory=Counter)
    last: dict[str, str] = field(default_factory=dict)


@dataclass
class Recording:
    """
    Everything of a bag but its pictures.

    :param broken: why the bag could not be read to its end, empty if it could.
    :param unreadable: messages that were left out because their bytes are wrong, by topic.
    """

    roles: Roles
    tracks: dict[str, Track]
    found: Found = field(default_factory=Found)
    health: Health = field(default_factory=Health)
    labels: list[str] = field(default_factory=list)
    broken: str = ''
    unreadable: Counter[str] = field(default_factory=Counter)

    def track(self, role: str) -> Track:
        """Return the messages of a role, none where the bag lacks it."""
        return self.tracks.get(getattr(self.roles, role)) or Track('')


def read(reader: BagReader, roles: Roles) -> Recording:
    """Read a bag once, to its end or to where it breaks off."""
    kinds = reader.topics()
    made = Recording(roles, {topic: Track(kind) for topic, kind in kinds.items()})
    takers = {roles.detections: _take_detections, roles.diagnostics: _take_status}
    for topic, time_ns, data in _until_broken(reader, made):
        track = made.tracks[topic]
        track.times_ns.append(time_ns)
        try:
            if topic in roles.stamped:
                track.stamps_ns.append(wire_stamp_ns(data))
            if topic in takers:
                takers[topic](made, time_ns, _message(data, kinds[topic]))
            elif topic == roles.labels:
                _take_labels(made, _message(data, kinds[topic]))
        except BagError:
            made.unreadable[topic] += 1
            del track.times_ns[-1:]
            del track.stamps_ns[len(track.times_ns) :]
    return made


def _until_broken(reader: BagReader, made: Recording) -> Iterator[tuple[str, int, bytes]]:
    try:
        yield from reader.serialized(*made.tracks)
    except BagError as error:
        made.broken = str(error)


def wire_stamp_ns(data: bytes) -> int:
    """
    Return the stamp of a serialized message that begins with a header, without reading the rest.

    :param data: CDR: four bytes of which the second's lowest bit says little endian, then the
        fields (OMG DDS-XTypes, 7.4.3.4).
    :raises BagError: if it is too short.
    """
    if len(data) < 12:
        raise BagError('a message is shorter than its header')
    sec, nanosec = struct.unpack_from('<iI' if data[1] & 1 else '>iI', data, 4)
    return sec * 1_000_000_000 + nanosec


def _message(data: bytes, kind: str) -> Any:
    try:
        return typestore().deserialize_cdr(data, kind)
    except Exception as error:  # rosbags has no common base for what damaged bytes raise
        raise BagError(f'a {kind} cannot be read: {error!r}') from error


def _take_detections(made: Recording, time_ns: int, message: Any) -> None:
    found, frame = made.found, len(made.tracks[made.roles.detections].stamps_ns) - 1
    for detection in message.detections:
        if not detection.results:
            continue
        hypothesis = best(detection)
        found.frame.append(frame)
        found.kind.append(_class(found, hypothesis.class_id))
        found.score.append(hypothesis.score)


def best(detection: Any) -> Any:
    """Return the hypothesis of a vision_msgs/Detection2D that has the best score."""
    return max(detection.results, key=lambda result: result.hypothesis.score).hypothesis


def _class(found: Found, name: str) -> int:
    if name not in found.names and len(found.names) >= MOST_CLASSES:
        name = OTHER
    if name not in found.names:
        found.names.append(name)
    return found.names.index(name)


def _take_labels(made: Recording, message: Any) -> None:
    ordered = sorted(message.class_map, key=lambda entry: entry.class_id)
    made.labels = [entry.class_name for entry in ordered[:MOST_CLASSES]]


def _take_status(made: Recording, time_ns: int, message: Any) -> None:
    own = [status for status in message.status if _is_own(status.name, made.roles.status)]
    if not own:
        return
    health = made.health
    health.times_ns.append(time_ns)
    health.last = {pair.key: pair.value for status in own for pair in status.values}
    told = [status.message for status in own if status.level in TROUBLE]
    if told:
        sentence = re.sub(r'\d+(\.\d+)?', '…', '; '.join(told))
        full = len(health.warned) >= MOST_SENTENCES
        health.warned[OTHER if full and sentence not in health.warned else sentence] += 1
    for key, value in health.last.items():
        _append(health, key, value)
    for series in health.series.values():
        if len(series) < len(health.times_ns):
            series.append(float('nan'))


def _is_own(name: str, beginning: str) -> bool:
    """Tell whether a status is of this rig's node, ``…/NODE: SUBJECT``, and of no rig below."""
    node, _, subject = name.removeprefix(beginning).partition(': ')
    return name.startswith(beginning) and '/' not in node and subject in SUBJECTS


def _append(health: Health, key: str, value: str) -> None:
    try:
        number = float(value)
    except ValueError:
        return
    if key not in health.series:
        if len(health.series) >= MOST_SERIES:
            return
        health.series[key] = array('d', [float('nan')] * (len(health.times_ns) - 1))
    if len(health.series[key]) < len(health.times_ns):
        health.series[key].append(number)
