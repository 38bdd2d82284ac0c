"""The config dataclass as ROS parameters: declared, described, read."""

from typing import Any

from rcl_interfaces.msg import FloatingPointRange
from rcl_interfaces.msg import IntegerRange
from rcl_interfaces.msg import ParameterDescriptor
from rclpy.exceptions import InvalidParameterTypeException
from rclpy.exceptions import InvalidParameterValueException
from rclpy.node import Node

from tdfusion_ros.core.config import from_mapping
from tdfusion_ros.core.config import FusionConfig
from tdfusion_ros.core.config import settings
from tdfusion_ros.core.errors import ConfigError

# Parameters that ROS itself puts on a node.
FOREIGN = ('use_sim_time', 'start_type_description_service', 'qos_overrides.')


def declare(node: Node) -> list[str]:
    """
    Declare every setting; return a sentence for each value that was refused.

    The node must live until it is configured, so that a lifecycle manager sees the failure.
    """
    refused = []
    for name, default, facts in settings():
        value = list(default) or [''] if isinstance(default, tuple) else default
        try:
            node.declare_parameter(name, value, _descriptor(default, facts))
        except (InvalidParameterTypeException, InvalidParameterValueException) as error:
            refused.append(f'{name}: {error}')
    return refused


def read(node: Node) -> FusionConfig:
    """
    Return the config that the node's parameters say.

    :raises ConfigError: naming the parameter that is misspelt, mistyped or out of range.
    """
    known = {name for name, _, _ in settings()}
    # rclpy has no public way to see values that were given but never declared: misspelt ones.
    given = getattr(node, '_parameter_overrides', {})
    misspelt = {
        name: p.value
        for name, p in given.items()
        if name not in known and not name.startswith(FOREIGN)
    }
    values: dict[str, Any] = dict(misspelt)
    for name in known & {p for p in known if node.has_parameter(p)}:
        values[name] = node.get_parameter(name).value
    try:
        return from_mapping(values)
    except ConfigError as error:
        raise ConfigError(f'parameter: {error}') from None


def _descriptor(default: Any, facts: Any) -> ParameterDescriptor:
    # Dynamic, so that 20 is taken where 20.0 is meant; from_mapping holds the types.
    descriptor = ParameterDescriptor(description=facts['doc'], dynamic_typing=True)
    if facts['choices']:
        descriptor.additional_constraints = 'one of ' + ', '.join(facts['choices'])
    if facts['low'] is not None:
        if isinstance(default, int):
            descriptor.integer_range = [
                IntegerRange(from_value=int(facts['low']), to_value=int(facts['high']), step=0)
            ]
        else:
            descriptor.floating_point_range = [
                FloatingPointRange(from_value=facts['low'], to_value=facts['high'], step=0.0)
            ]
    return descriptor
