"""The config dataclass as ROS parameters: declare, describe, read, and change while running."""

from collections.abc import Callable
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
from tdfusion_ros.core.config import ROS_PARAMETERS
from tdfusion_ros.core.config import settings
from tdfusion_ros.core.errors import ConfigError

SETTINGS = {name: metadata for name, _, metadata in settings()}
FLOATS = {name for name, default, _ in settings() if isinstance(default, float)}


class Parameters:
    """
    The node's parameters.

    While unlocked everything may be set and is checked at the next configuration. While locked
    only live settings may change, and only to a valid config.

    A value that ROS refuses, or a misspelled name, does not raise before :meth:`read`: a lifecycle
    manager must see the failure, correct it (set the value, delete the misspelled one) and
    configure again.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._refused = _declare(node)
        self._changed = False
        self._check_locked: Callable[[dict[str, Parameter]], str] = lambda given: ''
        node.add_on_set_parameters_callback(self._on_set)
        if hasattr(node, 'add_pre_set_parameters_callback'):  # Humble stores 20 as an integer
            node.add_pre_set_parameters_callback(lambda given: [_with_type(p) for p in given])

    def read(self) -> FusionConfig:
        """Return the config that the parameters describe; ConfigError names a wrong one."""
        given: Mapping[str, Any] = self._node.get_parameters_by_prefix('')
        own = {n: p.value for n, p in given.items() if not n.startswith(ROS_PARAMETERS)}
        unknown = sorted(own.keys() - SETTINGS.keys())
        try:
            return from_mapping(own | self._refused)
        except ConfigError as error:
            remedy = f'; or delete the parameter {unknown[0]}' if unknown else ''
            raise ConfigError(f'parameter: {error}{remedy}') from None

    def lock(self, check: Callable[[FusionConfig], object]) -> None:
        """Allow changes of live settings only, to what ``check`` accepts (else ConfigError)."""

        def locked(given: dict[str, Parameter]) -> str:
            if not given:
                return ''
            current = {name: self._node.get_parameter(name).value for name in SETTINGS}
            for name, parameter in given.items():
                if not SETTINGS[name]['live'] and parameter.value != current[name]:
                    return (
                        f'{name} cannot change while the node is configured: deactivate, clean '
                        'up, set it, configure and activate again'
                    )
            try:
                check(from_mapping(current | {name: p.value for name, p in given.items()}))
            except ConfigError as error:
                return str(error)
            return ''

        self._changed, self._check_locked = False, locked

    def unlock(self) -> None:
        self._check_locked = lambda given: ''

    def take_changes(self) -> FusionConfig | None:
        """Return the new config if a live setting was set since the last call, else None."""
        if not self._changed:
            return None
        self._changed = False
        # Read now, not when it was set: another callback may have refused the change.
        return self.read()

    def _on_set(self, given: list[Parameter]) -> SetParametersResult:
        own = {p.name: p for p in given if p.name in SETTINGS}
        if reason := self._check_deleted(own) or self._check_locked(own):
            for name in own:  # rclpy has already stored the type of the refused value
                current = self._node.get_parameter(name).type_.value
                self._node.describe_parameter(name).type = current
            return SetParametersResult(successful=False, reason=reason)
        for parameter in given:
            self._refused.pop(parameter.name, None)
        self._changed = True
        return SetParametersResult(successful=True)

    def _check_deleted(self, given: dict[str, Parameter]) -> str:
        for name, parameter in given.items():
            if parameter.type_ == Parameter.Type.NOT_SET:
                return f'{name} cannot be deleted; set it to another value'
        return ''


def _declare(node: Node) -> dict[str, Any]:
    """Declare all settings and all other given parameters; return the values that ROS refused."""
    refused: dict[str, Any] = {}
    for name, default, metadata in settings():
        value = list(default) or [''] if isinstance(default, tuple) else default
        descriptor = _descriptor(default, metadata)
        try:
            given = node.declare_parameter(name, value, descriptor)
            if (typed := _with_type(given)) is not given:
                node.set_parameters([typed])
        except (InvalidParameterTypeException, InvalidParameterValueException):
            refused[name] = parameter_overrides(node)[name].value
            node.declare_parameter(name, value, descriptor, ignore_override=True)
    unknown = ParameterDescriptor(description='Unknown: delete it.', dynamic_typing=True)
    for name in parameter_overrides(node):
        if not node.has_parameter(name) and not name.startswith(ROS_PARAMETERS):
            node.declare_parameter(name, None, unknown)
    return refused


def _with_type(parameter: Parameter) -> Parameter:
    """Return 20.0 for 20 if the setting is a float: tools keep the type of the current value."""
    is_whole = parameter.type_ == Parameter.Type.INTEGER and abs(parameter.value) < 2**53
    if is_whole and parameter.name in FLOATS:
        return Parameter(parameter.name, Parameter.Type.DOUBLE, float(parameter.value))
    return parameter


def parameter_overrides(node: Node) -> Mapping[str, Parameter]:
    """Return the parameters that were given, declared or not, by name."""
    # rclpy has no public access to values that were given but not declared, or refused.
    return getattr(node, '_parameter_overrides', {})


def _descriptor(default: Any, metadata: Any) -> ParameterDescriptor:
    # Dynamic typing accepts 20 for 20.0; from_mapping checks the types.
    descriptor = ParameterDescriptor(description=metadata['doc'], dynamic_typing=True)
    if metadata['choices']:
        descriptor.additional_constraints = 'one of ' + ', '.join(metadata['choices'])
    low, high = metadata['low'], metadata['high']
    if low is not None and isinstance(default, int):
        bounds = IntegerRange(from_value=int(low), to_value=int(high), step=0)
        descriptor.integer_range = [bounds]
    elif low is not None:
        bounds = FloatingPointRange(from_value=low, to_value=high, step=0.0)
        descriptor.floating_point_range = [bounds]
    return descriptor
