"""
Measure a run or a bundle on a split: prints a table and, with -o, writes it as JSON.

    python -m training.evaluate --detector runs/detector_fused
    python -m training.evaluate --bundle models/msrs_rt
    python -m training.evaluate --fusion runs/fusion
"""

from argparse import ArgumentParser
from argparse import RawDescriptionHelpFormatter
from collections.abc import Callable
from collections.abc import Sequence
import json
from pathlib import Path
import sys

import numpy as np
import torch

from tdfusion_ros.backends.cpu import CpuBackend
from tdfusion_ros.core.data import Detections
from tdfusion_ros.core.errors import FusionError
from tdfusion_ros.nets.blocks import luma
from training.checkpoint import load_run
from training.checkpoint import read_description
from training.datasets import load_samples
from training.datasets import Sample
from training.losses import fusion_loss
from training.metrics import average_precision
from training.metrics import select
from training.tasks import detector_input
from training.transforms import collate

Predictor = Callable[[Sample], Detections]
Table = dict[str, dict[str, float]]


def run_predictor(run: str) -> Predictor:
    """Return a predictor made of a detector's run, which says what it reads."""
    config = read_description(run)['config']
    detector = load_run(run)
    source = config['source']
    fusion = load_run(config['fusion']) if source == 'fused' else None

    @torch.inference_mode()
    def predict(sample: Sample) -> Detections:
        boxes, logits = detector(detector_input(collate([sample]), source, fusion))
        return select(boxes[0].numpy(), logits[0].sigmoid().numpy(), sample.ir.shape)

    return predict


def bundle_predictor(folder: str) -> Predictor:
    """Return a predictor that runs the exported graph of a bundle with ONNX Runtime."""
    backend = CpuBackend((Path(folder) / 'model.onnx').read_bytes())

    def predict(sample: Sample) -> Detections:
        raw = backend.run(sample.rgb, sample.ir.astype(np.float32) / 255)
        return select(raw.boxes_xyxy, raw.scores, sample.ir.shape)

    return predict


def evaluate(predict: Predictor, samples: Sequence[Sample]) -> Table:
    """Return the average precision of ``predict`` on ``samples``."""
    return average_precision(samples, [predict(sample) for sample in samples])


@torch.inference_mode()
def evaluate_fusion(run: str, samples: Sequence[Sample]) -> Table:
    """
    Return the mean fusion loss (weight 1/2) of a run and, to compare, of doing nothing clever.

    What is compared: the network, the mean of the two sources, and each source alone.
    """
    network = load_run(run)
    rows: dict[str, list[list[float]]] = {}
    for sample in samples:
        batch = collate([sample])
        y, ir = luma(batch.rgb), batch.ir
        images = {'network': network(y, ir), 'mean': (y + ir) / 2, 'ir': ir, 'rgb': y}
        for name, image in images.items():
            losses = fusion_loss(image, y, ir, torch.tensor(0.5))
            rows.setdefault(name, []).append([value.item() for value in losses.values()])
    columns = ('loss', 'intensity', 'gradient')
    return {
        name: dict(zip(columns, np.mean(values, 0).tolist(), strict=True))
        for name, values in rows.items()
    }


def format_table(table: Table) -> str:
    """Return the table in Markdown, four digits after the point."""
    columns = list(next(iter(table.values())))
    lines = ['| | ' + ' | '.join(columns) + ' |', '|---|' + '---|' * len(columns)]
    for name, row in table.items():
        lines.append(f'| {name} | ' + ' | '.join(f'{row[c]:.4f}' for c in columns) + ' |')
    return '\n'.join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the arguments, measure, print."""
    parser = ArgumentParser(
        prog='python -m training.evaluate',
        description=__doc__,
        formatter_class=RawDescriptionHelpFormatter,
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument('--detector', help='run folder of a detector')
    what.add_argument('--bundle', help='folder of an exported model bundle')
    what.add_argument('--fusion', help='run folder of a fusion network')
    parser.add_argument('--data', default='../shared/data/msrs_det', help='folder of the data set')
    parser.add_argument('--split', default='val', help='name of the split file')
    parser.add_argument('-o', '--output', help='JSON file to write')
    options = parser.parse_args(arguments)
    samples = load_samples(options.data, options.split)
    if options.fusion:
        table = evaluate_fusion(options.fusion, samples)
    elif options.bundle:
        table = evaluate(bundle_predictor(options.bundle), samples)
    else:
        table = evaluate(run_predictor(options.detector), samples)
    what_ran = options.fusion or options.bundle or options.detector
    print(f'{what_ran} on {options.split}, {len(samples)} pairs')
    print(format_table(table))
    if options.output:
        rounded = {
            name: {key: round(value, 4) for key, value in row.items()}
            for name, row in table.items()
        }
        text = json.dumps(rounded, indent=2) + '\n'
        Path(options.output).write_text(text, encoding='utf-8')


if __name__ == '__main__':
    try:
        main()
    except FusionError as error:
        sys.exit(str(error))
