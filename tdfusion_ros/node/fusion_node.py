"""
The managed node: receive in one thread, fuse in another, publish.

    unconfigured --configure--> inactive (model loaded) --activate--> active (subscribed)

With ``autostart`` (the default) it takes both steps by itself; without, a lifecycle manager does.
"""

from collections.abc import Callable
from functools import wraps
import sys
from threading import Lock
from time import monotonic
import traceback
from typing import NamedTuple

import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode
from rclpy.lifecycle import LifecycleState
from rclpy.lifecycle import TransitionCallbackReturn

from tdfusion_ros.build import build_pipeline
from tdfusion_ros.core.config import FusionConfig
from tdfusion_ros.core.errors import FrameError
from tdfusion_ros.core.errors import FusionError
from tdfusion_ros.core.errors import RequestError
from tdfusion_ros.core.pipeline import Pipeline
from tdfusion_ros.core.postprocess import wanted_classes
from tdfusion_ros.core.synchronizer import FramePair
from tdfusion_ros.node.counters import Counters
from tdfusion_ros.node.counters import ERROR
from tdfusion_ros.node.counters import OK
from tdfusion_ros.node.diagnostics_publisher import Reporter
from tdfusion_ros.node.inputs import Inputs
from tdfusion_ros.node.inputs import make_synchronizer
from tdfusion_ros.node.outputs import Outputs
from tdfusion_ros.node.parameters import Parameters
from tdfusion_ros.node.rate_limit import RateLimit
from tdfusion_ros.node.services import Saver
from tdfusion_ros.node.services import Services
from tdfusion_ros.node.signals import ignore
from tdfusion_ros.node.signals import interrupt_once
from tdfusion_ros.node.worker import Worker


class Job(NamedTuple):
    """
    A match on its way to the worker.

    :param arrived: monotonic time at which its last message came in [s].
    :param inputs: where it came from; once these are released, nobody wants its result.
    :param config: as it was when the match came; live settings change between two pairs.
    """

    match: FramePair
    arrived: float
    inputs: Inputs
    config: FusionConfig


def _told(callback: Callable) -> Callable:
    """Log what a transition raises: rclpy would make it a failed one without a word."""

    @wraps(callback)
    def telling(self: 'FusionNode', state: LifecycleState) -> TransitionCallbackReturn:
        try:
            return callback(self, state)
        except Exception as error:
            self._reporter.stand(ERROR, f'{callback.__name__} failed: {error!r}')
            if self.context.ok():  # else a signal closed it, and this is a consequence
                self.get_logger().fatal(f'{callback.__name__}: {traceback.format_exc()}')
            raise

    return telling


class FusionNode(LifecycleNode):
    """Fuse rgb/image_raw and ir/image_raw; see the README for topics and parameters."""

    def __init__(self, **kwargs) -> None:
        super().__init__('tdfusion', **kwargs)
        self._settings = Parameters(self)
        self._counters = Counters()
        self._config = FusionConfig()
        self._worker = None
        self._inputs = None
        self._outputs = None
        self._rate = RateLimit(0.0)
        self._active, self._wanted = False, True
        self._last: Job | None = None
        self._gate = Lock()  # between publishing in the worker's thread and deactivating
        self._saver = Saver()
        self._reporter = Reporter(self, self._config.diagnostics_period_s)
        Services(self, self._enable, self._reset_sync, self._save_pair)

    def autostart(self) -> bool:
        """Configure and activate; return whether both succeeded."""
        done = TransitionCallbackReturn.SUCCESS
        return self.trigger_configure() == done and self.trigger_activate() == done

    @_told
    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Read parameters, load the model; on a fault say what to do and stay unconfigured."""
        try:
            self._config = config = self._settings.read()
            self._counters = Counters()
            make_synchronizer(config)  # for what it refuses
            self._reporter.configure(self._counters)
            report = self._reporter.engine_says
            self._worker = Worker(lambda: build_pipeline(config, report), self._fuse)
            # The executor waits here, for minutes where an engine is built: nobody else would
            # publish diagnostics meanwhile.
            pipeline = self._worker.start(self._reporter.publish, config.diagnostics_period_s)
        except FusionError as error:
            self.get_logger().error(f'cannot start: {error}')
            self._reporter.stand(ERROR, f'cannot start: {error}')
            self._reporter.publish()
            self._worker = None
            return TransitionCallbackReturn.FAILURE
        self._configured(pipeline)
        return TransitionCallbackReturn.SUCCESS

    def _configured(self, pipeline: Pipeline) -> None:
        config, contract = self._config, pipeline.contract
        self._settings.hold(
            config, lambda other: wanted_classes(other.class_filter, contract.classes)
        )
        self._reporter.configured(pipeline, config.model, config.diagnostics_period_s)
        self._reporter.stand(OK, 'configured, but not active')
        self._outputs = Outputs(self, config, contract.classes)
        self._rate = RateLimit(config.max_rate_hz)
        self.get_logger().info(
            f"model '{contract.name}' on {pipeline.backend.name}, classes "
            f'{", ".join(contract.classes)}'
        )

    @_told
    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribe; no frame from before a pause finds a partner after it."""
        self._active = True
        self._subscribe()
        return super().on_activate(state)

    @_told
    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop receiving; the model stays loaded."""
        self._active = False
        self._release_inputs()
        self._reporter.stand(OK, 'configured, but not active')
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

    def _subscribe(self) -> None:
        if not self._active or self._inputs is not None:
            return
        if not self._wanted:
            self._reporter.stand(OK, 'paused by ~/enable')
        else:
            self._inputs = Inputs(self, self._config, self._counters, self._enqueue)
            self._reporter.receive(self._inputs, self._config.input_timeout_s)

    def _release_inputs(self) -> None:
        if self._inputs is not None:
            self._inputs.destroy()
            with self._gate:
                self._inputs = self._last = None

    def _release_all(self) -> None:
        self._active = False
        self._release_inputs()
        self._settings.release()
        if self._worker is not None:
            self._reporter.unconfigured()
        if self._worker is not None and not self._worker.stop():
            self.get_logger().error('the worker did not end within 10 s: the engine hangs')
        if self._outputs is not None:
            self._outputs.destroy()
        self._worker = self._outputs = None

    def _enable(self, on: bool) -> str:
        self._wanted = on
        if not on:
            self._release_inputs()
        self._subscribe()
        if not on:
            return 'paused: the cameras are not subscribed, the model stays loaded'
        return 'fusing' if self._active else 'enabled; fuses as soon as the node is active'

    def _reset_sync(self) -> str:
        if self._inputs is None:
            raise RequestError('nothing to forget: the node does not receive; activate or enable')
        self._inputs.reset()
        return 'waiting frames, learned periods and stalls are forgotten'

    def _save_pair(self) -> str:
        if self._last is None:
            raise RequestError('there is no pair yet; look at /diagnostics for the reason')
        match, infos = self._last.match, self._last.inputs.camera_infos()
        path = self._saver.save(match, self._config, infos, self._reporter.facts)
        return f'{path}, a pair that came {monotonic() - self._last.arrived:.1f} s ago'

    def _enqueue(self, match: FramePair, arrived: float) -> None:
        if config := self._settings.changed():
            self._config = config
            self._rate = RateLimit(config.max_rate_hz)
            self._outputs.announce(config.score_threshold)
        job = Job(match, arrived, self._inputs, self._config)
        if match.mode == 'fused':
            self._last = job
        if not self._rate.admits():
            self._counters.count('dropped.rate')
        elif self._worker.put(job):
            self._counters.count('dropped.busy')

    def _fuse(self, pipeline: Pipeline, job: Job) -> None:
        """Run in the worker's thread; whatever goes wrong costs this pair only."""
        try:
            begun = monotonic()
            pipeline.reconfigure(job.config)
            fused = self._outputs.wants_fused()
            result = pipeline.process_pair(job.match, fused=fused)
            processed = monotonic()
            with self._gate:
                if job.inputs is not self._inputs:  # deactivated meanwhile
                    return
                self._outputs.publish(result, job.match, job.inputs.camera_info)
                done = monotonic()
                self._outputs.publish_times(job.match, done - job.arrived)
        except FrameError as error:
            self._counters.count(f'dropped.{error.cause}')
            self._counters.note('last.inference', f'pair dropped ({error.cause}): {error}')
            self.get_logger().warn(
                f'pair dropped ({error.cause}): {error}', throttle_duration_sec=5.0
            )
        except Exception as error:  # a robot must see the next pair; the count is in diagnostics
            if not rclpy.ok():
                return  # a signal ended ROS in the midst of publishing
            self._counters.count('exceptions')
            self._counters.note('last.inference', f'pair dropped (exception): {error!r}')
            self.get_logger().error(
                f'pair dropped (exception): {error!r}', throttle_duration_sec=5.0
            )
        else:
            self._counters.note('last.inference', '')
            self._counters.tick('pairs' if job.match.mode == 'fused' else job.match.mode)
            for stage, ns in result.stage_ns.items():
                self._counters.sample(f'{stage}_ms', ns / 1e6)
            self._counters.sample('queue_ms', (begun - job.arrived) * 1e3)
            self._counters.sample('publish_ms', (done - processed) * 1e3)
            self._counters.sample('latency_ms', (done - job.arrived) * 1e3)


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
        interrupts.append(0)  # as below
        if rclpy.ok():
            raise
    finally:
        # rclpy may wake this thread before the signal reaches Python: then it comes only now.
        interrupts.append(0)
        if node is not None:
            node.destroy_node()
        rclpy.try_shutdown()
        ignore()
    return 0


if __name__ == '__main__':
    sys.exit(main())
