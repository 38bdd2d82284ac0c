"""
The managed node: receive in one thread, fuse in another, publish.

    unconfigured --configure--> inactive (model loaded) --activate--> active (subscribed)

With ``autostart`` (the default) it takes both steps by itself; without, a lifecycle manager does.
"""

from collections.abc import Callable
from functools import wraps
import signal
import sys
from threading import Lock
from time import monotonic
import traceback
from typing import Any
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
from tdfusion_ros.core.errors import FrameError
from tdfusion_ros.core.errors import FusionError
from tdfusion_ros.core.pairing import Pair
from tdfusion_ros.core.pipeline import Pipeline
from tdfusion_ros.diagnostics import Counters
from tdfusion_ros.diagnostics import judge
from tdfusion_ros.inputs import Inputs
from tdfusion_ros.inputs import make_pairer
from tdfusion_ros.inputs import STEADY
from tdfusion_ros.outputs import diagnostic_array
from tdfusion_ros.outputs import Outputs
from tdfusion_ros.worker import Worker


class Job(NamedTuple):
    """
    A pair on its way to the worker.

    :param arrived: monotonic time at which its later message came in [s].
    :param inputs: where it came from; once these are released, nobody wants its result.
    """

    pair: Pair
    arrived: float
    inputs: Inputs


def _told(callback: Callable) -> Callable:
    """Log what a transition raises: rclpy would make it a failed one without a word."""

    @wraps(callback)
    def telling(self: 'FusionNode', state: LifecycleState) -> TransitionCallbackReturn:
        try:
            return callback(self, state)
        except Exception:
            if self.context.ok():  # else a signal closed it, and this is a consequence
                self.get_logger().fatal(f'{callback.__name__}: {traceback.format_exc()}')
            raise

    return telling


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
        self._gate = Lock()  # between publishing in the worker's thread and deactivating
        self._engine = ''
        self._diagnostics = self.create_publisher(DiagnosticArray, '/diagnostics', 10)

    def autostart(self) -> bool:
        """Configure and activate; return whether both succeeded."""
        done = TransitionCallbackReturn.SUCCESS
        return self.trigger_configure() == done and self.trigger_activate() == done

    @_told
    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Read parameters, load the model; on a fault say what to do and stay unconfigured."""
        try:
            self._config = parameters.read(self, self._refused)
            self._counters = Counters()
            self._pairer = make_pairer(self._config.sync)
            self._worker = Worker(
                lambda: build_pipeline(self._config, self.get_logger().info), self._fuse
            )
            pipeline = self._worker.start()
        except FusionError as error:
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

    @_told
    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribe; no frame from before a pause finds a partner after it."""
        self._pairer = make_pairer(self._config.sync)
        self._inputs = Inputs(self, self._config, self._pairer, self._counters, self._enqueue)
        self._timer = self.create_timer(
            self._config.diagnostics_period_s, self._diagnose, clock=STEADY
        )
        return super().on_activate(state)

    @_told
    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop receiving; the model stays loaded."""
        self._release_inputs()
        return super().on_deactivate(state)

    @_told
    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Release the model."""
        self._release_all()
        return TransitionCallbackReturn.SUCCESS

    @_told
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
            for cause, number in self._pairer.dropped.items():
                self._counters.count(f'dropped.{cause}', number)
            with self._gate:
                self._inputs = self._timer = None

    def _release_all(self) -> None:
        self._release_inputs()
        if self._worker is not None and not self._worker.stop():
            self.get_logger().error('the worker did not end within 10 s')
        if self._outputs is not None:
            self._outputs.destroy()
        self._worker = self._outputs = None

    def _enqueue(self, pair: Pair, arrived: float) -> None:
        if self._worker.put(Job(pair, arrived, self._inputs)):
            self._counters.count('dropped.busy')

    def _fuse(self, pipeline: Pipeline, job: Job) -> None:
        """Run in the worker's thread; whatever goes wrong costs this pair only."""
        try:
            begun = monotonic()
            fused = self._outputs.wants_fused()
            result = pipeline.process(job.pair.rgb, job.pair.ir, fused=fused)
            processed = monotonic()
            with self._gate:
                if job.inputs is not self._inputs:  # deactivated meanwhile
                    return
                self._outputs.publish(result, job.pair.rgb, job.inputs.camera_info('rgb'))
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
            self._counters.sample('publish_ms', (done - processed) * 1e3)
            self._counters.sample('latency_ms', (done - job.arrived) * 1e3)

    def _diagnose(self) -> None:
        status = judge(
            self._counters, self._pairer.dropped, self._config.input_timeout_s, self._engine
        )
        self._diagnostics.publish(diagnostic_array(self, status, self._config.model))


def main(args: list[str] | None = None) -> int:
    """Run the node until it is interrupted; the exit status is 1 if it could not start."""
    node = None
    interrupts = interrupt_once()
    try:
        rclpy.init(args=args)
        node = FusionNode()
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        if node.get_parameter('autostart').value and not node.autostart():
            return 1 if rclpy.ok() else 0
        executor.spin()
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except RuntimeError:  # RCLError is one: a signal may close the context in the midst of a call
        if rclpy.ok():
            raise
    finally:
        # rclpy may wake this thread before the signal reaches Python: then it comes only now.
        interrupts.append(0)
        if node is not None:
            node.destroy_node()
        rclpy.try_shutdown()
    return 0


def interrupt_once() -> list[int]:
    """
    Let the first SIGINT or SIGTERM raise KeyboardInterrupt, and no other.

    :returns: the signals so far; once there is anything in it, none raises any more.

    ``ros2 launch`` sends SIGINT twice; the second must not disturb an orderly end. rclpy's own
    handlers call these and wake the executor.
    """
    seen: list[int] = []

    def interrupt(number: int, frame: Any) -> None:
        seen.append(number)
        if len(seen) == 1:
            raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupt)
    return seen


if __name__ == '__main__':
    sys.exit(main())
