"""Find the topics of one rig in a bag: the node's outputs by name, and its cameras."""

from collections.abc import Mapping
from dataclasses import dataclass

from tdfusion_ros.core.errors import BagError
from tdfusion_ros.formats import result_topics as topics
from tdfusion_ros.formats.bag_topics import find_cameras

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
    cameras = find_cameras(types, {'rgb': rgb, 'ir': ir}, {}, space)
    return Rig(space, outputs | cameras, tuple(rig for rig in rigs if rig != space))
