"""Quality of service by name, and QoS that follows the publishers."""

from collections.abc import Iterable

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy
from rclpy.qos import QoSPolicyKind
from rclpy.qos import QoSProfile
from rclpy.qos import ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.topic_endpoint_info import TopicEndpointInfo

from tdfusion_ros.node.parameters import parameter_overrides

DEPTH = 5  # input images only wait while the receiving thread decodes another one
RELIABILITY = {
    'SENSOR_DATA': ReliabilityPolicy.BEST_EFFORT,
    'DEFAULT': ReliabilityPolicy.RELIABLE,
    'RELIABLE': ReliabilityPolicy.RELIABLE,
    'SYSTEM_DEFAULT': ReliabilityPolicy.SYSTEM_DEFAULT,
}


def named(name: str) -> QoSProfile:
    """Return a volatile profile, by a key of ``RELIABILITY``, that keeps five messages."""
    return QoSProfile(
        depth=DEPTH, durability=DurabilityPolicy.VOLATILE, reliability=RELIABILITY[name]
    )


def latched() -> QoSProfile:
    """Return the profile of a message that late subscribers still receive."""
    return QoSProfile(
        depth=1,
        durability=DurabilityPolicy.TRANSIENT_LOCAL,
        reliability=ReliabilityPolicy.RELIABLE,
    )


def matching(publishers: Iterable[TopicEndpointInfo]) -> QoSProfile | None:
    """Return the best profile that every publisher can serve, or None without publishers."""
    offered = {publisher.qos_profile.reliability for publisher in publishers}
    if not offered:
        return None
    return named('RELIABLE' if offered == {ReliabilityPolicy.RELIABLE} else 'SENSOR_DATA')


def overrides(node: Node, topic: str, entity: str) -> QoSOverridingOptions:
    """
    Return the policies that the user set as ``qos_overrides.TOPIC.ENTITY.POLICY``.

    Only those: rclpy would keep the first value of every other one, and AUTO changes some.

    :param topic: full name. :param entity: ``publisher`` or ``subscription``.
    """
    given = parameter_overrides(node)
    prefix = f'qos_overrides.{topic}.{entity}.'
    return QoSOverridingOptions([k for k in QoSPolicyKind if f'{prefix}{k.name.lower()}' in given])


def without_effect(node: Node) -> list[str]:
    """Return the given ``qos_overrides`` of no topic or policy of a node with its publishers."""
    published = {publisher.topic_name for publisher in node.publishers}
    read = tuple(node.resolve_topic_name(f'{stream}/image_raw') for stream in ('rgb', 'ir'))
    found = []
    for name in parameter_overrides(node):
        prefix, topic, entity, policy, *more = [*name.split('.'), '', '', '']
        is_publisher = entity == 'publisher' and topic in published
        is_input = entity == 'subscription' and topic.startswith((*read, '/clock'))
        known = (is_publisher or is_input) and policy.upper() in QoSPolicyKind.__members__
        if prefix == 'qos_overrides' and (any(more) or not known):
            found.append(name)
    return found
