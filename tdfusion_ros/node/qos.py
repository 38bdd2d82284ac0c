"""Quality of service by name, and following what the publishers offer."""

from collections.abc import Iterable
from typing import Any

from rclpy.qos import DurabilityPolicy
from rclpy.qos import HistoryPolicy
from rclpy.qos import QoSProfile
from rclpy.qos import ReliabilityPolicy

# Images wait here only while the receiving thread decodes another one.
INPUT_DEPTH = 5
OUTPUT_DEPTH = 5


def named(name: str, depth: int) -> QoSProfile:
    """
    Return a profile by name.

    :param name: SENSOR_DATA (best effort), DEFAULT or RELIABLE, or SYSTEM_DEFAULT.
    """
    reliability = {
        'SENSOR_DATA': ReliabilityPolicy.BEST_EFFORT,
        'SYSTEM_DEFAULT': ReliabilityPolicy.SYSTEM_DEFAULT,
    }
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=depth,
        durability=DurabilityPolicy.VOLATILE,
        reliability=reliability.get(name, ReliabilityPolicy.RELIABLE),
    )


def latched() -> QoSProfile:
    """Return the profile of a message that late subscribers still get."""
    return QoSProfile(
        depth=1,
        durability=DurabilityPolicy.TRANSIENT_LOCAL,
        reliability=ReliabilityPolicy.RELIABLE,
    )


def following(publishers: Iterable[Any]) -> QoSProfile | None:
    """
    Return the best profile that every publisher can serve, or None where there is none yet.

    :param publishers: TopicEndpointInfo of each.
    """
    offered = [p.qos_profile.reliability for p in publishers]
    if not offered:
        return None
    reliable = all(r == ReliabilityPolicy.RELIABLE for r in offered)
    return named('RELIABLE' if reliable else 'SENSOR_DATA', INPUT_DEPTH)
