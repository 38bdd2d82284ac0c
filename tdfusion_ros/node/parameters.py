"""The config dataclass as ROS parameters: declared, described, read, changed while running."""

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
from tdfusion_ros.core.config import settings
from tdfusion_ros.core.errors import ConfigError

KNOWN = {name: facts for name, _, facts in settings()}
FRACTIONS = {name for name, default, _ in settings() if isinstance(default, float)}
# Parameters that ROS itself puts on a node.
FOREIGN = ('use_sim_time', 'start_type_description_service', 'qos_overrides.')


class Parameters:
    """
    A node's parameters.

    While unconfigured everything may be set, and is held against the config at the next
    configuration. While configured only live settings change, and only to what makes a config.

    A value that ROS refuses, or a misspelt name, is no exception here: the node must live until it
    is configured, so that a lifecycle manager sees the failure, can correct it (set the value,
    delete the misspelt one) and configure again.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._refused = _declare(node)
        self._running: FusionConfig | None = None
        self._check: Callable[[FusionConfig], object] = lambda config: None
        self._changed = False
        node.add_on_set_parameters_callback(self._judge)
        if hasattr(node, 'add_pre_set_parameters_callback'):  # Humble keeps 20 as a whole number
            node.add_pre_set_parameters_callback(lambda given: [_as_declared(p) for p in given])

    def read(self) -> FusionConfig:
        """
        Return the config that the node's parameters say.

        :raises ConfigError: naming the parameter that is misspelt, mistyped or out of range.
        """
        values = {p.name: p.value for p in self._node.get_parameters_by_prefix('').values()}
        own = {name: v for name, v in values.items() if not name.startswith(FOREIGN)}
        strangers = sorted(own.keys() - KNOWN.keys())
        try:
            return from_mapping(own | self._refused)
        except ConfigError as error:
            again = f'; or delete the parameter {strangers[0]}' if strangers else ''
            raise ConfigError(f'parameter: {error}{again}') from None

    def hold(self, config: FusionConfig, check: Callable[[FusionConfig], object]) -> None:
        """
        Let only live settings change from now on.

        :param check: raises ConfigError for a config that the model cannot follow.
        """
        self._running, self._check, self._changed = config, check, False

    def release(self) -> None:
        """Let everything be set again."""
        self._running = None

    def changed(self) -> FusionConfig | None:
        """Return the config anew if a live setting was set since it was last asked for."""
        if self._running is None or not self._changed:
            return None
        self._changed = False
        # Not taken over where it was judged: another callback may still have refused it there.
        self._running = self.read()
        return self._running

    def _judge(self, given: list[Parameter]) -> SetParametersResult:
        reason = self._objection(given)
        if reason:
            for name in (p.name for p in given if p.name in KNOWN):
                # rclpy has already noted the type of what is refused here.
                kept = self._node.get_parameter(name).type_.value
                self._node.describe_parameter(name).type = kept
            return SetParametersResult(successful=False, reason=reason)
        for parameter in given:
            self._refused.pop(parameter.name, None)
        self._changed = True
        return SetParametersResult(successful=True)

    def _objection(self, given: list[Parameter]) -> str:
        """Return why these values cannot be set together, empty if they can."""
        own = {p.name: p for p in given if p.name in KNOWN}
        for name, parameter in own.items():
            if parameter.type_ == Parameter.Type.NOT_SET:
                return f'{name} cannot be deleted; set it to another value'
        if self._running is None:
            return ''
        now = {name: self._node.get_parameter(name).value for name in KNOWN}
        for name, parameter in own.items():
            if not KNOWN[name]['live'] and parameter.value != now[name]:
                return (
                    f'{name} cannot change while the node is configured: deactivate, clean up, '
                    'set it, configure and activate again'
                )
        try:
            self._check(from_mapping(now | {name: p.value for name, p in own.items()}))
        except ConfigError as error:
            return str(error)
        return ''


def _declare(node: Node) -> dict[str, Any]:
    """Declare every setting, and what else was given; return the values that ROS refused."""
    refused: dict[str, Any] = {}
    for name, default, facts in settings():
        value = list(default) or [''] if isinstance(default, tuple) else default
        descriptor = _descriptor(default, facts)
        try:
            given = node.declare_parameter(name, value, descriptor)
            if (meant := _as_declared(given)) is not given:
                node.set_parameters([meant])
        except (InvalidParameterTypeException, InvalidParameterValueException):
            refused[name] = _given(node)[name].value
            node.declare_parameter(name, value, descriptor, ignore_override=True)
    for name in _given(node):
        if not node.has_parameter(name) and not name.startswith(FOREIGN):
            stranger = ParameterDescriptor(
                description='Unknown: delete it, then configure.', dynamic_typing=True
            )
            node.declare_parameter(name, None, stranger)
    return refused


def _as_declared(parameter: Parameter) -> Parameter:
    """Return 20.0 for 20 where that is meant: tools offer what is set as the type from then on."""
    whole = parameter.type_ == Parameter.Type.INTEGER and abs(parameter.value) < 2**53
    if whole and parameter.name in FRACTIONS:
        return Parameter(parameter.name, Parameter.Type.DOUBLE, float(parameter.value))
    return parameter


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
