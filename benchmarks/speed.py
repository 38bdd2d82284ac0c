"""
Compare the speed of the paper's fusion network with a bundle's network, in the same runtime.

    python -m benchmarks.speed [--model msrs_rt] [--size 640x480]

Both networks are exported with random weights, which do not affect time and memory; this needs
torch (`make bench` installs it). Both graphs take uint8 rgb and ir and return the uint8 fused
image; a second pair of graphs ends in the same detector. ONNX Runtime runs each graph on the CPU
in its own process; they take turns, so that a ratio compares neighbors in time. This takes minutes
and 6 GB.
"""

from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tdfusion_ros.atomic import add_output
from tdfusion_ros.atomic import check_file
from tdfusion_ros.atomic import write_json
from tdfusion_ros.backends.bundle import read_bundle
from tdfusion_ros.build import find_bundle
from tdfusion_ros.core.errors import ConfigError
from tdfusion_ros.core.errors import ModelError
from tdfusion_ros.tools.bench.host import describe_environment
from tdfusion_ros.tools.bench.host import environment
from tdfusion_ros.tools.bench.turns import ratio
from tdfusion_ros.tools.bench.turns import time_in_turns
from tdfusion_ros.tools.bench.workloads import Graph
from tdfusion_ros.tools.options import sizes_hw
from training import shell

FRAMES_PER_TURN = 3
MARKS = ('median', 'p5', 'p95')
RATIOS = {
    'fusion': ('paper, fusion', 'real-time, fusion'),
    'fusion + detector': ('paper, fusion + detector', 'real-time, fusion + detector'),
}


def compare(model: str, size_hw: tuple[int, int], rounds: int) -> dict[str, Any]:
    """Export and time all four graphs; return the report; FusionError without bundle or torch."""
    facts = environment()  # includes the load of other work, so call it first
    try:
        from benchmarks.graphs import export_graphs
    except ImportError as error:
        raise ModelError(f'the export needs torch: {error}; use `make bench`') from None
    bundle = read_bundle(find_bundle(model))
    with TemporaryDirectory() as folder:
        paths = export_graphs(bundle.architecture, Path(folder))
        builds = {name: partial(Graph, path, size_hw) for name, path in paths.items()}
        block = FRAMES_PER_TURN
        timings = time_in_turns(builds, frames=block * rounds, block=block, warm_up=2)
    return {
        'schema': 1,
        'what': 'paper network and bundle network, random weights',
        'environment': facts,
        'model': bundle.contract.name,
        'architecture': bundle.architecture,
        'size': f'{size_hw[1]}x{size_hw[0]}',
        'rounds': rounds,
        'frames_a_turn': FRAMES_PER_TURN,
        'graphs': {
            name: {**timing.facts, **timing.usage, **timing.percentiles_ms()['network']}
            for name, timing in timings.items()
        },
        'ratios': {
            what: dict(zip(MARKS, ratio(timings[a], timings[b], 'network'), strict=True))
            for what, (a, b) in RATIOS.items()
        },
    }


def text(report: dict[str, Any]) -> str:
    """Return a report as tables for a terminal."""
    first = next(iter(report['graphs'].values()))
    lines = [
        f'paper: FusionPaper; real-time: {report["model"]}, {report["architecture"]["fusion"]};',
        'both with random weights, which do not affect the time',
        describe_environment(report['environment']),
        f'{report["size"]}, {first["engine"]}, {report["rounds"]} rounds in turns, each of 1 '
        f'untimed and {report["frames_a_turn"]} timed frames',
        '',
        f'{"graph alone [ms]":<28}{"p50":>10}{"p95":>10}{"p99":>10}{"model MiB":>12}',
    ]
    for name, found in report['graphs'].items():
        memory = found['peak_mib'] - found['before_model_mib']
        cells = ''.join(f'{found[mark]:>10.2f}' for mark in ('p50', 'p95', 'p99'))
        lines.append(f'{name:<28}{cells}{memory:>12.0f}')
    lines.append('')
    for what, found in report['ratios'].items():
        lines.append(
            f'paper / real-time, {what}: {found["median"]:.1f} (p5 to p95 over the rounds: '
            f'{found["p5"]:.1f} to {found["p95"]:.1f})'
        )
    return '\n'.join(lines)


def main() -> None:
    """Compare, print and write the report."""
    parser = shell.parser('benchmarks.speed', __doc__)
    add = parser.add_argument
    add('--model', default='msrs_rt', help='bundle: a folder, or the name of a shipped one')
    add('--size', default='640x480', metavar='WIDTHxHEIGHT', help='default 640x480')
    add('--rounds', type=int, default=20, help='default 20')
    add_output(parser, 'write the report as JSON')
    options = parser.parse_args()
    check_file(options.output, overwrite=options.overwrite)
    if options.rounds < 1:
        raise ConfigError(f'--rounds must be at least 1, got {options.rounds}')
    (size_hw,) = sizes_hw([options.size])
    report = compare(options.model, size_hw, options.rounds)
    print(text(report))
    write_json(options.output, report)


if __name__ == '__main__':
    shell.run('speed', main)
