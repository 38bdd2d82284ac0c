"""
The managed node: receive in one thread, fuse in another, publish.

    unconfigured --configure--> inactive (model loaded) --activate--> active (subscribed)

With ``autostart`` (the default) it takes both steps by itself; without, a lifecycle manager does.
"""

import sys
from time import monotonic
from typing import NamedTuple

from diagnostic_msgs.msg import DiagnosticArray
import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode
from rclpy.lifecycle import LifecycleState
from rclpy.lifecycle import TransitionCallbackReturn

from tdfusion_ros import parameters
from tdfusion_ros.build import build_pipeline
from tdfusion_ros.core.errors import ConfigError
from tdfusion_ros.core.errors import FrameError
from tdfusion_ros.core.errors import FusionError
from tdfusion_ros.core.pairing import Pair
from tdfusion_ros.core.pipeline import Pipeline
from tdfusion_ros.diagnostics import Counters
from tdfusion_ros.diagnostics import judge
from tdfusion_ros.inputs import Inputs
from tdfusion_ros.inputs import make_pairer
from tdfusion_ros.outputs import diagnostic_array
from tdfusion_ros.outputs import Outputs
from tdfusion_ros.worker import Worker


class Job(NamedTuple):
    """A pair on its way to the worker; ``arrived`` is when its later message came in [s]."""

    pair: Pair
    arrived: float


class FusionNode(LifecycleNode):
    """Fuse rgb/image_raw and ir/image_raw; see the README for topics and parameters."""

    def __init__(self, **kwargs) -> None:
        super().__init__('tdfusion', **kwargs)
        self._refused = parameters.declare(self)
        self._counters = Counters()
        self._config = None
        self._pairer = None
        self._worker = None
        self._inputs = None
        self._outputs = None
        self._timer = None
        self._engine = ''
        self._diagnostics = self.create_publisher(DiagnosticArray, '/diagnostics', 10)
        self.failure = ''

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Read parameters, load the model; on a fault say what to do and stay unconfigured."""
        try:
            if self._refused:
                raise ConfigError('parameter ' + '; '.join(self._refused))
            self._config = parameters.read(self)
            self._counters = Counters()
            self._pairer = make_pairer(self._config.sync)
            self._worker = Worker(
                lambda: build_pipeline(self._config, self.get_logger().info), self._fuse
            )
            pipeline = self._worker.start()
        except FusionError as error:
            self.failure = str(error)
            self.get_logger().error(f'cannot start: {error}')
            self._worker = None
            return TransitionCallbackReturn.FAILURE
        self._engine = pipeline.backend.name
        self._outputs = Outputs(self, self._config, pipeline.contract.classes)
        self.get_logger().info(
            f"model '{pipeline.contract.name}' on {self._engine}, classes "
            f'{", ".join(pipeline.contract.classes)}'
        )
        return TransitionCallbackReturn.SUCCESS

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribe."""
        self._inputs = Inputs(self, self._config, self._pairer, self._counters, self._enqueue)
        self._timer = self.create_timer(self._config.diagnostics_period_s, self._diagnose)
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop receiving; the model stays loaded."""
        self._release_inputs()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Release the model."""
        self._release_all()
        return TransitionCallbackReturn.SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Release everything, from whatever state."""
        self._release_all()
        return TransitionCallbackReturn.SUCCESS

    def destroy_node(self) -> None:
        """End the worker before the node's publishers go."""
        self._release_all()
        super().destroy_node()

    def _release_inputs(self) -> None:
        if self._inputs is not None:
            self._inputs.destroy()
            self.destroy_timer(self._timer)
            self._inputs = self._timer = None

    def _release_all(self) -> None:
        self._release_inputs()
        if self._worker is not None and not self._worker.stop():
            self.get_logger().error('the worker did not end within 10 s')
        if self._outputs is not None:
            self._outputs.destroy()
        self._worker = self._outputs = None

    def _enqueue(self, pair: Pair, arrived: float) -> None:
        if self._worker.put(Job(pair, arrived)):
            self._counters.count('dropped.busy')

    def _fuse(self, pipeline: Pipeline, job: Job) -> None:
        """Run in the worker's thread; whatever goes wrong costs this pair only."""
        try:
            begun = monotonic()
            result = pipeline.process(job.pair.rgb, job.pair.ir)
            fused = monotonic()
            inputs, outputs = self._inputs, self._outputs
            if inputs is None or outputs is None:  # deactivated meanwhile
                return
            outputs.publish(result, job.pair.rgb, inputs.camera_info('rgb'))
            done = monotonic()
        except FrameError as error:
            self._counters.count(f'dropped.{error.cause}')
            self.get_logger().warn(
                f'pair dropped ({error.cause}): {error}', throttle_duration_sec=5.0
            )
        except Exception as error:  # a robot must see the next pair; the count is in diagnostics
            self._counters.count('exceptions')
            self.get_logger().error(
                f'pair dropped (exception): {error!r}', throttle_duration_sec=5.0
            )
        else:
            self._counters.tick('pairs')
            for stage, ns in result.stage_ns.items():
                self._counters.sample(f'{stage}_ms', ns / 1e6)
            self._counters.sample('queue_ms', (begun - job.arrived) * 1e3)
            self._counters.sample('publish_ms', (done - fused) * 1e3)
            self._counters.sample('latency_ms', (done - job.arrived) * 1e3)

    def _diagnose(self) -> None:
        status = judge(
            self._counters, self._pairer.dropped, self._config.input_timeout_s, self._engine
        )
        self._diagnostics.publish(diagnostic_array(self, status, self._config.model))


def main(args: list[str] | None = None) -> int:
    """Run the node until it is interrupted; the exit status is 1 if it could not start."""
    rclpy.init(args=args)
    node = None
    try:
        node = FusionNode()
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        if not node.has_parameter('autostart') or node.get_parameter('autostart').value:
            node.trigger_configure()
            if not node.failure:
                node.trigger_activate()
            if node.failure:
                return 1
        executor.spin()
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        if node is not None:
            node.destroy_node()
        rclpy.try_shutdown()
    return 0


if __name__ == '__main__':
    sys.exit(main())
