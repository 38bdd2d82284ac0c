"""
What one of several processes computes from its share of a batch, written to a file of its own.

    python -m torch.distributed.run --standalone --nproc_per_node 2 ranks.py FOLDER RUN DATA

Run without torchrun, it is the single process to compare with.
"""

from dataclasses import replace
from pathlib import Path
import sys

from safetensors.torch import save_file
import torch

from tdfusion_ros.nets.detector import Detector
from tdfusion_ros.nets.detector import DetectorConfig
from tdfusion_ros.nets.fusion_rt import FusionRT
from tdfusion_ros.nets.fusion_rt import FusionRTConfig
from training import distributed
from training.config import LearnedTask
from training.data.augmentation import Batch
from training.data.datasets import load_samples
from training.method.combine import normalized
from training.method.loss_net import LossNetRT
from training.method.losses import fusion_loss
from training.method.meta import constant_preconditioner
from training.method.meta import meta_gradient
from training.method.meta import MetaConfig
from training.method.meta import pixel_gradient
from training.method.tasks import descend
from training.method.tasks import detect
from training.method.tasks import segment
from training.train import train

TINY = DetectorConfig(widths=(4, 4, 8, 8, 8), repeats=(0, 0, 1, 0, 0), neck=8, head=8)


def images(seed):
    """Return this process's rows of luma and infrared, (4, 1, 32, 32) in all."""
    generator = torch.Generator().manual_seed(seed)
    both = (torch.rand(4, 1, 32, 32, generator=generator, dtype=torch.float64) for _ in range(2))
    return tuple(distributed.share(image) for image in both)


def labeled():
    """Return this process's rows of a batch: one has no object, one has two."""
    generator = torch.Generator().manual_seed(7)
    boxes = torch.tensor([[8.0, 8.0, 40.0, 56.0], [20.0, 4.0, 60.0, 44.0]]).expand(4, 2, 4)
    valid = torch.tensor([[True, True], [True, False], [True, False], [False, False]])
    rgb = torch.rand(4, 3, 64, 64, generator=generator)
    ids = torch.tensor([[0, 1], [2, 0], [1, 0], [0, 0]])
    rows = (distributed.share(tensor) for tensor in (rgb, rgb[:, :1], boxes, ids, valid))
    return Batch(('',) * 4, *rows)


def networks():
    """Return F, G and a small convolutional task, in float64."""
    torch.manual_seed(1)
    fusion, loss_net = FusionRT(FusionRTConfig(width=8, depth=3)), LossNetRT(width=8, depth=3)
    torch.nn.init.normal_(loss_net.head.weight, std=0.3)
    judge = torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3), torch.nn.Tanh(), torch.nn.Conv2d(4, 1, 3)
    )
    return fusion.double(), loss_net.double(), judge.double()


def gradients_of(network):
    return {name: p.grad for name, p in network.named_parameters()}


def fusion_gradients():
    fusion, loss_net, _ = networks()
    pair = images(3)
    weight = loss_net(*pair).detach()
    optimizer = torch.optim.SGD(fusion.parameters(), lr=0.0)
    descend(optimizer, fusion, fusion_loss(fusion(*pair), *pair, weight)['loss'])
    return gradients_of(fusion)


def detection_gradients(batch):
    torch.manual_seed(2)
    detector = Detector(TINY).eval()
    optimizer = torch.optim.SGD(detector.parameters(), lr=0.0)
    descend(optimizer, detector, detect(detector, batch.rgb, batch)['loss'])
    return gradients_of(detector)


def hardly_labeled():
    """Return as ``labeled``, with a single object that is worth less than one point."""
    batch = labeled()
    small = torch.tensor([17.0, 17.0, 23.0, 23.0]).expand(batch.boxes_xyxy.shape)
    valid = torch.zeros_like(batch.valid)
    valid[0, 0] = distributed.rank() == 0
    return replace(batch, boxes_xyxy=small, valid=valid)


def segmentation_gradients():
    """Return the gradients if labeled pixels are not spread equally over the rows."""
    torch.manual_seed(3)
    segmenter, batch = torch.nn.Conv2d(3, 2, 4, stride=4), labeled()
    mask = (torch.rand(4, 64, 64) < 0.5).long()
    mask[0, :50] = 255
    mask[2] = 255
    batch = replace(batch, mask=distributed.share(mask))
    optimizer = torch.optim.SGD(segmenter.parameters(), lr=0.0)
    descend(optimizer, segmenter, segment(segmenter, batch.rgb, batch)['loss'])
    return gradients_of(segmenter)


def statistics():
    """Return BatchNorm's running statistics after a step in training mode."""
    torch.manual_seed(2)
    detector, batch = Detector(TINY).train(), labeled()
    optimizer = torch.optim.SGD(detector.parameters(), lr=0.0)
    descend(optimizer, detector, detect(detector, batch.rgb, batch)['loss'])
    return {name: b for name, b in detector.named_buffers() if name.endswith('running_mean')}


def meta_gradients(method):
    """Return the gradient for G: two tasks, two steps ahead, the pull that needs a mean signal."""
    fusion, loss_net, judge = networks()
    seen = images(5)

    def mean_task(fuse):
        return judge(fuse(*seen)).square().mean()

    def other_task(fuse):
        return (judge(fuse(*seen)) - 0.3).abs().mean()

    if method == 'pixel':
        result = pixel_gradient(fusion, loss_net, [mean_task, other_task], MetaConfig(pull=0.5))
    else:
        result = meta_gradient(
            fusion,
            loss_net,
            [images(3), images(4)],
            [mean_task, other_task],
            precondition=constant_preconditioner(fusion, 0.05),
            config=MetaConfig(
                pull=0.5, combine=normalized, difference=method == 'central difference'
            ),
        )
    return result.gradient


def plain_pixel_gradient():
    fusion, loss_net, judge = networks()
    seen = images(5)
    judges = [lambda fuse: judge(fuse(*seen)).square().mean()]
    return pixel_gradient(fusion, loss_net, judges, MetaConfig()).gradient


def everything():
    """Return all gradients by the name of what they are of."""
    found = {
        'fusion': fusion_gradients(),
        'detection': detection_gradients(labeled()),
        'detection of little': detection_gradients(hardly_labeled()),
        'segmentation': segmentation_gradients(),
        'statistics': statistics(),
        'plain pixel': plain_pixel_gradient(),
        **{f'meta {way}': meta_gradients(way) for way in ('adam', 'pixel', 'central difference')},
    }
    return {f'{what}: {name}': g for what, part in found.items() for name, g in part.items()}


def trained(run, data):
    """Train all networks for some steps; return those of this process."""
    config = LearnedTask(
        data=data,
        run=run,
        steps=4,
        batch=4,
        crop_hw=(64, 64),
        warmup_steps=1,
        meta_every=2,
        validate_every=2,
        save_every=3,
        threads=1,
        device='cpu',
    )
    return train(config, load_samples(data, 'train')).state_dict()


if __name__ == '__main__':
    torch.set_num_threads(1)
    folder, run, data = sys.argv[1:]
    distributed.start(torch.device('cpu'))
    tensors = {**everything(), **trained(run, data)}
    save_file(
        {name: value.contiguous() for name, value in tensors.items()},
        Path(folder) / f'{distributed.rank()}.safetensors',
    )
    distributed.finish()
