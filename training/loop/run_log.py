"""What a run writes while it trains: log.jsonl, validation.jsonl, panels/ and TensorBoard."""

from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from contextlib import contextmanager
from contextlib import ExitStack
import json
from pathlib import Path
import sys
from typing import Any
from typing import TextIO

import torch
from torch import nn
from torch import Tensor

from tdfusion_ros.atomic import output_errors
from tdfusion_ros.atomic import write_file
from tdfusion_ros.formats.image_files import write_image
from tdfusion_ros.nets.blocks import recolor
from training.data.augmentation import Batch
from training.data.augmentation import collate
from training.data.augmentation import crop_resize
from training.data.batches import lights_of
from training.data.datasets import Sample
from training.method.losses import sources_of

PANEL = 'rgb, ir, fused, w'


class RunLog:
    """The open files of a run."""

    def __init__(self, folder: Path, logs: Mapping[str, TextIO], board: Any) -> None:
        self._folder = folder
        self._logs = logs
        self._board = board  # a SummaryWriter, or None

    def losses(self, step: int, values: Mapping[str, float]) -> None:
        """Add the losses of a step."""
        self._write('log', step, values)

    def validation(self, step: int, split: str, values: Mapping[str, float]) -> None:
        """Add the result of the averaged networks on a split after a step."""
        self._write('validation', step, values, f'{split}/')

    def panel(self, step: int, image: Tensor | None) -> None:
        """Add a picture, (3, H, W) in [0, 1], if there is one."""
        if image is None:
            return
        path = self._folder / 'panels' / f'{step:06}.png'
        path.parent.mkdir(exist_ok=True)
        levels = (image * 255).round().byte().permute(1, 2, 0).cpu().numpy()
        write_image(path, levels)
        if self._board:
            self._board.add_image(PANEL, image, step)

    def flush(self) -> None:
        """Write what is still in memory, so that an interrupted run has it."""
        with output_errors(self._folder):
            for file in (*self._logs.values(), self._board):
                if file is not None:
                    file.flush()

    def _write(self, name: str, step: int, values: Mapping[str, float], prefix: str = '') -> None:
        self._logs[name].write(json.dumps({'step': step, **values}) + '\n')
        if self._board:
            for key, value in values.items():
                self._board.add_scalar(f'{prefix}{key}', value, step)


@contextmanager
def open_run_log(folder: Path, lines: Mapping[str, int]) -> Iterator[RunLog]:
    """Open the log of a run; keep so many lines of each file, up to its last saved state."""
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        logs = {
            name: stack.enter_context(_open_lines(folder / f'{name}.jsonl', kept))
            for name, kept in lines.items()
        }
        try:
            from torch.utils.tensorboard import SummaryWriter

            board = SummaryWriter(str(folder), purge_step=lines['log'] or None)
            stack.callback(board.close)
        except ImportError:
            print('tensorboard is not installed: all values are in log.jsonl', file=sys.stderr)
            board = None
        yield RunLog(folder, logs, board)


def _open_lines(path: Path, count: int) -> TextIO:
    text = path.read_text(encoding='utf-8') if path.is_file() else ''
    write_file(path, ''.join(text.splitlines(keepends=True)[:count]))
    return path.open('a', encoding='utf-8')


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
    pair = batch.pair
    images = [batch.rgb, batch.ir, recolor(batch.rgb, networks['fusion'](*pair))]
    if 'loss_net' in networks:
        maps = networks['loss_net'](*sources_of(pair))
        images += maps.sigmoid().split(1, 1)
    rows = torch.cat([image.expand(-1, 3, -1, -1) for image in images], 3)
    return torch.cat(list(rows), 1)
