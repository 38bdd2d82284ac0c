"""What the node says on /diagnostics, in whatever state it is."""

from collections import Counter
from time import monotonic

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.lifecycle import Node

from tdfusion_ros.core.contract import GRAPH_FILE
from tdfusion_ros.core.pipeline import Pipeline
from tdfusion_ros.node.counters import Counters
from tdfusion_ros.node.counters import ERROR
from tdfusion_ros.node.counters import Status
from tdfusion_ros.node.counters import WARN
from tdfusion_ros.node.diagnostics import idle
from tdfusion_ros.node.diagnostics import judge
from tdfusion_ros.node.inputs import Inputs
from tdfusion_ros.node.inputs import STEADY
from tdfusion_ros.node.outputs import diagnostic_array

TROUBLE_S = 10.0  # between two warnings in the log
PATIENCE_S = 10.0  # that cameras and discovery get before the first one


class Reporter:
    """Publish how the node is doing, regularly and whenever :meth:`publish` is called."""

    def __init__(self, node: Node, period_s: float) -> None:
        self._node = node
        self._counters = Counters()
        self._inputs: Inputs | None = None
        self._timeout_s, self._since = 0.0, 0.0
        self._facts: dict[str, str] = {}
        self._said = ''
        self._publisher = node.create_publisher(DiagnosticArray, '/diagnostics', 10)
        self._timer = node.create_timer(period_s, self.publish, clock=STEADY)
        self.unconfigured()

    @property
    def facts(self) -> dict[str, str]:
        """Return what runs which model."""
        return {**self._facts, 'engine_said': self._said}

    def unconfigured(self) -> None:
        """Say so from now on."""
        self._facts, self._said = {}, ''
        self.stand(WARN, 'not configured: a lifecycle manager has to')

    def stand(self, level: int, sentence: str) -> None:
        """Say this from now on, for the node does not receive."""
        self._inputs = None
        self._standing = level, sentence

    def configure(self, counters: Counters) -> None:
        """Tell of a new start."""
        self._counters = counters
        self.stand(WARN, 'loading the model')
        self.publish()

    def configured(self, pipeline: Pipeline, model: str, period_s: float) -> None:
        """Tell what was loaded, at the period that the config wants [s]."""
        self._facts = {
            'backend': pipeline.backend.name,
            'engine': getattr(pipeline.backend, 'engine', ''),
            'model': model,
            'model_sha256': pipeline.contract.sha256[GRAPH_FILE][:16],
        }
        self._node.destroy_timer(self._timer)
        self._timer = self._node.create_timer(period_s, self.publish, clock=STEADY)

    def receive(self, inputs: Inputs, timeout_s: float) -> None:
        """Judge both streams from now on; a silence of ``timeout_s`` is told."""
        self._counters.begin()
        self._timeout_s, self._inputs, self._since = timeout_s, inputs, monotonic()

    def engine_says(self, sentence: str) -> None:
        """Keep what the engine is at, and log it; in whatever thread."""
        self._said = sentence
        self._node.get_logger().info(sentence)

    def publish(self) -> None:
        """Publish what is to be said now."""
        if self._inputs is None:
            level, sentence = self._standing
            if level == WARN and self._said:
                sentence += f': {self._said}'
            values = self.facts | self._counters.values(Counter())
            statuses = idle(level, sentence, values)
        else:
            statuses = judge(self._counters, self._inputs.dropped, self._timeout_s, self.facts)
            self._warn(statuses)
        self._publisher.publish(diagnostic_array(self._node, statuses))

    def _warn(self, statuses: list[Status]) -> None:
        """Log what is wrong with the cameras: not everybody looks at /diagnostics."""
        if monotonic() - self._since < max(self._timeout_s, PATIENCE_S):
            return  # they may still be starting
        told = [f'{s.name}: {s.message}' for s in statuses if s.level in (WARN, ERROR)]
        if told:
            self._node.get_logger().warn('; '.join(told), throttle_duration_sec=TROUBLE_S)
