"""The picture that shows how far a run is: a pair by day and one by night, fused."""

from collections.abc import Mapping
from collections.abc import Sequence

import torch
from torch import nn
from torch import Tensor

from tdfusion_ros.nets.blocks import recolor
from training.data.augmentation import Batch
from training.data.augmentation import collate
from training.data.augmentation import crop_resize
from training.data.datasets import Sample
from training.data.sampling import lights_of
from training.method.losses import pair_of
from training.method.losses import sources_of


def panel_batch(samples: Sequence[Sample], size_hw: tuple[int, int]) -> Batch:
    """Return the center of the first pair by day, by night and of unknown light, as available."""
    lights = lights_of(samples)
    height, width = size_hw
    crops = []
    for index in sorted({lights.index(light) for light in lights}):
        sample = samples[index]
        y0, x0 = (sample.ir.shape[0] - height) // 2, (sample.ir.shape[1] - width) // 2
        crops.append(crop_resize(sample, (x0, y0, x0 + width, y0 + height), size_hw))
    return collate(crops)


@torch.no_grad()
def draw_panel(networks: Mapping[str, nn.Module], batch: Batch) -> Tensor | None:
    """Return rgb, ir, fused, maps of G side by side, a row a pair, (3, H, W); None without F."""
    if 'fusion' not in networks:
        return None
    pair = pair_of(batch)
    images = [batch.rgb, batch.ir, recolor(batch.rgb, networks['fusion'](*pair))]
    if 'loss_net' in networks:
        maps = networks['loss_net'](*sources_of(pair))
        images += maps.sigmoid().split(1, 1)
    rows = torch.cat([image.expand(-1, 3, -1, -1) for image in images], 3)
    return torch.cat(list(rows), 1)
