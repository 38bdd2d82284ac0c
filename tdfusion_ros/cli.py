"""The ``tdfusion`` command: what can be done without ROS."""

import argparse
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
import sys
from typing import TYPE_CHECKING

import yaml

from tdfusion_ros.core.config import from_mapping
from tdfusion_ros.core.config import FusionConfig
from tdfusion_ros.core.errors import BagError
from tdfusion_ros.core.errors import ConfigError
from tdfusion_ros.core.errors import FrameError
from tdfusion_ros.core.errors import FusionError
from tdfusion_ros.reference import parameter_table
from tdfusion_ros.reference import parameter_yaml

if TYPE_CHECKING:
    from tdfusion_ros.offline import Source


def main(argv: Sequence[str] | None = None) -> int:
    """Run a subcommand; the exit status is 0, or 1 with one sentence on standard error."""
    options = _parser().parse_args(argv)
    try:
        return options.run(options)
    except FusionError as error:
        print(f'tdfusion: {error}', file=sys.stderr)
    except KeyboardInterrupt:
        print('tdfusion: interrupted', file=sys.stderr)
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog='tdfusion', description='Infrared + RGB fusion.')
    commands = parser.add_subparsers(dest='command', required=True, metavar='COMMAND')
    fuse = commands.add_parser(
        'fuse',
        help='fuse a bag, or two folders of images',
        description='Fuse every pair of a ROS 2 bag (mcap or sqlite3), or of two folders '
        'whose images have the same names. The same input gives the same output.',
    )
    fuse.add_argument('-o', '--output', required=True, type=Path, help='new bag or folder')
    fuse.add_argument(
        '--to',
        choices=('bag', 'folder'),
        help='what to write; default: a bag from a bag, a folder from folders',
    )
    fuse.set_defaults(run=_fuse)
    bench = commands.add_parser(
        'bench',
        help='time the pipeline on this machine',
        description='Time the whole pipeline, both images in memory to fused image and boxes.',
    )
    bench.add_argument('--frames', type=int, default=200, help='timed frames (default 200)')
    bench.set_defaults(run=_bench)
    params = commands.add_parser(
        'params',
        help='print every parameter with its default and meaning',
        description='Print a parameter file to copy and change.',
    )
    params.add_argument('--markdown', action='store_true', help='as a table instead')
    params.set_defaults(run=_params)
    for command in (fuse, bench):
        command.add_argument(
            'input', nargs='+', type=Path, metavar='INPUT', help='BAG, or RGB_FOLDER IR_FOLDER'
        )
        for stream in ('rgb', 'ir'):
            command.add_argument(
                f'--{stream}-topic',
                default='',
                help=f'of the bag; default: the one ending in {stream}/image_raw[/compressed]',
            )
        command.add_argument('--config', type=Path, help='parameters as in config/fusion.yaml')
        command.add_argument(
            '-p',
            '--param',
            action='append',
            default=[],
            metavar='NAME=VALUE',
            help='set a parameter, as -p score_threshold=0.5',
        )
    return parser


def _config(options: argparse.Namespace) -> FusionConfig:
    values = {}
    if options.config:
        try:
            raw = yaml.safe_load(options.config.read_text(encoding='utf-8'))
            values = _flat(next(iter(raw.values()))['ros__parameters'])
        except (
            OSError,
            UnicodeDecodeError,
            yaml.YAMLError,
            AttributeError,
            KeyError,
            TypeError,
            StopIteration,
        ) as error:
            raise ConfigError(f'{options.config} is not a parameter file: {error!r}') from None
    for given in options.param:
        name, equals, value = given.partition('=')
        if not equals:
            raise ConfigError(f"--param wants NAME=VALUE, got '{given}'")
        try:
            values[name] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise ConfigError(f"--param {name}: '{value}' is not YAML: {error}") from None
    return from_mapping(values)


def _flat(tree: dict, prefix: str = '') -> dict:
    out = {}
    for name, value in tree.items():
        out |= (
            _flat(value, f'{prefix}{name}.') if isinstance(value, dict) else {prefix + name: value}
        )
    return out


def _source(options: argparse.Namespace, config: FusionConfig, stack: ExitStack) -> 'Source':
    from tdfusion_ros import offline
    from tdfusion_ros.bags import BagReader

    if len(options.input) > 2:
        raise ConfigError(f'{options.command} takes one bag or two folders')
    if len(options.input) == 2:
        return offline.FolderSource(*options.input)
    reader = stack.enter_context(BagReader(options.input[0]))
    return offline.BagSource(reader, reader.find(options.rgb_topic, options.ir_topic), config.sync)


def _fuse(options: argparse.Namespace) -> int:
    from tqdm import tqdm

    from tdfusion_ros import offline
    from tdfusion_ros.bags import BagWriter
    from tdfusion_ros.build import build_pipeline

    config = _config(options)
    from_bag = len(options.input) == 1
    to_bag = options.to == 'bag' or (options.to is None and from_bag)
    if to_bag and not from_bag:
        raise ConfigError(
            'folders of images have no stamps, so they cannot become a bag; leave --to bag out'
        )
    with ExitStack() as stack:
        source = _source(options, config, stack)
        pipeline = build_pipeline(config, lambda text: print(text, file=sys.stderr))
        classes = pipeline.contract.classes
        if to_bag:
            writer = stack.enter_context(BagWriter(options.output))
            sink = offline.BagSink(writer, classes, config.score_threshold, source)
        else:
            sink = offline.FolderSink(options.output, classes)
            stack.callback(sink.close)
        fused, dropped = 0, Counter()
        for pair in tqdm(source, total=source.total, unit='pair', disable=None):
            try:
                sink.write(pair, pipeline.process(pair.rgb, pair.ir))
                fused += 1
            except FrameError as error:
                dropped[error.cause] += 1
    dropped += source.dropped
    causes = ', '.join(f'{number} {cause}' for cause, number in sorted(dropped.items()))
    print(f'{fused} pairs -> {options.output}; frames without a pair: {causes or "none"}')
    if not fused:
        raise BagError(
            'no pair was fused; compare the stamps of both cameras, see '
            'sync.max_skew_ms and sync.ir_time_offset_ms'
        )
    return 0


def _bench(options: argparse.Namespace) -> int:
    from itertools import cycle
    from itertools import islice
    from time import perf_counter_ns

    import numpy as np

    from tdfusion_ros.build import build_pipeline

    if options.frames < 1:
        raise ConfigError(f'--frames must be at least 1, got {options.frames}')
    config = _config(options)
    with ExitStack() as stack:
        pairs = list(islice(_source(options, config, stack), 50))
    if not pairs:
        raise BagError('no pairs to time')
    pipeline = build_pipeline(config, lambda text: print(text, file=sys.stderr))
    rows: dict[str, list[int]] = {}
    for turn, pair in enumerate(islice(cycle(pairs), options.frames + 10)):
        begun = perf_counter_ns()
        result = pipeline.process(pair.rgb, pair.ir)
        total = perf_counter_ns() - begun
        if turn >= 10:  # the first ones warm caches and allocators
            for stage, ns in (
                *result.stage_ns.items(),
                ('total', total),
                ('all but network', total - result.stage_ns['network']),
            ):
                rows.setdefault(stage, []).append(ns)
    height, width = pairs[0].rgb.size_hw
    print(f'{width}x{height}, {options.frames} frames, backend {pipeline.backend.name} [ms]')
    print(f'{"stage":<16}{"p50":>9}{"p95":>9}{"p99":>9}')
    for stage, times in rows.items():
        marks = np.percentile(np.array(times) / 1e6, (50, 95, 99))
        print(f'{stage:<16}' + ''.join(f'{ms:9.2f}' for ms in marks))
    return 0


def _params(options: argparse.Namespace) -> int:
    print(parameter_table() if options.markdown else parameter_yaml(), end='')
    return 0


if __name__ == '__main__':
    sys.exit(main())
