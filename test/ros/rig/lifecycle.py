"""A lifecycle manager: transitions, states and parameters, over the node's services."""

from lifecycle_msgs.msg import State
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from lifecycle_msgs.srv import GetState
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter

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

    def _state(self) -> State:
        return self._client.call(GetState, 'get_state', GetState.Request()).current_state
