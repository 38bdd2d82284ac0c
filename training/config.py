"""What a training run may choose: a frozen dataclass, a YAML file, ``key=value`` overrides."""

from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import asdict
from dataclasses import dataclass
from dataclasses import fields
from pathlib import Path
from typing import Any

import yaml

from tdfusion_ros.core.config import setting
from tdfusion_ros.core.errors import ConfigError

CHOICES = {
    'task': ('fusion', 'learned', 'imitation', 'detection', 'segmentation'),
    'source': ('fused', 'ir', 'rgb', 'average', 'maximum', 'early'),
    'network': ('fusion_rt', 'fusion'),
    'fusion_scale': (2, 4),
    'loss_net': ('rt', 'paper'),
    'method': ('adam', 'pixel', 'paper'),
    'teacher': ('detection', 'segmentation', 'both'),
    'combine': ('sum', 'normalized', 'pcgrad'),
    'segmenter_channels': (1, 3),
    'device': ('auto', 'cpu', 'cuda'),
}
HOW = ('threads', 'device', 'workers', 'save_every', 'panel_every')
"""How a run is carried out, not what it is: it may go on with others of these."""


@dataclass(frozen=True)
class TrainConfig:
    """Every choice of a training run; the run folder keeps a copy."""

    task: str = setting(
        'fusion',
        'What to train: fusion (fixed loss), learned (fusion by the learned loss), imitation (of '
        'another fusion network), detection or segmentation.',
    )
    source: str = setting(
        'fused',
        'What the task reads: fused, ir, rgb, average or maximum of both, or early (both).',
    )
    data: str = setting('../shared/data/msrs_det', 'Folder of the data set.')
    split: str = setting('train', 'Name of the split file to train on.')
    limit: int = setting(0, 'Use only the first pairs of each split; 0 means all.')
    run: str = setting('runs/fusion', 'Folder that receives weights, settings and log.')
    fusion: str = setting(
        '', 'Run folder of a fusion network: frozen before a task, else what to start from.'
    )
    imitate: str = setting('', 'Run folder of the fusion network to imitate (task imitation).')
    detector: str = setting(
        '', 'Run folder of the detector to start from (task learned); it should not know the data.'
    )
    segmenter: str = setting('', 'Run folder of the segmenter to start from (task learned).')
    segmenter_channels: int = setting(
        3, 'Channels that the segmenter reads: 3, or 1 (luma alone, as in the paper).'
    )
    teacher: str = setting(
        'detection', 'What teaches the learned loss: detection, segmentation, or both.'
    )
    cross_fit: bool = setting(
        True, 'Two teachers of each kind: each learns from one half of the data, judges the other.'
    )
    first_lesson: int = setting(0, 'Step of the first lesson of G; the teachers learn before it.')
    combine: str = setting(
        'sum', 'How both teachers become one: sum, normalized (each of unit norm), or pcgrad.'
    )
    network: str = setting('fusion_rt', 'Fusion network to train: fusion_rt, or fusion (paper).')
    fusion_width: int = setting(16, 'Channels of the hidden layers of fusion_rt.')
    fusion_depth: int = setting(8, 'Convolutions of fusion_rt, the head included.')
    fusion_scale: int = setting(2, 'Resolution of the hidden layers of fusion_rt: 1/2 or 1/4.')
    loss_net: str = setting('rt', 'Loss generator: rt (plain convolutions), or paper.')
    method: str = setting(
        'adam', 'How G learns: adam (look-ahead by Adam steps), pixel (no F), paper (plain SGD).'
    )
    squared: bool = setting(False, 'Square the weights in the loss, as the released code does.')
    difference: bool = setting(False, 'Central difference in place of forward-mode derivatives.')
    pull: float = setting(0.5, 'Strength of the pull of w towards 1/2; 0: as in the paper.')
    look_ahead: int = setting(1, 'Steps of F that G looks ahead.')
    meta_every: int = setting(4, 'Steps between two lessons of G.')
    meta_lr: float = setting(1e-3, 'Highest learning rate of G.')
    detector_lr: float = setting(5e-4, 'Highest learning rate of the detector (task learned).')
    segmenter_lr: float = setting(1e-4, 'Highest learning rate of the segmenter (task learned).')
    steps: int = setting(6000, 'Number of optimizer steps.')
    batch: int = setting(4, 'Crops per step.')
    crop_hw: tuple[int, int] = setting((256, 256), 'Height and width of a crop [px].')
    views: int = setting(
        0,
        'Different batches, then the same ones again; what an imitated network makes of each is '
        'kept in memory. 0: all differ.',
    )
    scale_range: tuple[float, float] = setting((0.7, 1.3), 'Random magnification of a crop.')
    mosaic: float = setting(0.0, 'Share of crops that are put together from four images.')
    photometric: float = setting(1.0, 'Strength of the random brightness, contrast, gamma.')
    stretch: float = setting(
        0.0,
        'Share of crops whose infrared fills all gray levels, as that of a 16-bit camera does on '
        'the robot.',
    )
    invert: float = setting(0.5, 'Share of these in which what is warm is dark.')
    modality_dropout: float = setting(
        0.0, 'Share of crops of which one camera is black, as where its stream stalls.'
    )
    lr: float = setting(2e-3, 'Highest learning rate (AdamW).')
    warmup_steps: int = setting(200, 'Steps of linear warm-up before the cosine decay.')
    weight_decay: float = setting(0.01, 'Decay of convolution weights; none on biases and norms.')
    ema_decay: float = setting(0.998, 'Decay of the running average of the weights that is kept.')
    gradient_weight: float = setting(1.0, 'Weight of the gradient term of the fusion loss.')
    seed: int = setting(0, 'Seed of initialization and augmentation.')
    save_every: int = setting(250, 'Steps between two states from which the run can go on.')
    panel_every: int = setting(500, 'Steps between two panels of images; 0: never.')
    validate_every: int = setting(
        0, 'Steps between two looks at the averaged weights, of which the best are kept; 0: never.'
    )
    validate_split: str = setting(
        'val', 'Split by which the best are chosen: measure on another split than this one.'
    )
    device: str = setting('auto', 'Where networks run: cpu, cuda, or auto: cuda if there is one.')
    amp: bool = setting(
        False, 'Run networks in bfloat16 (autocast); losses and the meta-step stay in float32.'
    )
    workers: int = setting(
        -1, 'Threads that prepare batches ahead; 0: none; -1: none on the CPU, else up to 8.'
    )
    threads: int = setting(2, 'CPU threads of torch.')

    def __post_init__(self) -> None:
        for name in ('crop_hw', 'scale_range'):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        for name, known in CHOICES.items():
            if getattr(self, name) not in known:
                raise ConfigError(
                    f'{name} must be one of {", ".join(map(str, known))}, '
                    f'got {getattr(self, name)!r}'
                )
        if any(size % 32 for size in self.crop_hw):
            raise ConfigError(f'crop_hw must be multiples of 32, got {self.crop_hw}')
        trains_task = self.task in ('detection', 'segmentation')
        if trains_task and self.source == 'fused' and not self.fusion:
            raise ConfigError('source fused needs fusion=RUN, the run folder of a fusion network')
        if self.task == 'imitation' and not self.imitate:
            raise ConfigError('task imitation needs imitate=RUN, the run folder of a network')
        least = {
            'panel_every': 0,
            'validate_every': 0,
            'workers': -1,
            'views': 0,
            'fusion_width': 1,
            'fusion_depth': 2,
        }
        for name, low in least.items():
            if getattr(self, name) < low:
                raise ConfigError(f'{name} must be {low} or more, got {getattr(self, name)}')

    @property
    def parts(self) -> int:
        """How many parts a batch has: one for each teacher of a kind."""
        return 2 if self.task == 'learned' and self.cross_fit else 1


def facts(config: TrainConfig) -> dict[str, Any]:
    """Return the settings that a run must keep to, so that it can be interrupted and go on."""
    return {name: value for name, value in asdict(config).items() if name not in HOW}


def config_from_mapping(values: Mapping[str, Any]) -> TrainConfig:
    """
    Return the configuration with ``values`` in place of the defaults.

    :raises ConfigError: if a key is unknown or a value has the wrong type.
    """
    known = {f.name: f.default for f in fields(TrainConfig)}
    for name, value in values.items():
        if name not in known:
            raise ConfigError(f'unknown setting {name!r}; known: {", ".join(sorted(known))}')
        expected = type(known[name])
        accepted = {float: (int, float), tuple: (list, tuple)}.get(expected, (expected,))
        if not isinstance(value, accepted) or isinstance(value, bool) != (expected is bool):
            raise ConfigError(f'{name} must be {expected.__name__}, got {value!r}')
    return TrainConfig(**values)


def load_config(arguments: Sequence[str]) -> TrainConfig:
    """Read command line arguments: YAML files and ``key=value``, later ones win."""
    values: dict[str, Any] = {}
    for argument in arguments:
        if '=' in argument:
            name, _, text = argument.partition('=')
            values[name] = _number(yaml.safe_load(text)) if text else ''
        else:
            loaded = yaml.safe_load(Path(argument).read_text(encoding='utf-8')) or {}
            values.update({name: _number(value) for name, value in loaded.items()})
    return config_from_mapping(values)


def _number(value: Any) -> Any:
    """Return a number written as 1e-3, which YAML 1.1 takes for a string, as a float."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value
