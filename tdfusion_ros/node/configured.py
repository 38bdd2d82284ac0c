"""What a configured node owns: the worker with the model, the outputs, the counters."""

from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from rclpy.lifecycle import Node

from tdfusion_ros.build import build_pipeline
from tdfusion_ros.core.pipeline import Pipeline
from tdfusion_ros.core.postprocess import wanted_classes
from tdfusion_ros.node.counters import Counters
from tdfusion_ros.node.diagnostics_publisher import DiagnosticsPublisher
from tdfusion_ros.node.inputs import make_synchronizer
from tdfusion_ros.node.outputs import Outputs
from tdfusion_ros.node.parameters import Parameters
from tdfusion_ros.node.worker import Worker


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
    make_synchronizer(config)  # raises ConfigError without message_filters
    diagnostics.set_loading(counters)
    worker: Worker[Any] = Worker(
        lambda: build_pipeline(config, diagnostics.set_backend_message),
        lambda pipeline, item: item.process(pipeline),
    )
    with ExitStack() as on_error:
        on_error.callback(_stop, worker, node)
        # The executor waits here, for minutes while an engine is built: its timers do not run.
        pipeline: Pipeline = worker.start(diagnostics.publish, config.diagnostics_period_s)
        contract = pipeline.contract
        outputs = Outputs(node, config, contract.classes)
        on_error.pop_all()
    parameters.lock(lambda other: wanted_classes(other.class_filter, contract.classes))
    diagnostics.set_model(pipeline, config.model, config.diagnostics_period_s)
    node.get_logger().info(
        f"model '{contract.name}' on {pipeline.backend.name}, classes "
        f'{", ".join(contract.classes)}'
    )
    return Configured(node, parameters, diagnostics, counters, worker, outputs)


def _stop(worker: Worker[Any], node: Node) -> None:
    if not worker.stop():
        node.get_logger().error('the worker did not end within 10 s: the backend hangs')
