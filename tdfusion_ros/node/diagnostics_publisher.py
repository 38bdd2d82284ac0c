"""Publish the node's statuses on /diagnostics, in every state of the node."""

from collections.abc import Callable
import socket
from time import monotonic

from diagnostic_msgs.msg import DiagnosticArray
from diagnostic_msgs.msg import DiagnosticStatus
from diagnostic_msgs.msg import KeyValue
from rclpy.clock import Clock
from rclpy.clock import ClockType
from rclpy.lifecycle import Node

from tdfusion_ros.core.config import FusionConfig
from tdfusion_ros.core.contract import GRAPH_FILE
from tdfusion_ros.core.pipeline import Pipeline
from tdfusion_ros.node.counters import Counters
from tdfusion_ros.node.diagnostics import ERROR
from tdfusion_ros.node.diagnostics import evaluate
from tdfusion_ros.node.diagnostics import not_receiving
from tdfusion_ros.node.diagnostics import Status
from tdfusion_ros.node.diagnostics import WARN

LOG_PERIOD_S = 10.0  # between two warnings in the log
STARTUP_S = 10.0  # for cameras and discovery, before the first warning
# The clock of a bag does not run before it plays, after its end, or while it is paused.
STEADY = Clock(clock_type=ClockType.STEADY_TIME)


class DiagnosticsPublisher:
    """Publish the statuses periodically and on every call of :meth:`publish`."""

    def __init__(self, node: Node, period_s: float) -> None:
        self._node = node
        self._counters = Counters()
        self._publisher = node.create_publisher(DiagnosticArray, '/diagnostics', 10)
        self._set_period(period_s)
        self.set_unconfigured()

    @property
    def backend_values(self) -> dict[str, str]:
        """Return which backend runs which model."""
        return {**self._model_values, 'engine_said': self._backend_message}

    def set_unconfigured(self) -> None:
        """Forget the model and report that the node is not configured."""
        self._model_values: dict[str, str] = {}
        self._backend_message = ''
        self.set_status(WARN, 'not configured: waiting for a lifecycle manager')

    def set_loading(self, counters: Counters, period_s: float) -> None:
        """Report these counters from now on, every ``period_s`` seconds; the model is loading."""
        self._counters = counters
        self._node.destroy_timer(self._timer)
        self._set_period(period_s)
        self.set_status(WARN, 'loading the model')
        self.publish()

    def set_model(self, pipeline: Pipeline, model: str) -> None:
        self._model_values = {
            'backend': pipeline.backend.name,
            'engine': pipeline.backend.engine,
            'model': model,
            'model_sha256': pipeline.contract.sha256[GRAPH_FILE][:16],
        }

    def _set_period(self, period_s: float) -> None:
        self._timer = self._node.create_timer(period_s, self.publish, clock=STEADY)

    def set_backend_message(self, message: str) -> None:
        """Report and log a message of the backend; callable from any thread."""
        self._backend_message = message
        self._node.get_logger().info(message)

    def set_status(self, level: int, message: str) -> None:
        """Report from now on why the node does not receive."""

        def statuses() -> list[Status]:
            is_loading = level == WARN and self._backend_message
            text = f'{message}: {self._backend_message}' if is_loading else message
            values = self.backend_values | self._counters.values()
            return not_receiving(level, text, values)

        self._statuses = statuses

    def set_receiving(self, update: Callable[[], None], config: FusionConfig) -> None:
        """Evaluate the counters from now on, each time after a call of ``update``."""
        self._counters.restart_rates()
        quiet_until = monotonic() + max(config.input_timeout_s, STARTUP_S)

        def statuses() -> list[Status]:
            update()
            out = evaluate(self._counters, config, self.backend_values)
            problems = [f'{s.name}: {s.message}' for s in out if s.level in (WARN, ERROR)]
            if problems and monotonic() > quiet_until:
                text = '; '.join(problems)
                self._node.get_logger().warn(text, throttle_duration_sec=LOG_PERIOD_S)
            return out

        self._statuses = statuses

    def publish(self) -> None:
        """Publish all statuses now, named as by diagnostic_updater: ``node: subject``."""
        out = DiagnosticArray()
        out.header.stamp = self._node.get_clock().now().to_msg()
        out.status = [
            DiagnosticStatus(
                level=bytes([status.level]),
                name=f'{self._node.get_fully_qualified_name()}: {status.name}',
                message=status.message,
                hardware_id=socket.gethostname(),
                values=[KeyValue(key=k, value=v) for k, v in status.values.items()],
            )
            for status in self._statuses()
        ]
        self._publisher.publish(out)
