"""
Time and memory of one meta step: closed form and double backward with the networks of the paper.

    python test/training/oracle/meta_cost.py [CROP]

Each way runs in a process of its own, so that its peak memory is its own.
"""

from pathlib import Path
import resource
import subprocess
import sys
import time

WAYS = ('double_backward', 'closed_form')


def measure(way, crop):
    """Print seconds and MiB above the start of one step; batch 2, the task reads 128x160."""
    import torch

    sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[3])]
    from oracle.double_backward import double_backward
    from tdfusion_ros.nets.blocks import luma
    from tdfusion_ros.nets.detector import Detector
    from tdfusion_ros.nets.fusion_paper import FusionPaper
    from training.config import LearnedTask
    from training.data.augmentation import Batch
    from training.method.learned import task_loss
    from training.method.loss_net import LossNetPaper
    from training.method.meta import constant_preconditioner
    from training.method.meta import meta_gradient

    torch.manual_seed(0)
    fusion, loss_net, detector = FusionPaper(), LossNetPaper(), Detector().eval()
    pair = (luma(torch.rand(2, 3, crop, crop)), torch.rand(2, 1, crop, crop))
    boxes = torch.tensor([[[10.0, 10.0, 60.0, 90.0]]] * 2)
    ids, valid = torch.zeros(2, 1, dtype=torch.int64), torch.ones(2, 1, dtype=torch.bool)
    images = (torch.rand(2, 3, 128, 160), torch.rand(2, 1, 128, 160))
    task = task_loss(detector, Batch(('a', 'b'), *images, boxes, ids, valid))
    precondition = constant_preconditioner(fusion, 1e-4)
    config = LearnedTask(prior_strength=0.0)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start_s = time.perf_counter()
    if way == 'double_backward':
        double_backward(fusion, loss_net, [pair], [task], precondition, config)
    else:
        meta_gradient(fusion, loss_net, [pair], [task], precondition=precondition, config=config)
    seconds = time.perf_counter() - start_s
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(f'{way:<16} crop {crop}: {seconds:6.1f} s, {peak / 1024:8.0f} MiB')


if __name__ == '__main__':
    if len(sys.argv) > 2:
        measure(sys.argv[1], int(sys.argv[2]))
    else:
        size = sys.argv[1] if len(sys.argv) > 1 else '128'
        for name in WAYS:
            subprocess.run([sys.executable, __file__, name, size], check=True)
