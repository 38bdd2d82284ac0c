"""Names of image topics, and which topics of a bag belong to one rig."""

from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Mapping
from dataclasses import dataclass

from tdfusion_ros.core.errors import BagError

IMAGE_TYPES = ('sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage')
INFO_TYPE = 'sensor_msgs/msg/CameraInfo'
ENDS = ('/{}/image_raw', '/{}/image_raw/compressed', '/{}/image_raw/compressedDepth')


@dataclass(frozen=True)
class ImageTopics:
    """Image topics of a bag, and the camera_info of rgb; empty if the bag has none."""

    rgb: str
    ir: str
    rgb_info: str = ''


def image_topics(types: Mapping[str, str]) -> list[str]:
    """Return the image topics among topics with their message types."""
    return [topic for topic, kind in types.items() if kind in IMAGE_TYPES]


def cameras_by_namespace(topics: Iterable[str], stream: str) -> dict[str, str]:
    """Return the topics of a stream, as ``/NS/rgb/image_raw``, by namespace, raw ones first."""
    found: dict[str, str] = {}
    for end in (end.format(stream) for end in ENDS):
        for topic in topics:
            if topic.endswith(end):
                found.setdefault(topic.removesuffix(end), topic)
    return found


def find_cameras(
    types: Mapping[str, str],
    wanted: Mapping[str, str],
    counts: Mapping[str, int],
    results_in: str | None = None,
) -> dict[str, str]:
    """
    Return the topic of ``rgb`` and of ``ir``: both of one rig.

    :param types: message type of every topic; ``counts`` its messages: empty ones come last.
    :param wanted: topics that the user named, by stream; empty: found by their names.
    :param results_in: namespace of the results of these cameras; then one may be missing.
    :raises BagError: what the bag has instead, if one is missing or several rigs are possible.
    """
    images = image_topics(types)
    if wanted['rgb'] and wanted['rgb'] == wanted['ir']:
        raise BagError(f'one topic for both cameras, {wanted["rgb"]}; {_choice(images, "ir")}')
    for stream, topic in wanted.items():
        if topic and topic not in images:
            other = f' (its type is {types[topic]})' if topic in types else ''
            raise BagError(f'no {stream} topic {topic}{other}; {_choice(images, stream)}')
    filled = [topic for topic in images if counts.get(topic)]
    found = {
        stream: cameras_by_namespace(filled, stream) or cameras_by_namespace(images, stream)
        for stream in wanted
    }
    for stream, topic in wanted.items():
        if topic:  # the other camera is the one beside it, if there is one
            found[stream] = cameras_by_namespace([topic], stream) or {topic: topic}
        elif not found[stream] and results_in is None:
            ends = tuple(end.format(stream) for end in ENDS)
            others = [f'{t} is a {kind}' for t, kind in types.items() if t.endswith(ends)]
            other = f' ({", ".join(others)})' if others else ''
            missing = [name for name in wanted if not wanted[name] and not found[name]]
            choice = _choice(images, *missing)
            raise BagError(f'no {stream} topic ending in {ends[0]}{other}; {choice}')
    rgb, ir = found.values()
    spaces = rgb.keys() & ir.keys()
    if results_in in (*rgb, *ir) and not any(wanted.values()):
        spaces = {results_in}
    if len(spaces) == 1:
        (space,) = spaces
        return {stream: topics[space] for stream, topics in found.items() if space in topics}
    if len(rgb) <= 1 and len(ir) <= 1:
        return {stream: topic for stream, topics in found.items() for topic in topics.values()}
    cameras = ', '.join(sorted((*rgb.values(), *ir.values())))
    raise BagError(f'the cameras of several rigs ({cameras}); name --rgb-topic and --ir-topic')


def transport_topic(topic: str, transport: str) -> str:
    """Return the topic on which image_transport sends the images of a raw one."""
    return topic if transport == 'raw' else f'{topic}/{transport}'


def image_type(transport: str) -> str:
    """Return the type of the messages that image_transport sends."""
    return IMAGE_TYPES[transport != 'raw']


def raw_topic(topic: str) -> str:
    """Return the raw topic of one that image_transport sends."""
    return topic.removesuffix('/compressed').removesuffix('/compressedDepth')


def mixed(topic: str, publishers: int, nodes: Iterable[str]) -> tuple[str, str]:
    """Return what is wrong with a topic that several publishers of nodes share; what to do."""
    names = ', '.join(sorted(set(nodes)))
    found = f'{topic} has {publishers} publishers, of {names}, whose images are mixed'
    return found, 'stop or remap all but one'


def wrong_type(
    stream: str, topic: str, types: Collection[str], transport: str
) -> tuple[str, str] | None:
    """
    Return what is wrong with the type of a topic that the node subscribes to, and what to do.

    :param types: of what is published there.
    """
    expected = image_type(transport)
    if not types or expected in types:
        return None
    found = f'{topic} is of type {", ".join(sorted(types))}, expected {expected}'
    raw = raw_topic(topic)
    if not set(IMAGE_TYPES).intersection(types):
        return found, 'choose a topic with images'
    if transport != 'raw':
        return found, f'set {stream}_topic:={topic} and {stream}.image_transport:=raw'
    if raw == topic:
        return found, (
            f'set {stream}.image_transport:=compressed and remap '
            f'{stream}/image_raw/compressed:={topic}'
        )
    sent = topic.removeprefix(f'{raw}/')
    return found, f'set {stream}_topic:={raw} and {stream}.image_transport:={sent}'


def info_topic(image_topic: str) -> str:
    """Return the camera_info topic beside an image topic."""
    return raw_topic(image_topic).rpartition('/')[0] + '/camera_info'


def _choice(images: list[str], *streams: str) -> str:
    found, number = ', '.join(images) or 'none', 'both' if len(streams) > 1 else 'one'
    options = ' and '.join(f'--{stream}-topic' for stream in streams)
    return f'its image topics are {found}; name {number} with {options}'
