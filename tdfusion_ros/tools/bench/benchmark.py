"""Time the robot's path at one or several sizes of image, and say what came out."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
import json
from pathlib import Path
from typing import Any

import numpy as np

from tdfusion_ros.core.config import FusionConfig
from tdfusion_ros.core.errors import BagError
from tdfusion_ros.core.errors import ConfigError
from tdfusion_ros.tools.bench.host import environment
from tdfusion_ros.tools.bench.pairs import Source
from tdfusion_ros.tools.bench.subjects import RobotPath
from tdfusion_ros.tools.bench.turns import Child
from tdfusion_ros.tools.bench.turns import percentiles_ms
from tdfusion_ros.tools.bench.turns import take_turns

WARM_UP = 10  # frames: caches, allocators and pairing settle
BLOCK = 10  # timed frames of one turn
DEMO_BAG = Path(__file__).resolve().parents[3] / 'demo' / 'msrs_drive'
BUSY = 0.25  # load per core of others from which times are not to be believed
COLUMNS = ('p50', 'p95', 'p99', 'mean')

Report = dict[str, Any]


def demo_bag() -> Path:
    """
    Return the bag to time with where none is named.

    :raises ConfigError: if there is no source tree, which alone has it.
    """
    if not DEMO_BAG.is_dir():
        raise ConfigError('the demo bag is not here: name a bag, or two folders of images')
    return DEMO_BAG


def bench(
    source: Source,
    config: FusionConfig,
    frames: int,
    sizes_hw: Sequence[tuple[int, int]] = (),
    *,
    fused: bool = True,
) -> Report:
    """
    Time the robot's path.

    :param frames: to time at each size.
    :param sizes_hw: to resize both images to; empty: as they are.
    :param fused: False: as where nobody subscribes to the fused image.
    :raises FusionError: if the input, the model or the engine cannot be used.
    """
    described = environment()  # its load is that of others, so before the work
    with ExitStack() as stack:
        children = {}
        for size_hw in dict.fromkeys(sizes_hw or (source.size_hw,)):
            build = partial(RobotPath, replace(source, size_hw=size_hw), config, fused=fused)
            children[str(size_hw)] = child = Child(build)
            stack.callback(child.close)
            child.work(WARM_UP)
        turns = take_turns(children, frames, BLOCK)
        runs = []
        for name, child in children.items():
            stages_ms = percentiles_ms(turns[name])
            rate_hz = round(1e3 / stages_ms['total']['mean'], 2)
            taken = {'stages_ms': stages_ms, 'frames_per_second': rate_hz, **child.process()}
            runs.append({**child.facts, **taken})
    return {
        'schema': 1,
        'what': 'the robot path without DDS, one pair at a time',
        'environment': described,
        'input': [str(path) for path in source.paths],
        'warm_up': WARM_UP,
        'frames': frames,
        'runs': runs,
    }


def write_report(report: Report, path: Path | None) -> None:
    """Write a report as JSON, if anywhere."""
    if path is None:
        return
    try:
        path.write_text(json.dumps(report, indent=2) + '\n', encoding='utf-8')
    except OSError as error:
        raise BagError(f'{path} cannot be written: {error}') from None


def text(report: Report) -> str:
    """Return a report as tables for a terminal."""
    first = report['runs'][0]
    lines = [
        f'{first["model"]} ({first["sha256"][:12]}) on {first["backend"]}, {first["engine"]}',
        described(report['environment']),
        f'{first["pairs"]} pairs ({first["images"]}) of {" + ".join(report["input"])}: '
        f'{report["frames"]} frames after {report["warm_up"]} to warm up, one at a time, '
        f'without DDS; published: {first["published"]}',
    ]
    for run in report['runs']:
        lines += ['', *_stages(run)]
    if len(report['runs']) > 1:
        lines += ['', *_growth(report['runs'])]
    return '\n'.join(lines)


def described(facts: Report) -> str:
    """Return in a line what machine that was, and what else it did."""
    busy = facts['load_1_min'] > BUSY * facts['cores_usable']
    return (
        f'{facts["cpu"]}, {facts["cores_usable"]} of {facts["cores"]} cores, load '
        f'{facts["load_1_min"]} before{" (BUSY: times are too long)" if busy else ""}; Python '
        f'{facts["python"]}, numpy {facts["numpy"]}, OpenCV {facts["opencv"]}; {facts["date"]}'
    )


def _stages(run: Report) -> list[str]:
    rows = [f'{run["size"] + " [ms]":<16}' + ''.join(f'{name:>10}' for name in COLUMNS)]
    for stage, found in run['stages_ms'].items():
        rows.append(f'{stage:<16}' + ''.join(f'{found[name]:>10.3f}' for name in COLUMNS))
    return [
        *rows,
        f'{run["frames_per_second"]:.1f} frames a second; {run["threads"]} threads; memory '
        f'{run["peak_mib"]:.0f} MiB at its peak, {run["before_model_mib"]:.0f} of it before the '
        'model was loaded',
    ]


def _growth(runs: Sequence[Report]) -> list[str]:
    """Return time and memory by size, and how well a straight line tells both."""
    megapixels = (
        np.array([np.prod([int(n) for n in run['size'].split('x')]) for run in runs]) / 1e6
    )
    figures = {
        'network ms': [run['stages_ms']['network']['p50'] for run in runs],
        'total ms': [run['stages_ms']['total']['p50'] for run in runs],
        'model MiB': [run['peak_mib'] - run['before_model_mib'] for run in runs],
    }
    rows = [f'{"growth":<12}{"Mpx":>8}' + ''.join(f'{name:>12}' for name in figures)]
    for run, size, *values in zip(runs, megapixels, *figures.values(), strict=True):
        rows.append(f'{run["size"]:<12}{size:>8.3f}' + ''.join(f'{v:>12.2f}' for v in values))
    if len(runs) > 2:  # two points lie on a line whatever they are
        for name, values in figures.items():
            each, fixed = np.polyfit(megapixels, values, 1)
            off = np.abs(fixed + each * megapixels - values).max() / max(values)
            rows.append(
                f'{name}: {fixed:.1f} + {each:.1f} per Mpx; the line misses by at most '
                f'{off:.1%} of the largest'
            )
    return rows
