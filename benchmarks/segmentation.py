"""
Compare inputs of segmentation by a small head on a frozen backbone, in a table of IoU.

    python -m benchmarks.segmentation yolox_nano.onnx --data DATA --fusion runs/direct --seeds 0 1

A backbone trained on COCO reads each input, rgb, ir, average, maximum and the fused images of
runs and bundles, as they are: it is not trained. Only a head that turns its features into classes
is, for minutes on a CPU, with the same settings and seeds for all inputs. IoU is therefore lower
than that of a segmenter trained as a whole (``config/train/segmenter.yaml``), but it says which
image shows the classes to a network that never saw a fused one.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm

from tdfusion_ros.atomic import write_json
from tdfusion_ros.compose.class_names import COCO
from tdfusion_ros.core.errors import FusionError
from tdfusion_ros.nets.segmenter import enlarge
from tdfusion_ros.nets.yolox import LEVELS
from tdfusion_ros.nets.yolox import WIDTHS
from tdfusion_ros.nets.yolox import Yolox
from training import shell
from training.data.datasets import DataSet
from training.data.datasets import open_dataset
from training.measure import metrics
from training.measure.inputs import Input
from training.measure.inputs import open_input
from training.measure.inputs import SIMPLE
from training.measure.tables import markdown_table
from training.method.pretrained import load_yolox
from training.method.segmentation import segmentation_loss

Features = list[Tensor]
"""Of strides 4, 8, 16 and 32, (1, C, h, w) float16: a whole data set fits in memory."""
CHANNELS = 48
BATCH = 4
LR = 2e-3


class Head(nn.Module):
    """Sum projections of all strides at stride 4, look at neighbors, classify."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.project = nn.ModuleList(nn.Conv2d(width, CHANNELS, 1) for width in WIDTHS[1:])
        self.mix = nn.Sequential(
            nn.BatchNorm2d(CHANNELS),
            nn.SiLU(),
            nn.Conv2d(CHANNELS, CHANNELS, 5, padding=2, groups=CHANNELS),
            nn.Conv2d(CHANNELS, CHANNELS, 1),
            nn.BatchNorm2d(CHANNELS),
            nn.SiLU(),
            nn.Conv2d(CHANNELS, classes, 1),
        )

    def forward(self, features: Features) -> Tensor:
        """Return logits, (B, classes, H / 4, W / 4)."""
        size_hw = (features[0].shape[-2], features[0].shape[-1])
        projected = [p(f.float()) for p, f in zip(self.project, features, strict=True)]
        return self.mix(sum(enlarge(level, size_hw) for level in projected))


@torch.inference_mode()
def backbone_features(backbone: Yolox, rgb: np.ndarray) -> Features:
    """Return the features of an (H, W, 3) uint8 image, extended to multiples of 32."""
    image = torch.from_numpy(rgb).permute(2, 0, 1)[None].float()
    below, right = (-side % 32 for side in image.shape[-2:])
    image = functional.pad(image, (0, right, 0, below), mode='replicate')
    x, features = backbone.stem(image / 255 * LEVELS), []
    for stage in backbone.stages:
        x = stage(x)
        features.append(x.half())
    return features


def read_features(
    backbone: Yolox, data: DataSet, read: Input
) -> tuple[list[Features], list[np.ndarray]]:
    """Return the features and the masks of all pairs that have a mask."""
    features, masks = [], []
    for sample in tqdm(data, unit='pair', disable=None):
        if sample.mask is not None:
            features.append(backbone_features(backbone, *read(sample)))
            masks.append(sample.mask)
    return features, masks


def train_head(
    features: Sequence[Features], masks: Sequence[np.ndarray], classes: int, steps: int
) -> Head:
    """Train a head; seed torch before."""
    head = Head(classes)
    optimizer = torch.optim.AdamW(head.parameters(), LR, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LR, total_steps=steps)
    order = torch.cat([torch.randperm(len(masks)) for _ in range(-(-steps * BATCH // len(masks)))])
    for step in tqdm(range(steps), disable=None):
        chosen = order[step * BATCH : (step + 1) * BATCH].tolist()
        levels = [torch.cat(level) for level in zip(*(features[i] for i in chosen), strict=True)]
        # At stride 4, as the logits are: a sixteenth of the cost.
        truth = torch.from_numpy(np.stack([masks[i][2::4, 2::4] for i in chosen])).long()
        logits = head(levels)[..., : truth.shape[-2], : truth.shape[-1]]
        optimizer.zero_grad()
        segmentation_loss(logits, truth)['loss'].backward()
        optimizer.step()
        schedule.step()
    return head.eval()


@torch.inference_mode()
def measure(
    head: Head, features: Sequence[Features], masks: Sequence[np.ndarray], classes: int
) -> np.ndarray:
    """Return the IoU of each class over all pixels, (classes,); NaN if it does not occur."""
    counts = np.zeros((classes, classes), np.int64)
    for levels, mask in zip(features, masks, strict=True):
        logits = head(levels)
        whole = enlarge(logits, (logits.shape[-2] * 4, logits.shape[-1] * 4))[0].argmax(0)
        found = whole[: mask.shape[0], : mask.shape[1]].numpy()
        counts += metrics.count_pixels(mask, found, classes)
    return metrics.class_scores(counts)['IoU']


def main(arguments: Sequence[str] | None = None) -> None:
    """Train and measure all heads, print the table."""
    parser = shell.parser('benchmarks.segmentation', __doc__)
    add = parser.add_argument
    add('pretrained', metavar='YOLOX', help='ONNX file of YOLOX-Nano')
    add('--data', required=True, help='data set with masks and the splits train and val')
    add('--inputs', nargs='*', default=[*SIMPLE], choices=SIMPLE, help='default: all')
    add('--fusion', nargs='*', default=[], metavar='PATH', help='fusion runs and bundles')
    add('--seeds', nargs='+', type=int, default=[0], help='default: 0')
    add('--steps', type=int, default=400, help='default: 400')
    add('-o', '--output', type=Path, help='JSON file to write')
    options = parser.parse_args(arguments)
    backbone = load_yolox(options.pretrained, COCO)
    train, val = (open_dataset(options.data, split) for split in ('train', 'val'))
    names = train.mask_classes
    if not names:
        raise FusionError(f'{options.data} has no masks: name a data set with masks')
    result, rows = {}, []
    for name in (*options.inputs, *options.fusion):
        read = open_input(name)
        learned, tested = (read_features(backbone, data, read) for data in (train, val))
        found = []
        for seed in options.seeds:
            torch.manual_seed(seed)
            head = train_head(*learned, len(names), options.steps)
            found.append(measure(head, *tested, len(names)))
        result[name] = dict(zip(map(str, options.seeds), np.round(found, 4).tolist(), strict=True))
        means = [metrics.mean_of_known(one) for one in found]
        spread = f' ± {np.std(means, ddof=1):.3f}' if len(means) > 1 else ''
        cells = [f'{np.mean(means):.3f}{spread}', *(f'{v:.3f}' for v in np.mean(found, 0))]
        rows.append([name, *cells])
        print(markdown_table(['input', 'mIoU', *names], rows[-1:]), flush=True)
    print(f'{options.data}, {options.steps} steps, seeds {options.seeds}')
    print(markdown_table(['input', 'mIoU', *names], rows))
    write_json(options.output, {'classes': list(names), 'IoU': result})


if __name__ == '__main__':
    shell.run('segmentation', main)
