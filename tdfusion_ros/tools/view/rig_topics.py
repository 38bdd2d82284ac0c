"""Find the topics of one rig in a bag: the node's outputs by name, and its cameras."""

from collections.abc import Mapping
from dataclasses import dataclass

from tdfusion_ros.core.errors import BagError
from tdfusion_ros.formats.bags import find_image_topic
from tdfusion_ros.formats.bags import image_topics
from tdfusion_ros.formats.bags import IMAGE_TYPES

ARRAY_TYPE = 'vision_msgs/msg/Detection2DArray'
OUTPUTS = {  # role: name below the node's namespace, message type
    'fused': ('/fused/image_raw', IMAGE_TYPES[0]),
    'overlay': ('/overlay/image_raw', IMAGE_TYPES[0]),
    'registered': ('/ir_registered/image_raw', IMAGE_TYPES[0]),
    'detections': ('/detections', ARRAY_TYPE),
    'labels': ('/label_info', 'vision_msgs/msg/LabelInfo'),
}


@dataclass(frozen=True)
class RigTopics:
    """
    Names of the topics of one rig, empty where the bag has none.

    :param namespace: namespace of the rig, empty at the root.
    :param other_rigs: namespaces of the other rigs in the same bag.
    """

    namespace: str = ''
    other_rigs: tuple[str, ...] = ()
    rgb: str = ''
    ir: str = ''
    fused: str = ''
    overlay: str = ''
    registered: str = ''
    detections: str = ''
    labels: str = ''
    diagnostics: str = ''


def find_rig(
    types: Mapping[str, str], namespace: str | None = None, *, rgb: str = '', ir: str = ''
) -> RigTopics:
    """
    Return the topics of one rig.

    :param types: message type of every topic of the bag.
    :param namespace: namespace of the rig; None: the first one with results.
    :param rgb, ir: image topics; empty: the ones that end in ``rgb/image_raw[/compressed]``, ...
    :raises BagError: if the bag lacks the namespace or an image topic.
    """
    rigs = sorted(
        {
            topic.removesuffix(end)
            for end, output_type in (OUTPUTS['fused'], OUTPUTS['detections'])
            for topic, topic_type in types.items()
            if topic.endswith(end) and topic_type == output_type
        },
        key=lambda rig: (len(rig), rig),
    )
    if namespace is None:
        space = rigs[0] if rigs else ''
    else:
        space = f'/{namespace.strip("/")}'.rstrip('/')
        if space not in rigs:
            known = ', '.join(rig or '/' for rig in rigs) or 'none'
            raise BagError(f"no results in namespace '{namespace}'; namespaces with some: {known}")
    outputs = {
        role: space + end
        for role, (end, output_type) in OUTPUTS.items()
        if types.get(space + end) == output_type
    }
    diagnostics = types.get('/diagnostics') == 'diagnostic_msgs/msg/DiagnosticArray'
    return RigTopics(
        namespace=space,
        other_rigs=tuple(rig for rig in rigs if rig != space),
        diagnostics='/diagnostics' if diagnostics else '',
        **outputs,
        **find_cameras(types, space, rgb=rgb, ir=ir),
    )


def find_cameras(
    types: Mapping[str, str], namespace: str, *, rgb: str = '', ir: str = ''
) -> dict[str, str]:
    """
    Return the rgb and ir image topics, each empty if the bag has none.

    :param namespace: namespace of the rig; its own cameras are preferred to others.
    :param rgb, ir: names of the topics, if known.
    :raises BagError: if the bag has no image topic of such a name.
    """
    cameras = {}
    for stream, wanted in (('rgb', rgb), ('ir', ir)):
        cameras[stream] = find_image_topic(types, stream, wanted, namespace)
        if wanted and not cameras[stream]:
            known = ', '.join(image_topics(types)) or 'none'
            raise BagError(f'no image topic {wanted}; the image topics are {known}')
    return cameras
