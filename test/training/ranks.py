"""
What one of several processes computes from its share of a batch, written to a file of its own.

    python -m torch.distributed.run --standalone --nproc_per_node 2 ranks.py FOLDER DATA

Without torchrun, ``everything`` is what a single process computes.
"""

from dataclasses import replace
from functools import partial
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
from training.data.datasets import open_dataset
from training.method import meta
from training.method import task_networks
from training.method.loss_net import LossNetConfig
from training.method.loss_net import LossNetRT
from training.method.optimization import descend
from training.method.task_networks import detect
from training.method.task_networks import segment
from training.train import main
from training.train import train

TINY = {'widths': (4, 4, 8, 8, 8), 'repeats': (0, 0, 1, 0, 0), 'neck': 8, 'head': 8}


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
    return Batch(('',) * 4, *map(distributed.share, (rgb, rgb[:, :1], boxes, ids, valid)))


def hardly_labeled():
    """Return ``labeled`` with a single object that is worth less than one point."""
    batch = labeled()
    small = torch.tensor([17.0, 17.0, 23.0, 23.0]).expand(batch.boxes_xyxy.shape)
    valid = torch.zeros_like(batch.valid)
    valid[0, 0] = distributed.rank() == 0
    return replace(batch, boxes_xyxy=small, valid=valid)


def networks():
    """Return F, G and a small convolutional task network, in float64."""
    torch.manual_seed(1)
    fusion = FusionRT(FusionRTConfig(width=4, depth=2))
    loss_net = LossNetRT(LossNetConfig('affine', width=4, depth=2))
    torch.nn.init.normal_(loss_net.head.weight, std=0.3)
    layers = torch.nn.Conv2d(1, 4, 3), torch.nn.Tanh(), torch.nn.Conv2d(4, 1, 3)
    return fusion.double(), loss_net.double(), torch.nn.Sequential(*layers).double()


def gradients_of(network, loss):
    """Return the gradients of a step, by parameter name."""
    descend(torch.optim.SGD(network.parameters(), lr=0.0), network, loss)
    return {name: p.grad for name, p in network.named_parameters()}


def fusion_gradients():
    fusion, loss_net, _ = networks()
    pair = images(3)
    maps = loss_net(*pair).detach()
    return gradients_of(fusion, loss_net.loss(fusion(*pair), pair, maps, 1.0)['loss'])


def detection_step(batch, training):
    """Return the gradients; in training mode, BatchNorm's running means in their place."""
    torch.manual_seed(2)
    detector = Detector(DetectorConfig(**TINY)).train(training)
    gradients = gradients_of(detector, detect(detector, batch.rgb, batch)['loss'])
    means = {name: b for name, b in detector.named_buffers() if name.endswith('running_mean')}
    return means if training else gradients


def segmentation_gradients():
    """Return the gradients if some rows have fewer labeled pixels than others."""
    torch.manual_seed(3)
    segmenter, batch = torch.nn.Conv2d(3, 2, 4, stride=4), labeled()
    mask = (torch.rand(4, 64, 64) < 0.5).long()
    mask[0, :50] = 255
    mask[2] = 255
    batch = replace(batch, mask=distributed.share(mask))
    return gradients_of(segmenter, segment(segmenter, batch.rgb, batch)['loss'])


def meta_gradients(method, tasks=2, prior_strength=0.5):
    """Return the gradient for G; the prior needs a mean over all processes."""
    fusion, loss_net, task_network = networks()
    seen = images(5)
    losses = [
        lambda fuse: task_network(fuse(*seen)).square().mean(),
        lambda fuse: (task_network(fuse(*seen)) - 0.3).abs().mean(),
    ][:tasks]
    settings = {'prior_strength': prior_strength}
    if method == 'pixel':
        return meta.pixel_gradient(fusion, loss_net, losses, LearnedTask(**settings))[0]
    settings |= {'combine': 'normalized'}
    arguments = (fusion, loss_net, [images(3), images(4)], losses)
    factors = meta.constant_preconditioner(fusion, 0.05)
    return meta.meta_gradient(*arguments, precondition=factors, config=LearnedTask(**settings))[0]


def everything():
    """Return all gradients by the name of what they are of."""
    found = {
        'fusion': fusion_gradients(),
        'detection': detection_step(labeled(), training=False),
        'detection of little': detection_step(hardly_labeled(), training=False),
        'segmentation': segmentation_gradients(),
        'statistics': detection_step(labeled(), training=True),
        'plain pixel': meta_gradients('pixel', tasks=1, prior_strength=0.0),
        **{f'meta {method}': meta_gradients(method) for method in ('adam', 'pixel')},
    }
    return {f'{what}: {name}': g for what, part in found.items() for name, g in part.items()}


def fusion_settings(run, data):
    settings = f'run={run} data={data} steps=2 batch=2 crop_hw=[32,32] threads=1 device=cpu'
    return f'{settings} fusion_width=4 fusion_depth=2'.split()


def trained(run, data):
    """Train all networks for some steps; return the fusion network of this process."""
    task_networks.DetectorConfig = partial(DetectorConfig, **TINY)
    settings = {'steps': 3, 'batch': 4, 'crop_hw': (32, 64), 'meta_every': 2, 'device': 'cpu'}
    settings |= {'threads': 1, 'warmup_steps': 1, 'validate_every': 2, 'save_every': 2}
    config = LearnedTask(data=data, run=run, **settings)
    return train(config, list(open_dataset(data, 'train'))).state_dict()


if __name__ == '__main__':
    torch.set_num_threads(1)
    folder, data = sys.argv[1:]
    distributed.start(torch.device('cpu'))
    tensors = {**everything(), **trained(f'{folder}/learned', data)}
    save_file(
        {name: value.contiguous() for name, value in tensors.items()},
        Path(folder) / f'{distributed.rank()}.safetensors',
    )
    main(fusion_settings(f'{folder}/two', data))
