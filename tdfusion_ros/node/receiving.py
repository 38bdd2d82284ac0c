"""What the node does with images: receive pairs and fuse them, or nothing."""

from collections.abc import Callable
from dataclasses import asdict
from dataclasses import dataclass
from threading import Lock
from time import monotonic

import rclpy

from tdfusion_ros.core.calibration import Calibration
from tdfusion_ros.core.config import FusionConfig
from tdfusion_ros.core.config import TF
from tdfusion_ros.core.errors import CalibrationError
from tdfusion_ros.core.errors import FrameError
from tdfusion_ros.core.errors import FusionError
from tdfusion_ros.core.errors import RequestError
from tdfusion_ros.core.pipeline import Pipeline
from tdfusion_ros.core.synchronizer import FramePair
from tdfusion_ros.core.temperature import SETTING
from tdfusion_ros.formats.messages import camera_info_values
from tdfusion_ros.formats.saved_pairs import save_pair
from tdfusion_ros.node.configured import Configured
from tdfusion_ros.node.inputs import Inputs
from tdfusion_ros.node.rate_limit import RateLimit
from tdfusion_ros.node.tf_calibration import TfCalibration
from tdfusion_ros.node.worker import Steps

IR_REMARKS = (
    *('is_bigendian', 'ir.normalization', 'ir.no_data', 'ir.crop'),
    *(SETTING, 'calibration'),
)
NO_PAIR = 'there is no pair yet; see /diagnostics for the reason'


class Idle:
    """The node is unconfigured, inactive or paused."""

    is_receiving = False

    def reset_sync(self) -> str:
        """Discard waiting frames and return a message; RequestError if it does not receive."""
        raise RequestError('nothing to reset: the node does not receive; activate or enable it')

    def save_pair(self) -> Callable[[], str]:
        """
        Return a function that saves the latest pair and returns a message with its path.

        It takes up to seconds, so it is for another thread. RequestError without a pair or a
        folder.
        """
        raise RequestError(NO_PAIR)

    def close(self) -> None:
        """Stop receiving; nothing is published afterwards."""


class Receiving:
    """The node is active: subscribed to the cameras. Has the methods of :class:`Idle`."""

    def __init__(self, configured: Configured) -> None:
        self._configured = configured
        self._counters = configured.counters
        self._logger = configured.node.get_logger()
        self._publish_lock = Lock()  # the worker publishes, the receiving thread closes
        self._latest: Job | None = None  # the latest fused pair, if any
        self._saved: tuple[Job | None, str] = None, ''  # the last saved pair, and its path
        self._use(configured.parameters.read())
        self._inputs = Inputs(configured.node, self._config, self._counters, self._submit)
        is_live = self._config.calibration == TF
        self._tf = TfCalibration(configured.node, self._inputs.topics) if is_live else None
        configured.diagnostics.set_receiving(self._inputs.count_losses, self._config)
        self.is_receiving = True

    def reset_sync(self) -> str:
        self._inputs.reset()
        return 'discarded the waiting frames and everything learned about both cameras'

    def save_pair(self) -> Callable[[], str]:
        job = self._latest
        if job is None:
            raise RequestError(NO_PAIR)
        infos, folder = self._inputs.camera_infos(), self._config.save_folder
        metadata = {
            'camera_info': {s: camera_info_values(info) for s, info in infos.items()},
            'model': self._configured.diagnostics.backend_values,
            'config': asdict(self._config),
        }

        def save() -> str:
            if self._saved[0] is not job:
                self._saved = job, str(save_pair(folder, job.pair, metadata))
            return f'{self._saved[1]}, received {monotonic() - job.arrived:.1f} s ago'

        return save

    def close(self) -> None:
        self._inputs.destroy()
        if self._tf:
            self._tf.destroy()
        with self._publish_lock:
            self.is_receiving = False

    def _use(self, config: FusionConfig) -> None:
        self._config = config
        self._rate_limit = RateLimit(config.max_rate_hz)
        self._has_doubted = False  # the temperatures, of these settings

    def _submit(self, pair: FramePair, arrived: float) -> None:
        """Submit a pair to the worker, with the live parameters of this moment."""
        if config := self._configured.parameters.take_changes():
            self._use(config)
            self._configured.outputs.announce(config.score_threshold)
        try:
            job = Job(self, pair, arrived, self._config, self._calibration(pair))
        except CalibrationError as error:
            self._lose(Job(self, pair, arrived, self._config), 'calibration')
            self._report(f'pair dropped (calibration): {error}', self._logger.warn)
            return
        if pair.mode == 'fused':
            self._latest = job
        if not self._rate_limit.admit():
            self._lose(job, 'rate')
        elif self._configured.worker.put(job):
            self._lose(job, 'busy')

    def _calibration(self, pair: FramePair) -> Calibration | None:
        """Return the calibration by camera_info and TF, if used, or raise CalibrationError."""
        if self._tf is None:
            return None
        return self._tf.of(pair, self._inputs.camera_infos(), self._config)

    def _lose(self, job: 'Job', cause: str) -> None:
        self._counters.count(f'dropped.{cause}')
        if job.pair.mode == 'fused':
            self._counters.count(f'lost.{cause}')

    def fuse(self, pipeline: Pipeline, job: 'Job') -> Steps:
        """Fuse and publish a pair in the worker's thread; an error costs this pair only."""
        try:
            yield from self._fuse(pipeline, job)
        except FrameError as error:
            self._lose(job, error.cause)
            self._report(f'pair dropped ({error.cause}): {error}', self._logger.warn)
        except FusionError as error:
            self._fail(job, f'pair dropped: {error}')
        except Exception as error:  # the next pair may succeed
            if rclpy.ok():  # else a signal shut ROS down while this was publishing
                self._fail(job, f'pair dropped (unexpected error): {error!r}')

    def _fail(self, job: 'Job', problem: str) -> None:
        self._counters.count('exceptions')
        if job.pair.mode == 'fused':
            self._counters.count('lost.exceptions')
        self._report(problem, self._logger.error)

    def _report(self, problem: str, log: Callable[..., object]) -> None:
        self._counters.set_problem('last.inference', problem)
        log(problem, throttle_duration_sec=5.0)

    def _fuse(self, pipeline: Pipeline, job: 'Job') -> Steps:
        started, outputs = monotonic(), self._configured.outputs
        if not outputs.wants_any():
            self._counters.tick('unsubscribed')
            self._counters.count('lost.unsubscribed', job.pair.mode == 'fused')
            return
        pipeline.reconfigure(job.config)
        if job.calibration:
            pipeline.recalibrate(job.calibration)
        wanted = {
            'fused': outputs.wants_fused(),
            'measured': outputs.wants_temperatures(job.config.ir.kelvin_per_count),
            'segmentation': outputs.wants_masks(),
        }
        result = yield from pipeline.steps(job.pair, **wanted)
        if (doubt := pipeline.remarks.get(SETTING)) and not self._has_doubted:
            self._has_doubted = True
            self._logger.warn(f'{SETTING}: {doubt}')
        processed = monotonic()
        with self._publish_lock:
            if not self.is_receiving:  # closed meanwhile
                return
            outputs.publish(result, job.pair, self._inputs.camera_infos())
            published = monotonic()
            outputs.publish_times(job.pair, published - job.arrived)
        self._counters.set_problem('last.inference', '')
        for name in IR_REMARKS:
            self._counters.set_text(name, pipeline.remarks.get(name, ''))
        self._counters.tick('pairs' if job.pair.mode == 'fused' else job.pair.mode)
        for stage, ns in result.stage_ns.items():
            self._counters.sample(f'{stage}_ms', ns / 1e6)
        self._counters.sample('queue_ms', (started - job.arrived) * 1e3)
        self._counters.sample('publish_ms', (published - processed) * 1e3)
        self._counters.sample('latency_ms', (published - job.arrived) * 1e3)


@dataclass(frozen=True, eq=False)
class Job:
    """
    A pair on its way to the worker, when it arrived [s], and the live parameters then.

    :param calibration: of that moment; None: as before.
    """

    receiving: Receiving
    pair: FramePair
    arrived: float
    config: FusionConfig
    calibration: Calibration | None = None

    def process(self, pipeline: Pipeline) -> Steps:
        """Fuse and publish the pair."""
        return self.receiving.fuse(pipeline, self)
