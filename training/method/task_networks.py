"""The task networks that teach the fusion loss: what each one learns from, and what it judges."""

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from contextlib import contextmanager

import torch
from torch import nn
from torch import Tensor

from tdfusion_ros.core.errors import ConfigError
from tdfusion_ros.nets.blocks import luma
from tdfusion_ros.nets.detector import Detector
from tdfusion_ros.nets.detector import DetectorConfig
from training.config import TrainConfig
from training.data.augmentation import Batch
from training.distributed import world_size
from training.method.meta import Fuse
from training.method.meta import Pair
from training.method.meta import TaskLoss
from training.method.segmentation import Segmenter
from training.method.tasks import box_classes
from training.method.tasks import descend
from training.method.tasks import detect
from training.method.tasks import fast_on_cpu
from training.method.tasks import load_detector
from training.method.tasks import Losses
from training.method.tasks import make_segmenter
from training.method.tasks import segment
from training.method.tasks import with_colors

TEACHERS = {
    'detection': ('detector',),
    'segmentation': ('segmenter',),
    'both': ('detector', 'segmenter'),
}
Teacher = Detector | Segmenter
LossOf = Callable[..., Losses]
LOSS: dict[str, LossOf] = {'detector': detect, 'segmenter': segment}


def pair_of(batch: Batch) -> Pair:
    """Return what F and G read."""
    return luma(batch.rgb), batch.ir


def make_teachers(config: TrainConfig, device: torch.device) -> dict[str, dict[str, Teacher]]:
    """
    Return the networks that teach, those of runs or fresh ones, by kind and name.

    :raises FusionError: if the data lack what one of them learns from.
    """
    several = world_size() > 1 and config.task_networks == 'both'
    if several and config.method == 'pixel' and config.combine != 'sum':
        raise ConfigError(
            f'combine={config.combine} with method=pixel compares gradients of all pixels, and '
            'these lie in several processes: take another method, combine=sum, or one process'
        )
    make: dict[str, Callable[[TrainConfig], Teacher]] = {
        'detector': make_detector,
        'segmenter': make_segmenter,
    }
    suffixes = ('_a', '_b') if config.parts == 2 else ('',)
    return {
        kind: {f'{kind}{suffix}': make[kind](config).to(device) for suffix in suffixes}
        for kind in TEACHERS[config.task_networks]
    }


def make_detector(config: TrainConfig) -> Detector:
    """Return a detector for the classes of the data: that of a run, or a fresh one."""
    classes = box_classes(config)
    if config.detector:
        detector = load_detector(config.detector, classes)
    else:
        detector = Detector(DetectorConfig(len(classes)))
    fast_on_cpu(detector.train())
    return detector


def kind_of(name: str) -> str:
    """Return the kind of a network of a run; ``detector_a`` is a detector."""
    return name.partition('_')[0]


def loss_of(kind: str, teacher: Teacher, fused: Tensor, batch: Batch, amp: bool = False) -> Tensor:
    """Return the loss of one teacher on a fused luma, (B, 1, H, W)."""
    image = with_colors(batch, fused, teacher.config.inputs)
    return LOSS[kind](teacher, image, batch, amp)['loss']


@contextmanager
def judging(network: nn.Module) -> Iterator[None]:
    """Keep statistics as they are and nothing dropped, so that every batch is judged alike."""
    before = network.training
    network.eval()
    try:
        yield
    finally:
        network.train(before)


def judge(kind: str, teachers: Sequence[Teacher], parts: Sequence[Batch]) -> TaskLoss:
    """
    Return the mean loss of the teachers of a kind as a function of how images are fused.

    Each judges the part of the batch that the other one learns from. What a network knows by heart
    it finds in any fusion, and its gradient there is noise: if a fused image follows infrared
    more, the loss falls by 0.037 ± 0.012 where the detector does not know it, and by 0.000 ± 0.010
    where it does (``test/training/oracle/by_heart.py``).
    """

    def task_loss(fuse: Fuse) -> Tensor:
        losses = []
        for teacher, part in zip(teachers, reversed(parts), strict=True):
            fused = fuse(*pair_of(part))
            with judging(teacher):
                losses.append(loss_of(kind, teacher, fused, part))
        return torch.stack(losses).mean()

    return task_loss


def learn(
    kind: str,
    teachers: Mapping[str, Teacher],
    optimizers: Mapping[str, torch.optim.Optimizer],
    parts: Sequence[Batch],
    fused: Sequence[Tensor],
    *,
    amp: bool,
) -> Tensor:
    """Let every teacher of a kind learn from its own part of the batch; return the mean loss."""
    losses = []
    for (name, teacher), part, image in zip(teachers.items(), parts, fused, strict=True):
        loss = loss_of(kind, teacher, image, part, amp)
        descend(optimizers[name], teacher, loss)
        losses.append(loss.detach())
    return torch.stack(losses).mean()
