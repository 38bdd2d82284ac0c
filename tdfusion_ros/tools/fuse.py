"""``tdfusion fuse``: a bag or folders in, a bag or a folder out."""

import argparse
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
import shlex
import sys
from typing import Any

from tdfusion_ros.core.errors import BagError
from tdfusion_ros.core.errors import ConfigError
from tdfusion_ros.core.errors import FrameError
from tdfusion_ros.tools.options import add_config
from tdfusion_ros.tools.options import add_topics
from tdfusion_ros.tools.options import config_of
from tdfusion_ros.tools.options import source_of


def add(commands: Any) -> None:
    """Say what the command takes."""
    fuse = commands.add_parser(
        'fuse',
        help='fuse a bag, or two folders of images',
        description='Fuse every pair of a ROS 2 bag (mcap or sqlite3), or of two folders '
        'whose images have the same names. The same input gives the same output.',
    )
    fuse.add_argument(
        'input', nargs='+', type=Path, metavar='INPUT', help='BAG, or RGB_FOLDER IR_FOLDER'
    )
    fuse.add_argument('-o', '--output', required=True, type=Path, help='new bag or folder')
    fuse.add_argument(
        '--to',
        choices=('bag', 'folder'),
        help='what to write; default: a bag from a bag, a folder from folders',
    )
    add_topics(fuse)
    add_config(fuse)
    fuse.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Fuse every pair of the source."""
    from tqdm import tqdm

    from tdfusion_ros.build import build_pipeline
    from tdfusion_ros.formats.sinks import BagSink
    from tdfusion_ros.formats.sinks import FolderSink
    from tdfusion_ros.formats.sinks import Sink

    config = config_of(options)
    from_bag = len(options.input) == 1
    to_bag = options.to == 'bag' or (options.to is None and from_bag)
    if to_bag and not from_bag:
        raise ConfigError(
            'folders of images have no stamps, so they cannot become a bag; leave --to bag out'
        )
    with ExitStack() as stack:
        source = source_of(options, config, stack)
        pipeline = build_pipeline(config, lambda text: print(text, file=sys.stderr))
        classes = pipeline.contract.classes
        if to_bag:
            sink: Sink = BagSink(options.output, classes, config.score_threshold, source)
        else:
            sink = FolderSink(options.output, classes)
        stack.callback(sink.close)
        modes: Counter[str] = Counter()
        dropped: Counter[str] = Counter()
        for pair in tqdm(source, total=source.total, unit='pair', disable=None):
            try:
                sink.write(pair, pipeline.process_pair(pair))
                modes[pair.mode] += 1
            except FrameError as error:
                dropped[error.cause] += 1
    dropped += source.dropped
    fused = modes.pop('fused', 0)
    causes = ', '.join(f'{number} {cause}' for cause, number in sorted(dropped.items()))
    print(f'{fused} pairs -> {options.output}; frames without a pair: {causes or "none"}')
    for mode, number in sorted(modes.items()):
        print(f'while a camera stalled: {number} results {mode} (see docs/thermal.md)')
    if not fused and not modes:
        raise BagError(
            'no pair was fused; compare the stamps of both cameras, see '
            'sync.max_skew_ms and sync.ir_time_offset_ms'
        )
    if to_bag:
        print(f'look at it: {_next(options)}')
    return 0


def _next(options: argparse.Namespace) -> str:
    """Return the command that shows the result, with the topics that were named."""
    call = ['tdfusion', 'view', str(options.output), '--inputs', str(options.input[0])]
    for name in ('rgb', 'ir'):
        if topic := getattr(options, f'{name}_topic'):
            call += [f'--{name}-topic', topic]
    return shlex.join(call)
