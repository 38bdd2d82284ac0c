"""What one sees of a run: every loss in TensorBoard, pictures of a pair by day and by night."""

from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path
import sys
from typing import Any

import cv2
import torch
from torch import nn
from torch import Tensor

from tdfusion_ros.core.errors import FusionError
from tdfusion_ros.nets.blocks import luma
from tdfusion_ros.nets.blocks import recolor
from training.data.augmentation import Batch
from training.data.augmentation import collate
from training.data.augmentation import crop_resize
from training.data.batches import lights_of
from training.data.datasets import Sample

PANEL = 'rgb, ir, fused, w'


class Board:
    """The event file in a run folder; without the tensorboard package, nothing."""

    def __init__(self, writer: Any) -> None:
        self._writer = writer

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Add the losses of a step."""
        if self._writer is not None:
            for name, value in values.items():
                self._writer.add_scalar(name, value, step)

    def panel(self, step: int, image: Tensor | None) -> None:
        """Add a picture, (3, H, W) in [0, 1], if there is one."""
        if self._writer is not None and image is not None:
            self._writer.add_image(PANEL, image, step)

    def flush(self) -> None:
        """Write what is still in memory, so that an interrupted run has it."""
        if self._writer is not None:
            self._writer.flush()


@contextmanager
def open_board(folder: Path, first: int) -> Iterator[Board]:
    """
    Open the board of a run, to go on at step ``first``: what was written later does not count.

    No error where the package is missing: all numbers are in log.jsonl anyway.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        print('tensorboard is not installed: no curves, see log.jsonl', file=sys.stderr)
        yield Board(None)
        return
    writer = SummaryWriter(str(folder), purge_step=first or None)
    try:
        yield Board(writer)
    finally:
        writer.close()


def panel_batch(samples: Sequence[Sample], size_hw: tuple[int, int]) -> Batch:
    """Return the middle of the first pair of every light, as large as a training crop."""
    lights = lights_of(samples)
    firsts = sorted({lights.index(light) for light in lights})
    return collate([_middle(samples[index], size_hw) for index in firsts])


def _middle(sample: Sample, size_hw: tuple[int, int]) -> Sample:
    height, width = size_hw
    y0, x0 = ((have - want) // 2 for have, want in zip(sample.ir.shape, size_hw, strict=True))
    return crop_resize(sample, (x0, y0, x0 + width, y0 + height), size_hw)


@torch.no_grad()
def draw_panel(networks: Mapping[str, nn.Module], batch: Batch) -> Tensor | None:
    """
    Return rgb, ir, fused and, with a loss net, w side by side, a row for each pair, (3, H, W).

    :param networks: of the task, by name; without a fusion network there is nothing to see.
    """
    if 'fusion' not in networks:
        return None
    y, ir = luma(batch.rgb), batch.ir
    images = [batch.rgb, ir, recolor(batch.rgb, networks['fusion'](y, ir))]
    if 'loss_net' in networks:
        images.append(networks['loss_net'](y, ir))
    rows = torch.cat([image.expand(-1, 3, -1, -1) for image in images], 3)
    return torch.cat(list(rows), 1)


def write_panel(path: Path, image: Tensor) -> None:
    """Write a picture, (3, H, W) in [0, 1], as a PNG file."""
    path.parent.mkdir(exist_ok=True)
    levels = (image.flip(0) * 255).round().byte().permute(1, 2, 0).cpu().numpy()
    if not cv2.imwrite(str(path), levels):
        raise FusionError(f'{path} cannot be written')
