"""The ``tdfusion`` command: what can be done without ROS."""

import argparse
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
import re
import sys
from typing import Any
from typing import TYPE_CHECKING

import yaml

from tdfusion_ros.core.config import BACKENDS
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
    bench = _add_bench(commands)
    params = commands.add_parser(
        'params',
        help='print every parameter with its default and meaning',
        description='Print a parameter file to copy and change.',
    )
    params.add_argument('--markdown', action='store_true', help='as a table instead')
    params.set_defaults(run=_params)
    fuse.add_argument(
        'input', nargs='+', type=Path, metavar='INPUT', help='BAG, or RGB_FOLDER IR_FOLDER'
    )
    for command in (fuse, bench):
        for stream in ('rgb', 'ir'):
            command.add_argument(
                f'--{stream}-topic',
                default='',
                help=f'of the bag; default: the one ending in {stream}/image_raw[/compressed]',
            )
    for command in (fuse, bench, _add_build(commands)):
        _add_config(command)
    return parser


def _add_config(command: argparse.ArgumentParser) -> None:
    command.add_argument('--config', type=Path, help='parameters as in config/fusion.yaml')
    command.add_argument(
        '-p',
        '--param',
        action='append',
        default=[],
        metavar='NAME=VALUE',
        help='set a parameter, as -p score_threshold=0.5',
    )


def _add_bench(commands: Any) -> argparse.ArgumentParser:
    bench = commands.add_parser(
        'bench',
        help='time every stage on this machine',
        description="Time the robot's path without DDS, from two messages in memory to the "
        'messages that are published: stages, frames a second, memory.',
    )
    bench.add_argument(
        'input',
        nargs='*',
        type=Path,
        metavar='INPUT',
        help='BAG, or RGB_FOLDER IR_FOLDER; default: the demo bag',
    )
    bench.add_argument('--frames', type=int, default=200, help='timed frames (default 200)')
    bench.add_argument(
        '--size',
        action='append',
        default=[],
        metavar='WIDTHxHEIGHT',
        help='resize both images; may be given again, then the sizes take turns',
    )
    bench.add_argument(
        '--raw', action='store_true', help='send compressed images as raw ones, as drivers do'
    )
    bench.add_argument('--backend', choices=BACKENDS, help='short for -p backend=…')
    bench.add_argument(
        '-o', '--output', type=Path, metavar='FILE', help='write the report as JSON'
    )
    bench.set_defaults(run=_bench)
    return bench


def _add_build(commands: Any) -> argparse.ArgumentParser:
    build = commands.add_parser(
        'build',
        help='build the engine ahead of time',
        description='Build what the backend of the config needs for cameras of these sizes, keep '
        'it in ~/.cache/tdfusion_ros, and exit. Only trt needs building; it takes minutes.',
    )
    build.add_argument(
        '--size',
        action='append',
        default=[],
        metavar='WIDTHxHEIGHT',
        help='of the rgb images, as 640x480 (the default); may be given again',
    )
    build.set_defaults(run=_build)
    return build


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
    from tdfusion_ros.bench import run
    from tdfusion_ros.bench.pairs import Source

    if options.frames < 1:
        raise ConfigError(f'--frames must be at least 1, got {options.frames}')
    if options.backend:
        options.param.append(f'backend={options.backend}')
    run.check_output(options.output)
    source = Source(
        tuple(options.input) or (run.demo_bag(),),
        (options.rgb_topic, options.ir_topic),
        raw=options.raw,
    )
    report = run.bench(source, _config(options), options.frames, sizes_hw(options.size))
    print(run.text(report))
    run.write_report(report, options.output)
    return 0


def sizes_hw(sizes: Sequence[str]) -> tuple[tuple[int, int], ...]:
    """Return height and width of sizes that were given as ``640x480`` [px]."""
    found = []
    for size in sizes:
        if not re.fullmatch(r'[1-9]\d{0,4}x[1-9]\d{0,4}', size):
            raise ConfigError(f"--size wants WIDTHxHEIGHT, as 640x480, got '{size}'")
        width, height = map(int, size.split('x'))
        found.append((height, width))
    return tuple(found)


def _build(options: argparse.Namespace) -> int:
    from tdfusion_ros.build import build_engines

    wanted_hw = sizes_hw(options.size or ['640x480'])
    backend = build_engines(_config(options), wanted_hw, lambda text: print(text, file=sys.stderr))
    sizes = ', '.join(f'{width}x{height}' for height, width in wanted_hw)
    print(f'{backend.name} ({backend.engine}) is ready for {sizes}')
    return 0


def _params(options: argparse.Namespace) -> int:
    print(parameter_table() if options.markdown else parameter_yaml(), end='')
    return 0


if __name__ == '__main__':
    sys.exit(main())
