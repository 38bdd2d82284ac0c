"""
The managed node: receive in one thread, fuse in another, publish.

    unconfigured --configure--> inactive (model loaded) --activate--> active (subscribed)

With ``autostart`` (the default) it takes both steps itself; otherwise a lifecycle manager does.

The way of an image, in order; the last three are in the worker's thread:

    Inputs._receive      decode a message to a frame, check it, pair it (core/synchronizer.py)
    Receiving._submit    add settings and calibration of this moment to the pair; limit the rate
    Worker.put           replace the pair that waits, if the last one is not fused yet
    Receiving._fuse      ask which outputs have subscribers
    Pipeline.steps       scale ir, register, run the network, find, measure and track objects
    Outputs.publish      make and publish the messages that have subscribers
"""

from collections.abc import Callable
from contextlib import ExitStack
from functools import wraps
import traceback
from typing import Any

from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.lifecycle import LifecycleNode
from rclpy.lifecycle import LifecycleNodeMixin
from rclpy.lifecycle import LifecycleState
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.node import Node

from tdfusion_ros.core.config import FusionConfig
from tdfusion_ros.core.errors import FusionError
from tdfusion_ros.node.configured import configure
from tdfusion_ros.node.configured import Configured
from tdfusion_ros.node.diagnostics import ERROR
from tdfusion_ros.node.diagnostics import OK
from tdfusion_ros.node.diagnostics_publisher import DiagnosticsPublisher
from tdfusion_ros.node.parameters import Parameters
from tdfusion_ros.node.receiving import Idle
from tdfusion_ros.node.receiving import Receiving
from tdfusion_ros.node.services import create_services
from tdfusion_ros.node.services import survive_impossible_transitions

SUCCESS = TransitionCallbackReturn.SUCCESS
Transition = Callable[['FusionNode', LifecycleState], TransitionCallbackReturn]


def _log_errors(callback: Transition) -> Transition:
    """Log what a transition raises: rclpy would only report a failed transition."""

    @wraps(callback)
    def wrapped(self: 'FusionNode', state: LifecycleState) -> TransitionCallbackReturn:
        try:
            return callback(self, state)
        except Exception as error:
            self._diagnostics.set_status(ERROR, f'{callback.__name__} failed: {error!r}')
            if self.context.ok():  # else a signal shut ROS down, and this is a consequence
                self.get_logger().fatal(f'{callback.__name__}: {traceback.format_exc()}')
            raise

    return wrapped


class FusionNode(LifecycleNode):
    """Fuse rgb/image_raw and ir/image_raw; see docs/interface.md and docs/parameters.md."""

    _configured: Configured  # from on_configure to on_cleanup

    def __init__(self, **kwargs: Any) -> None:
        Node.__init__(self, 'tdfusion', **kwargs)
        # Not LifecycleNode's: its group would let nothing answer while a model is loaded.
        group = ReentrantCallbackGroup()
        LifecycleNodeMixin.__init__(
            self, enable_communication_interface=True, callback_group=group
        )
        survive_impossible_transitions(self)
        self._fusion_parameters = Parameters(self)
        self._diagnostics = DiagnosticsPublisher(self, FusionConfig().diagnostics_period_s)
        self._resources = ExitStack()
        self._receiving: Idle | Receiving = Idle()
        self._is_active, self._is_enabled = False, True
        self._threads = create_services(
            self,
            enable=self._enable,
            reset_sync=lambda: self._receiving.reset_sync(),
            save_pair=lambda: self._receiving.save_pair(),
        )

    def autostart(self) -> bool:
        """Configure and activate; return whether both succeeded."""
        return self.trigger_configure() == SUCCESS and self.trigger_activate() == SUCCESS

    @_log_errors
    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Read the parameters and load the model; on an error log it and stay unconfigured."""
        try:
            self._configured = configure(self, self._fusion_parameters, self._diagnostics)
        except FusionError as error:
            self.get_logger().error(f'cannot start: {error}')
            self._diagnostics.set_status(ERROR, f'cannot start: {error}')
            self._diagnostics.publish()
            return TransitionCallbackReturn.FAILURE
        self._resources.callback(self._configured.close)
        self._update_receiving()
        return SUCCESS

    @_log_errors
    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribe; frames from before a pause are never paired."""
        self._is_active = True
        self._update_receiving()
        return super().on_activate(state)

    @_log_errors
    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Unsubscribe; the model stays loaded."""
        self._is_active = False
        self._update_receiving()
        return super().on_deactivate(state)

    @_log_errors
    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Release the model."""
        self._release()
        return SUCCESS

    @_log_errors
    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Release everything, from any state."""
        self._release()
        return SUCCESS

    def destroy_node(self) -> None:
        """Release everything before the node's publishers are destroyed."""
        self._release()
        self._threads.shutdown(wait=False)
        super().destroy_node()

    def _update_receiving(self) -> None:
        """Receive exactly while the node is active and enabled."""
        if self._is_active and self._is_enabled:
            if not self._receiving.is_receiving:
                self._receiving = Receiving(self._configured)
            return
        self._stop_receiving()
        message = 'paused by ~/enable' if self._is_active else 'configured, but not active'
        self._diagnostics.set_status(OK, message)

    def _stop_receiving(self) -> None:
        self._receiving.close()
        self._receiving = Idle()

    def _release(self) -> None:
        self._is_active = False
        self._stop_receiving()
        self._resources.close()

    def _enable(self, on: bool) -> str:
        self._is_enabled = on
        if self._is_active:
            self._update_receiving()
        if not on:
            what = 'unsubscribed from the cameras, the model stays loaded'
            return f'paused: {what if self._is_active else "does not receive when it is active"}'
        return 'fusing' if self._is_active else 'enabled: starts when the node is active'
