"""Find the topics of one rig in a bag: the node's outputs by name, and its cameras."""

from collections.abc import Mapping
from dataclasses import dataclass

from tdfusion_ros.core.errors import BagError
from tdfusion_ros.formats import result_topics as topics
from tdfusion_ros.formats.bag_topics import cameras_by_namespace
from tdfusion_ros.formats.bag_topics import image_topics

OUTPUTS = {  # role: topic below the node's namespace
    'fused': topics.FUSED,
    'overlay': topics.OVERLAY,
    'segmentation': topics.MASKS,
    'registered': topics.IR,
    'detections': topics.DETECTIONS,
    'temperatures': topics.TEMPERATURES,
    'labels': topics.LABELS,
    'mask_labels': topics.MASK_LABELS,
}


@dataclass(frozen=True)
class Rig:
    """The topics of one rig by role (``rgb``, ``ir``, ``diagnostics``, OUTPUTS), and others."""

    namespace: str
    topics: Mapping[str, str]
    others: tuple[str, ...] = ()


def find_rig(
    types: Mapping[str, str], namespace: str | None = None, *, rgb: str = '', ir: str = ''
) -> Rig:
    """
    Return the topics of one rig.

    :param namespace: None: the first one with results.
    :param rgb, ir: image topics; empty: the ones that end in ``rgb/image_raw[/compressed]``, ...
    :raises BagError: if the bag lacks the namespace or an image topic.
    """
    found = {
        topic.removesuffix(f'/{end}')
        for end in (topics.FUSED, topics.DETECTIONS)
        for topic in types
        if topic.endswith(f'/{end}') and types[topic] == topics.TYPES[end]
    }
    rigs = sorted(found, key=lambda rig: (len(rig), rig))
    if namespace is None:
        space = rigs[0] if rigs else ''
    else:
        space = f'/{namespace.strip("/")}'.rstrip('/')
        if space not in rigs:
            known = ', '.join(rig or '/' for rig in rigs) or 'none'
            raise BagError(f"no results in namespace '{namespace}'; namespaces with some: {known}")
    wanted = {role: (f'{space}/{end}', topics.TYPES[end]) for role, end in OUTPUTS.items()}
    wanted['diagnostics'] = '/diagnostics', 'diagnostic_msgs/msg/DiagnosticArray'
    outputs = {role: topic for role, (topic, kind) in wanted.items() if types.get(topic) == kind}
    found_topics = outputs | find_cameras(types, space, rgb=rgb, ir=ir)
    return Rig(space, found_topics, tuple(rig for rig in rigs if rig != space))


def find_cameras(
    types: Mapping[str, str], namespace: str, *, rgb: str = '', ir: str = ''
) -> dict[str, str]:
    """
    Return the image topics by stream; BagError for a wrong name, or for several cameras.

    Of several, take the topics next to a named one, else those in the namespace, else the only
    rig's.
    """
    images = image_topics(types)
    known = {stream: cameras_by_namespace(images, stream) for stream in ('rgb', 'ir')}
    both = known['rgb'].keys() & known['ir'].keys()
    if len(both) == 1 and namespace not in (*known['rgb'], *known['ir']):
        (namespace,) = both
    for stream, topic in (('ir', ir), ('rgb', rgb)):
        namespace = next(iter(cameras_by_namespace([topic], stream)), namespace)
    if rgb and rgb == ir:
        raise BagError(f'one topic for both cameras, {rgb}: name that of ir with --ir-topic')
    found = {}
    for stream, wanted in (('rgb', rgb), ('ir', ir)):
        if wanted and wanted not in images:
            others = ', '.join(images) or 'none'
            raise BagError(f'no image topic {wanted}; the image topics are {others}')
        by_namespace = known[stream]
        topic = wanted or by_namespace.get(namespace, '')
        if not topic and len(by_namespace) > 1:
            others = ', '.join(by_namespace.values())
            raise BagError(f'several {stream} cameras: {others}; name one with --{stream}-topic')
        found[stream] = topic or next(iter(by_namespace.values()), '')
    return {stream: topic for stream, topic in found.items() if topic}
