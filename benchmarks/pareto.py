"""
Compare fusion networks by quality and speed, in a table and a plot.

    python -m benchmarks.pareto PAPER_RUN RUN... --images RGB IR --data DATA val -o realtime.png

The first run is the reference. All networks are exported and run as on the robot (ONNX Runtime on
the CPU), each in its own process, in turns. Quality is the mean SCD, VIF, Qabf and SSIM of each
pair of folders and each split of a data set, as a fraction of the reference's; the lowest counts.
This needs torch and matplotlib (`make bench` installs them).
"""

from argparse import ArgumentParser
from argparse import RawDescriptionHelpFormatter
from collections.abc import Mapping
from collections.abc import Sequence
import io
from pathlib import Path
import sys
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np

from benchmarks.graphs import export_fusion
from benchmarks.speed import time_graphs
from tdfusion_ros.atomic import check_file
from tdfusion_ros.atomic import write_file
from tdfusion_ros.backends.cpu import CpuBackend
from tdfusion_ros.core.errors import ConfigError
from tdfusion_ros.core.errors import FusionError
from tdfusion_ros.tools.bench.benchmark import write_report
from tdfusion_ros.tools.bench.host import describe_environment
from tdfusion_ros.tools.bench.host import environment
from training.checkpoint import load_fusion
from training.data.datasets import DataSet
from training.data.datasets import open_dataset
from training.data.datasets import Sample
from training.measure.fusers import Fuser
from training.measure.fusers import luma_levels
from training.measure.fusers import open_folders
from training.measure.tables import markdown_table
from training.measure.tables import quality_table

SIZE_HW = (480, 640)
METRICS = ('SCD', 'VIF', 'Qabf', 'SSIM')


def graph_fuser(path: Path) -> Fuser:
    """Return a function that fuses with an exported graph, as 8-bit luma."""
    backend = CpuBackend(path.read_bytes())

    def fuse(sample: Sample) -> np.ndarray:
        height, width = sample.ir.shape
        border = (0, -height % 32, 0, -width % 32)
        rgb, ir = (
            cv2.copyMakeBorder(image, *border, cv2.BORDER_REPLICATE)
            for image in (sample.rgb, sample.ir)
        )
        scaled = ir.astype(np.float32) / 255
        raw = backend.run(rgb, scaled, np.ones_like(scaled))
        assert raw.fused is not None  # the default outputs include it
        return luma_levels(raw.fused[:height, :width])

    return fuse


def quality(
    paths: Mapping[str, Path], sets: Mapping[str, DataSet], every: int
) -> dict[str, dict[str, dict[str, float]]]:
    """Return the quality by name of data set and name of graph."""
    fusers = {name: graph_fuser(path) for name, path in paths.items()}
    out = {}
    for place, samples in sets.items():
        found = quality_table(fusers, [samples[i] for i in range(0, len(samples), every)])
        out[place] = {name: {key: found[name][key] for key in METRICS} for name in paths}
    return out


def shares(found: Mapping[str, Any], name: str, reference: str) -> dict[str, float]:
    """Return each positive metric as a fraction of the reference's, by ``set metric``."""
    return {
        f'{place} {key}': rows[name][key] / rows[reference][key]
        for place, rows in found.items()
        for key in METRICS
        if rows[reference][key] > 0  # SCD may be negative
    }


def draw(rows: Mapping[str, Mapping[str, float]], path: Path) -> None:
    """Plot quality over time; a line joins the networks that no other beats in both."""
    import matplotlib

    matplotlib.use('Agg')
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4.2), layout='constrained')
    front = [
        name
        for name, row in rows.items()
        if not any(
            other['ms'] < row['ms'] and other['lowest'] >= row['lowest'] for other in rows.values()
        )
    ]
    front.sort(key=lambda name: rows[name]['ms'])
    axes.plot(
        [rows[n]['ms'] for n in front], [100 * rows[n]['lowest'] for n in front], color='0.7'
    )
    for name, row in rows.items():
        point = row['ms'], 100 * row['lowest']
        axes.scatter(*point, color='C0' if name in front else '0.5')
        axes.annotate(Path(name).name, point, (4, 5), textcoords='offset points', fontsize=8)
    axes.axhline(97, color='C3', linewidth=0.8, linestyle=':')
    axes.set(
        xscale='log',
        xlabel='fusion of 640x480 on the CPU, p50 [ms]',
        ylabel=f'lowest share of the first\nof {", ".join(METRICS)} [%]',
    )
    axes.grid(alpha=0.3, which='both')
    picture = io.BytesIO()
    figure.savefig(picture, dpi=110)
    write_file(path, picture.getvalue())


def compare(runs: Sequence[str], sets: Mapping[str, DataSet], every: int, rounds: int) -> dict:
    """Export the networks, measure time and quality; return the report."""
    facts = environment()  # includes the load of other work, so call it first
    with TemporaryDirectory() as place:
        paths = {
            run: export_fusion(load_fusion(run), Path(place) / f'{i}.onnx')
            for i, run in enumerate(runs)
        }
        timings = time_graphs(paths, SIZE_HW, rounds)
        found = quality(paths, sets, every)
    times = {run: timing.percentiles_ms()['network'] for run, timing in timings.items()}
    rows = {
        run: {
            'ms': times[run]['p50'],
            'faster': times[runs[0]]['p50'] / times[run]['p50'],
            'lowest': min(shares(found, run, runs[0]).values()),
        }
        for run in runs
    }
    return {'environment': facts, 'times_ms': times, 'quality': found, 'rows': rows}


def text(report: Mapping[str, Any]) -> str:
    """Return a report as tables."""
    parts = [describe_environment(report['environment'])]
    for place, by_run in report['quality'].items():
        lines = [[run, *(f'{row[k]:.3f}' for k in METRICS)] for run, row in by_run.items()]
        parts.append(f'{place}\n' + markdown_table(['network', *METRICS], lines))
    lines = [
        [run, f'{row["ms"]:.1f}', f'{row["faster"]:.1f}', f'{100 * row["lowest"]:.1f}']
        for run, row in report['rows'].items()
    ]
    parts.append(
        markdown_table(['network', 'p50 [ms]', 'times faster', 'lowest share [%]'], lines)
    )
    return '\n\n'.join(parts)


def main() -> int:
    """Measure, print, draw; return the exit status."""
    parser = ArgumentParser(
        prog='python -m benchmarks.pareto',
        description=__doc__,
        formatter_class=RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add(
        'runs',
        nargs='+',
        metavar='RUN',
        help='runs of networks; the first is the reference',
    )
    add('--images', nargs=2, action='append', default=[], metavar=('RGB', 'IR'))
    add('--data', nargs=2, action='append', default=[], metavar=('DATA', 'SPLIT'))
    add('--every', type=int, default=1, metavar='N', help='use every Nth pair only')
    add('--rounds', type=int, default=20, help='default 20')
    add('-o', '--output', type=Path, metavar='PNG', help='write the plot, and NAME.json')
    options = parser.parse_args()
    try:
        check_file(options.output)
        if min(options.every, options.rounds) < 1:
            raise ConfigError('--every and --rounds must be at least 1')
        sets = {rgb: open_folders(rgb, ir) for rgb, ir in options.images}
        sets |= {' '.join(place): open_dataset(*place) for place in options.data}
        if not sets:
            raise ConfigError('no images: add --images RGB IR or --data DATA SPLIT')
        report = compare(options.runs, sets, options.every, options.rounds)
        print(text(report))
        if options.output:
            draw(report['rows'], options.output)
            write_report(report, options.output.with_suffix('.json'))
    except FusionError as error:
        print(f'pareto: {error}', file=sys.stderr)
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
