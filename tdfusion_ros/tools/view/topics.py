"""Which topic of a bag is what: the node's outputs by name, the cameras beside them."""

from collections.abc import Mapping
from dataclasses import dataclass

from tdfusion_ros.core.errors import BagError
from tdfusion_ros.formats.bags import IMAGE_TYPES

ARRAY_TYPE = 'vision_msgs/msg/Detection2DArray'
LABEL_TYPE = 'vision_msgs/msg/LabelInfo'
STATUS_TYPE = 'diagnostic_msgs/msg/DiagnosticArray'
OUTPUTS = {  # role -> name below the node's namespace, and type
    'fused': ('/fused/image_raw', IMAGE_TYPES[0]),
    'overlay': ('/overlay/image_raw', IMAGE_TYPES[0]),
    'registered': ('/ir_registered/image_raw', IMAGE_TYPES[0]),
    'detections': ('/detections', ARRAY_TYPE),
    'labels': ('/label_info', LABEL_TYPE),
}


@dataclass(frozen=True)
class Roles:
    """
    Names of topics, empty where the bag has none.

    :param namespace: of the rig, empty at the root.
    :param others: namespaces of further rigs in the same bag.
    """

    namespace: str
    others: tuple[str, ...] = ()
    rgb: str = ''
    ir: str = ''
    fused: str = ''
    overlay: str = ''
    registered: str = ''
    detections: str = ''
    labels: str = ''
    diagnostics: str = ''

    @property
    def status(self) -> str:
        """Beginning of the names under which the node speaks in the diagnostics."""
        return f'{self.namespace}/'

    @property
    def stamped(self) -> tuple[str, ...]:
        """Topics whose stamps are wanted."""
        names = (self.rgb, self.ir, self.fused, self.overlay, self.registered, self.detections)
        return tuple(name for name in names if name)


def find_roles(
    kinds: Mapping[str, str], namespace: str | None = None, rgb: str = '', ir: str = ''
) -> Roles:
    """
    Return the topics of one rig.

    :param kinds: message type of every topic of the bag.
    :param namespace: of the rig; None: the first that has results.
    :param rgb: image topic by name; empty: the one ending in ``rgb/image_raw[/compressed]``.
    :raises BagError: if something was named that the bag does not have.
    """
    rigs = _rigs(kinds)
    if namespace is None:
        space = rigs[0] if rigs else ''
    else:
        space = '/' + namespace.strip('/') if namespace.strip('/') else ''
        if space not in rigs:
            known = ', '.join(rig or '/' for rig in rigs) or 'none'
            raise BagError(
                f"no results in the namespace '{namespace}'; there are some in: {known}"
            )
    outputs = {
        role: space + end
        for role, (end, kind) in OUTPUTS.items()
        if kinds.get(space + end) == kind
    }
    return Roles(
        namespace=space,
        others=tuple(rig for rig in rigs if rig != space),
        rgb=camera(kinds, space, 'rgb', rgb),
        ir=camera(kinds, space, 'ir', ir),
        diagnostics='/diagnostics' if kinds.get('/diagnostics') == STATUS_TYPE else '',
        **outputs,
    )


def _rigs(kinds: Mapping[str, str]) -> list[str]:
    """Return the namespaces that have fused images or detections, the shortest first."""
    found = {
        topic.removesuffix(end)
        for end, kind in (OUTPUTS['fused'], OUTPUTS['detections'])
        for topic, its in kinds.items()
        if topic.endswith(end) and its == kind
    }
    return sorted(found, key=lambda space: (len(space), space))


def camera(kinds: Mapping[str, str], space: str, stream: str, wanted: str = '') -> str:
    """
    Return the image topic of a camera, empty where there is none.

    :param space: namespace of the rig, whose own camera comes before any other.
    :param wanted: its name where it is known.
    :raises BagError: if the bag does not have what is wanted.
    """
    images = [topic for topic, kind in kinds.items() if kind in IMAGE_TYPES]
    if wanted:
        if wanted not in images:
            raise BagError(
                f'no image topic {wanted}; the image topics are {", ".join(images) or "none"}'
            )
        return wanted
    ends = (f'/{stream}/image_raw', f'/{stream}/image_raw/compressed')
    for begin in (space, ''):
        matches = [t for t in images if t.startswith(begin + '/') and t.endswith(ends)]
        if matches:
            return min(matches, key=len)
    return ''
