"""What a configured node owns: the worker with the model, the outputs, the counters."""

from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass
from dataclasses import replace
from typing import Any

from rclpy.executors import ExternalShutdownException
from rclpy.lifecycle import Node

from tdfusion_ros.build import build_pipeline
from tdfusion_ros.core.config import FusionConfig
from tdfusion_ros.core.config import TF
from tdfusion_ros.core.errors import ConfigError
from tdfusion_ros.core.pipeline import Pipeline
from tdfusion_ros.core.postprocess import wanted_classes
from tdfusion_ros.node import qos
from tdfusion_ros.node.counters import Counters
from tdfusion_ros.node.diagnostics_publisher import DiagnosticsPublisher
from tdfusion_ros.node.inputs import make_synchronizer
from tdfusion_ros.node.outputs import Outputs
from tdfusion_ros.node.parameters import Parameters
from tdfusion_ros.node.tf_calibration import tf_message_type
from tdfusion_ros.node.worker import Worker

POLL_S = 0.2  # a signal wakes the executor, too, but perhaps just before it waits


@dataclass(frozen=True)
class Configured:
    """The resources of a node from configuration to cleanup."""

    node: Node
    parameters: Parameters
    diagnostics: DiagnosticsPublisher
    counters: Counters
    worker: Worker[Any]
    outputs: Outputs

    def close(self) -> None:
        """Stop the worker, then release the outputs; every parameter may be set again."""
        self.parameters.unlock()
        self.diagnostics.set_unconfigured()
        _stop(self.worker, self.node)
        self.outputs.destroy()


def configure(node: Node, parameters: Parameters, diagnostics: DiagnosticsPublisher) -> Configured:
    """Read the parameters, load the model and create the outputs; FusionError if that fails."""
    config, counters = parameters.read(), Counters()
    # Each pair brings the calibration of its moment along, if camera_info and TF give it.
    built = replace(config, calibration='') if config.calibration == TF else config
    make_synchronizer(config)  # raises ConfigError without message_filters
    if config.calibration == TF:
        tf_message_type()  # raises CalibrationError without tf2_msgs
    diagnostics.set_loading(counters, config.diagnostics_period_s)
    worker: Worker[Any] = Worker(
        lambda: build_pipeline(built, diagnostics.set_backend_message),
        lambda pipeline, item: item.process(pipeline),
        lambda pipeline: pipeline.overlap(),
    )
    with ExitStack() as on_error:
        on_error.callback(_stop, worker, node)
        parameters.lock(_refuse)
        on_error.callback(parameters.unlock)
        pipeline: Pipeline = _serve_until_done(node, worker.start())
        contract = pipeline.contract
        outputs = Outputs(node, config, contract)
        on_error.pop_all()
    for name in qos.without_effect(node):
        node.get_logger().warn(
            f'{name} has no effect: expected qos_overrides.TOPIC.ENTITY.POLICY with the full '
            'name of an image topic that this node reads (subscription) or writes (publisher)'
        )
    parameters.lock(lambda other: wanted_classes(other.class_filter, contract.classes))
    diagnostics.set_model(pipeline, config.model)
    node.get_logger().info(
        f"model '{contract.name}' on {pipeline.backend.name}, classes "
        f'{", ".join(contract.classes)}'
    )
    return Configured(node, parameters, diagnostics, counters, worker, outputs)


def _refuse(config: FusionConfig) -> None:
    raise ConfigError('no parameter can change while the model is being loaded')


def _serve_until_done(node: Node, resource: Future[Any]) -> Any:
    """
    Return a resource once it is built, which may take minutes; services answer meanwhile.

    :raises ExternalShutdownException: if a signal shuts ROS down.
    """
    executor = node.executor  # it waits for the transition that this is part of
    if executor is None:
        return resource.result()
    resource.add_done_callback(lambda _: executor.wake())
    while not resource.done():
        executor.spin_once(timeout_sec=POLL_S)
        if not node.context.ok():
            raise ExternalShutdownException
    return resource.result()


def _stop(worker: Worker[Any], node: Node) -> None:
    if not worker.stop():
        node.get_logger().error('the worker did not end within 10 s: the backend hangs')
