"""The config dataclass as ROS parameters: declared, described, read."""

from collections.abc import Mapping
from typing import Any

from rcl_interfaces.msg import FloatingPointRange
from rcl_interfaces.msg import IntegerRange
from rcl_interfaces.msg import ParameterDescriptor
from rcl_interfaces.msg import SetParametersResult
from rclpy.exceptions import InvalidParameterTypeException
from rclpy.exceptions import InvalidParameterValueException
from rclpy.node import Node
from rclpy.parameter import Parameter

from tdfusion_ros.core.config import from_mapping
from tdfusion_ros.core.config import FusionConfig
from tdfusion_ros.core.config import settings
from tdfusion_ros.core.errors import ConfigError

# Parameters that ROS itself puts on a node.
FOREIGN = ('use_sim_time', 'start_type_description_service', 'qos_overrides.')


def declare(node: Node) -> dict[str, Any]:
    """
    Declare every setting; return the values that ROS refused, by name, until they are corrected.

    A refused value is no exception here: the node must live until it is configured, so that a
    lifecycle manager sees the failure, can set another value and configure again.
    """
    refused: dict[str, Any] = {}
    for name, default, facts in settings():
        value = list(default) or [''] if isinstance(default, tuple) else default
        descriptor = _descriptor(default, facts)
        try:
            node.declare_parameter(name, value, descriptor)
        except (InvalidParameterTypeException, InvalidParameterValueException):
            refused[name] = _given(node)[name].value
            node.declare_parameter(name, value, descriptor, ignore_override=True)

    def corrected(changed: list[Parameter]) -> SetParametersResult:
        for parameter in changed:
            refused.pop(parameter.name, None)
        return SetParametersResult(successful=True)

    node.add_on_set_parameters_callback(corrected)
    return refused


def read(node: Node, refused: Mapping[str, Any]) -> FusionConfig:
    """
    Return the config that the node's parameters say.

    :param refused: as :func:`declare` returned it.
    :raises ConfigError: naming the parameter that is misspelt, mistyped or out of range.
    """
    known = {name for name, _, _ in settings()}
    values: dict[str, Any] = {
        name: parameter.value
        for name, parameter in _given(node).items()
        if name not in known and not name.startswith(FOREIGN)
    }
    for name in sorted(known):
        if node.has_parameter(name):
            values[name] = node.get_parameter(name).value
    try:
        return from_mapping(values | refused)
    except ConfigError as error:
        raise ConfigError(f'parameter: {error}') from None


def _given(node: Node) -> Mapping[str, Parameter]:
    # rclpy has no public way to see values that were given but not declared, or refused.
    return getattr(node, '_parameter_overrides', {})


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
