"""
Settings of a training run: a dataclass for each task.

A setting belongs to the tasks whose class declares or inherits it. The run folder stores all.
"""

from collections.abc import Mapping
from dataclasses import asdict
from dataclasses import dataclass
from dataclasses import field
from dataclasses import fields
from typing import Any

from tdfusion_ros.core.errors import ConfigError
from tdfusion_ros.core.setting import cast
from tdfusion_ros.core.setting import check
from tdfusion_ros.core.setting import setting

RENAMED = {'teacher': 'task_networks', 'pull': 'prior_strength', 'look_ahead': 'inner_steps'}
"""Names of settings in earlier versions, and what they are called now."""
NETWORK_RUNS = (
    *('fusion', 'imitate', 'loss', 'detector', 'frozen_detector', 'segmenter'),
    *('frozen_segmenter', 'pretrained'),
)
"""Settings that name the run folder of another network, or its file of pretrained weights."""
PATHS = ('data', 'run', *NETWORK_RUNS)
DEVICES = ('auto', 'cpu', 'cuda')
NETWORKS = ('fusion_rt', 'fusion')
EXECUTION = ('threads', 'device', 'workers', 'save_every', 'panel_every')
"""Settings that do not change what is trained: a run can continue with other values."""


@dataclass(frozen=True)
class DataConfig:
    """Settings of the data and their augmentation."""

    data: str = setting('', 'Folder of the data set (required).')
    split: str = setting('train', 'Name of the split to train on.')
    limit: int = setting(0, 'Use only the first N pairs of each split; 0: all of them.', low=0)
    crop_hw: tuple[int, int] = setting((256, 256), 'Height and width of a crop [px].')
    scale_range: tuple[float, float] = setting((0.7, 1.3), 'Random magnification of a crop.')
    mosaic: float = setting(0.0, 'Share of crops that are put together from four images.')
    photometric: float = setting(1.0, 'Strength of the random brightness, contrast, gamma.')
    stretch: float = setting(
        0.0,
        'Share of crops in which ir is stretched to all gray levels, as the robot does for a '
        '16-bit camera.',
    )
    invert: float = setting(0.5, 'Share of the stretched crops in which warm is dark.')
    misregistration_px: float = setting(
        0.0, 'Largest shift of ir against rgb, in pixels of the crop.', low=0
    )
    modality_dropout: float = setting(
        0.0, 'Share of crops in which one camera is black, as when its stream stalls.'
    )
    partial_coverage: float = setting(
        0.0, 'Share of crops in which the thermal camera sees only a part of the rgb image.'
    )


@dataclass(frozen=True)
class TrainConfig(DataConfig):
    """Settings of every task."""

    task: str = field(default='', init=False)
    run: str = setting('', 'Folder for the weights, settings and logs (required).')
    steps: int = setting(6000, 'Number of optimizer steps.', low=1)
    batch: int = setting(4, 'Crops per step.', low=1)
    lr: float = setting(2e-3, 'Highest learning rate (AdamW).')
    warmup_steps: int = setting(200, 'Steps of linear warm-up before the cosine decay.', low=0)
    weight_decay: float = setting(0.01, 'Decay of convolution weights; none on biases and norms.')
    ema_decay: float = setting(0.998, 'Decay of the running average of the weights that is kept.')
    seed: int = setting(0, 'Seed of initialization and augmentation.', low=0)
    validate_every: int = setting(
        0, 'Steps between validations of the averaged weights; the best are kept; 0: never.', low=0
    )
    validate_split: str = setting(
        'val', 'Split for validation; measure the final result on another split.'
    )
    amp: bool = setting(False, 'Run networks in bfloat16; losses and meta steps stay in float32.')
    save_every: int = setting(
        250,
        'Steps between saved states to resume from; a state is saved every minute, too.',
        low=1,
    )
    panel_every: int = setting(500, 'Steps between two panels of images; 0: never.', low=0)
    device: str = setting(
        'auto', 'Where networks run; auto: cuda if there is one, else cpu.', choices=DEVICES
    )
    workers: int = setting(
        -1, 'Threads that prepare batches; 0: none; -1: none on the CPU, else up to 8.', low=-1
    )
    threads: int = setting(2, 'CPU threads of torch.', low=1)

    def __post_init__(self) -> None:
        for f in (f for f in fields(self) if f.init):
            value = cast(f.name, getattr(self, f.name), f.default)
            check(f.name, value, f.metadata)
            object.__setattr__(self, f.name, value)
        if any(size % 32 for size in self.crop_hw):
            raise ConfigError(f'crop_hw must be multiples of 32, got {self.crop_hw}')

    def batch_number(self, step: int) -> int:
        """Return the number of the batch of a step; steps with the same number share a batch."""
        return step


@dataclass(frozen=True)
class FusionNetworkTask(TrainConfig):
    """Settings of every task that trains a fusion network."""

    fusion: str = setting(
        '', 'Run folder, or bundle, of the fusion network to start from; empty: a new one.'
    )
    network: str = setting(
        'fusion_rt', 'Network: fusion_rt (real time), or fusion (paper).', choices=NETWORKS
    )
    fusion_width: int = setting(16, 'Channels of the hidden layers of fusion_rt.', low=1)
    fusion_depth: int = setting(8, 'Convolutions of fusion_rt, the head included.', low=2)
    fusion_scale: int = setting(
        2, 'Resolution of the hidden layers of fusion_rt: 1/2 or 1/4.', choices=(2, 4)
    )
    fusion_steady: bool = setting(False, 'Compare details of fusion_rt by cell: less flicker.')
    gradient_weight: float = setting(1.0, 'Weight of the gradient term of the loss.')


@dataclass(frozen=True)
class FusionTask(FusionNetworkTask):
    """Train a fusion network on a fusion loss, and on the losses of frozen task networks."""

    task: str = field(default='fusion', init=False)
    loss: str = setting(
        '', 'Run folder of a learned loss (runs/NAME/loss_net); empty: fixed_loss.'
    )
    fixed_loss: str = setting(
        'half',
        'Loss without a learned one: half (weight 1/2 for both sources), or picture (luma where '
        'it is clear by day, elsewhere with the tone of infrared and the details of either).',
        choices=('half', 'picture'),
    )
    frozen_detector: str = setting(
        '',
        'ONNX file of YOLOX-Nano, or run folder of a detector: its loss on the fused image is '
        'added, but the detector stays as it is.',
    )
    task_weight: float = setting(0.5, 'Weight of the loss of the frozen detector.', low=0)
    frozen_segmenter: str = setting(
        '', 'Run folder of a segmenter, whose loss on the fused image is added in the same way.'
    )
    segmentation_weight: float = setting(1.0, 'Weight of its loss.', low=0)
    noise: float = setting(
        0.0,
        'Largest standard deviation of the noise that is added to the inputs, but not to what '
        'the loss compares with; intensities are in [0, 1].',
        low=0,
    )


@dataclass(frozen=True)
class LearnedTask(FusionNetworkTask):
    """Train a fusion network on a fusion loss that a loss generator learns from task losses."""

    task: str = field(default='learned', init=False)
    task_networks: str = setting(
        'detection',
        'Task networks whose losses train the loss generator.',
        choices=('detection', 'segmentation', 'both'),
    )
    detector: str = setting(
        '',
        'Frozen detector: an ONNX file of YOLOX-Nano trained on COCO, or a run folder; empty: a '
        'new one that learns along, as in the paper.',
    )
    segmenter: str = setting('', 'Run folder of the frozen segmenter; empty: a new one.')
    segmenter_channels: int = setting(
        3, 'Channels that the segmenter reads: 3, or 1 (luma, as in the paper).', choices=(1, 3)
    )
    combine: str = setting(
        'sum',
        'How the gradients of two tasks are combined: sum, normalized (unit norm each) or pcgrad.',
        choices=('sum', 'normalized', 'pcgrad'),
    )
    loss_net: str = setting(
        'affine',
        'Loss generator G: the network of the paper, or a small one that generates losses of the '
        'family weight (as the paper), affine or bands.',
        choices=('weight', 'affine', 'bands', 'paper'),
    )
    method: str = setting(
        'pixel',
        'Inner update: adam (step of Adam), paper (plain gradient descent), pixel (no inner '
        'update: the fused pixels move).',
        choices=('adam', 'pixel', 'paper'),
    )
    squared: bool = setting(False, 'Square the weights in the loss, as the released code does.')
    prior_strength: float = setting(
        5.0,
        'Strength of the prior, the fixed loss, in the meta gradient; 0: none (paper). Its '
        'inverse is the weight of the task loss beside the fixed one (method=pixel).',
    )
    inner_steps: int = setting(1, 'Steps of F in the inner update.', low=1)
    meta_every: int = setting(1, 'Steps between two meta steps.', low=1)
    meta_lr: float = setting(1e-3, 'Highest learning rate of G.')
    detector_lr: float = setting(5e-4, 'Highest learning rate of the detector.')
    segmenter_lr: float = setting(1e-4, 'Highest learning rate of the segmenter.')


@dataclass(frozen=True)
class ImitationTask(FusionNetworkTask):
    """Train a real-time fusion network to produce the images of another fusion network."""

    task: str = field(default='imitation', init=False)
    imitate: str = setting('', 'Run folder of the fusion network to imitate (required).')
    views: int = setting(
        0,
        'Number of different batches, which then repeat; the imitated images of each are kept in '
        'memory. 0: all differ.',
        low=0,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.imitate:
            raise ConfigError('task imitation needs imitate=RUN, the run folder of a network')

    def batch_number(self, step: int) -> int:
        """Return the number of the batch of a step, which repeats after ``views`` steps."""
        return step % self.views if self.views else step


@dataclass(frozen=True)
class DownstreamTask(TrainConfig):
    """Train a network on one source, or on both; the fusion network, if any, stays frozen."""

    source: str = setting(
        'fused',
        'What the network reads: fused, ir, rgb, average or maximum of both, or early (both: luma '
        'and ir, or from pretrained weights rgb and ir).',
        choices=('fused', 'ir', 'rgb', 'average', 'maximum', 'early'),
    )
    fusion: str = setting('', 'Run or bundle of the frozen fusion network (source=fused).')
    pretrained: str = setting(
        '',
        'ONNX file of YOLOX-Nano to start from, trained on COCO, or run folder, or bundle; a '
        'segmenter reads the features of this detector; empty: a new network.',
    )
    compile: bool = setting(False, 'Compile it (torch.compile), for a GPU: takes minutes.')

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.source == 'fused' and not self.fusion:
            raise ConfigError(
                'source fused needs fusion=RUN, the run folder or bundle of a fusion network; '
                'or choose source=early'
            )


@dataclass(frozen=True)
class DetectionTask(DownstreamTask):
    """Train a detector."""

    task: str = field(default='detection', init=False)
    pretrained_share: float = setting(
        0.0,
        'Share of the pretrained weights in the final ones: keeps what they know of other places '
        '(Wortsman et al., Robust fine-tuning of zero-shot models, CVPR 2022).',
        low=0.0,
        high=1.0,
    )


@dataclass(frozen=True)
class SegmentationTask(DownstreamTask):
    """Train a segmenter."""

    task: str = field(default='segmentation', init=False)


TASKS: dict[str, type[TrainConfig]] = {
    cls.task: cls
    for cls in (FusionTask, LearnedTask, ImitationTask, DetectionTask, SegmentationTask)
}


def setting_names(task: str) -> set[str]:
    """Return the names of the settings that belong to a task."""
    return {f.name for f in fields(TASKS[task]) if f.init}


def recorded_settings(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return stored settings by their current names, without settings of other tasks."""
    current = {RENAMED.get(name, name): value for name, value in values.items()}
    known = setting_names(current['task']) | {'task'}
    return {name: value for name, value in current.items() if name in known}


def result_settings(config: TrainConfig) -> dict[str, Any]:
    """Return the settings that define a result: all except ``PATHS`` and ``EXECUTION``."""
    left_out = {*PATHS, *EXECUTION}
    return {name: value for name, value in asdict(config).items() if name not in left_out}
