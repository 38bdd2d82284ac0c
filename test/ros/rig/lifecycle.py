"""A lifecycle manager: transitions, states and parameters, over the node's services."""

from lifecycle_msgs.msg import State
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from lifecycle_msgs.srv import GetState
from rcl_interfaces.srv import DescribeParameters
from rcl_interfaces.srv import GetParameters
from rcl_interfaces.srv import SetParameters
from rcl_interfaces.srv import SetParametersAtomically
from rclpy.parameter import Parameter
from rclpy.parameter import parameter_value_to_python

from rig.client import Client

TRANSITIONS = {
    'configure': Transition.TRANSITION_CONFIGURE,
    'activate': Transition.TRANSITION_ACTIVATE,
    'deactivate': Transition.TRANSITION_DEACTIVATE,
    'cleanup': Transition.TRANSITION_CLEANUP,
}
# The way to shut down depends on where one is.
SHUTDOWNS = {
    State.PRIMARY_STATE_UNCONFIGURED: Transition.TRANSITION_UNCONFIGURED_SHUTDOWN,
    State.PRIMARY_STATE_INACTIVE: Transition.TRANSITION_INACTIVE_SHUTDOWN,
    State.PRIMARY_STATE_ACTIVE: Transition.TRANSITION_ACTIVE_SHUTDOWN,
}


class Manager:
    """Drive the node of a client's namespace."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def change(self, name: str) -> bool:
        """Ask for a transition; return whether it succeeded."""
        number = SHUTDOWNS[self._state().id] if name == 'shutdown' else TRANSITIONS[name]
        request = ChangeState.Request(transition=Transition(id=number))
        return self._client.call(ChangeState, 'change_state', request).success

    def state(self) -> str:
        """Return the state, as ``inactive``."""
        return self._state().label

    def set(self, name: str, value: object) -> str:
        """Set a parameter; return why it was refused, or an empty text."""
        parameter = Parameter(name, value=value).to_parameter_msg()
        request = SetParameters.Request(parameters=[parameter])
        (result,) = self._client.call(SetParameters, 'set_parameters', request).results
        return '' if result.successful else result.reason or 'refused'

    def set_all(self, values: dict[str, object]) -> str:
        """Set parameters all or none; return why they were refused, or an empty text."""
        request = SetParametersAtomically.Request(
            parameters=[Parameter(n, value=v).to_parameter_msg() for n, v in values.items()]
        )
        response = self._client.call(SetParametersAtomically, 'set_parameters_atomically', request)
        return '' if response.result.successful else response.result.reason or 'refused'

    def get(self, name: str) -> object:
        request = GetParameters.Request(names=[name])
        response = self._client.call(GetParameters, 'get_parameters', request)
        return parameter_value_to_python(response.values[0])

    def type_of(self, name: str) -> int:
        """Return the type that a parameter is described with, see ParameterType."""
        request = DescribeParameters.Request(names=[name])
        response = self._client.call(DescribeParameters, 'describe_parameters', request)
        return response.descriptors[0].type

    def _state(self) -> State:
        return self._client.call(GetState, 'get_state', GetState.Request()).current_state
