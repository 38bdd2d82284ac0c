"""``tdfusion fuse``: fuse a bag or two folders of images into a bag or a folder."""

import argparse
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
import shlex
from statistics import median
import sys
from typing import Any

from tdfusion_ros.core.errors import BagError
from tdfusion_ros.core.errors import ConfigError
from tdfusion_ros.core.errors import FrameError
from tdfusion_ros.formats.sources import Source
from tdfusion_ros.formats.sources import why_no_pair
from tdfusion_ros.tools.options import add_config
from tdfusion_ros.tools.options import add_times
from tdfusion_ros.tools.options import add_topics
from tdfusion_ros.tools.options import config_of
from tdfusion_ros.tools.options import counted
from tdfusion_ros.tools.options import open_source


def add(commands: Any) -> None:
    """Add the command."""
    fuse = commands.add_parser(
        'fuse',
        help='fuse a bag, or two folders of images',
        description='Fuse every pair of a ROS 2 bag (mcap or sqlite3), or of two folders whose '
        'images have the same names. The same input gives the same output.',
    )
    add = fuse.add_argument
    add('input', nargs='+', type=Path, metavar='INPUT', help='a bag, or RGB_FOLDER IR_FOLDER')
    add('-o', '--output', required=True, type=Path, help='bag or folder to create')
    text = 'what to write; default: a bag from a bag, a folder from folders'
    add('--to', choices=('bag', 'folder'), help=text)
    add_topics(fuse)
    add_times(fuse)
    add_config(fuse)
    fuse.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Fuse every pair of the input; return the exit status."""
    from tqdm import tqdm

    from tdfusion_ros.build import build_pipeline
    from tdfusion_ros.formats.sinks import BagSink
    from tdfusion_ros.formats.sinks import FolderSink

    config = config_of(options)
    if options.to == 'bag' and len(options.input) > 1:
        raise ConfigError(
            'folders of images have no stamps, so they cannot become a bag; leave out --to bag'
        )
    with ExitStack() as stack:
        source = open_source(options, config, stack)
        pipeline = build_pipeline(config, lambda text: print(text, file=sys.stderr))
        classes = pipeline.contract.classes
        to_bag = len(options.input) == 1 and options.to != 'folder'
        sink: BagSink | FolderSink
        if to_bag:
            sink = BagSink(options.output, classes, config.score_threshold, source)
        else:
            sink = FolderSink(options.output, classes)
        stack.enter_context(sink)
        modes: Counter[str] = Counter()
        skews_ms: list[float] = []
        dropped: Counter[str] = Counter()
        left_out: dict[str, str] = {}
        for pair in tqdm(source, total=source.total, unit='pair', disable=None):
            try:
                sink.write(pair, pipeline.process_pair(pair))
                left_out |= pipeline.remarks
                modes[pair.mode] += 1
                if pair.skew_ns is not None and pair.mode == 'fused':
                    skews_ms.append(pair.skew_ns / 1e6)
            except FrameError as error:
                dropped[error.cause] += 1
                if pair.mode == 'fused':
                    source.counts.lose(error.cause)
                source.errors.setdefault(error.cause, str(error))
    _print_summary(options.output, source, modes, dropped)
    _print_pairs(skews_ms if to_bag else [], left_out)
    if not modes:
        raise BagError(f'no pair was fused: {why_no_pair(source, config.sync)}')
    if to_bag:
        print(f'look at it: {_view_command(options)}')
    return 0


def _print_summary(
    output: Path, source: Source, modes: Counter[str], dropped: Counter[str]
) -> None:
    """Print what was fused, by mode, and which pairs and frames were dropped and why."""
    causes = ', '.join(f'{n} {cause}' for cause, n in sorted((dropped + source.dropped).items()))
    print(f'{counted(modes["fused"], "pair")} -> {output}; dropped: {causes or "none"}')
    lost = ', '.join(f'{n} {cause}' for cause, n in sorted(source.counts.lost.items()))
    print(
        f'possible: {counted(source.counts.possible, "pair")}, {modes["fused"]} fused, '
        f'{source.counts.lost.total()} lost' + (f' ({lost})' if lost else '')
    )
    for cause, message in sorted(source.errors.items()):
        print(f'first {cause}: {message}')
    for remark in source.remarks() if modes else ():  # else they are in the error
        print(remark)
    for mode, number in sorted(modes.items()):
        if mode != 'fused':
            print(f'while a camera stalled: {number} results {mode} (see docs/thermal.md)')


def _print_pairs(skews_ms: list[float], left_out: dict[str, str]) -> None:
    """Print the skew of the pairs, and what was left out of ir images, by the setting's name."""
    if skews_ms:
        print(
            f'ir minus rgb stamps of the pairs: median {median(skews_ms):.1f} ms, largest '
            f'{max(skews_ms, key=abs):.1f} ms'
        )
    for name, remark in sorted(left_out.items()):
        print(f'{name}: left out {remark}')


def _view_command(options: argparse.Namespace) -> str:
    """Return the command that shows the result, with the same image topics and parameters."""
    command = ['tdfusion', 'view', str(options.output), '--inputs', str(options.input[0])]
    for flag, topic in (('--rgb-topic', options.rgb_topic), ('--ir-topic', options.ir_topic)):
        command += [flag, topic] if topic else []
    command += ['--config', str(options.config)] if options.config else []
    command += ['--node', options.node] if options.node else []
    for setting in options.param:
        command += ['-p', setting] if setting.startswith('sync.') else []
    return shlex.join(command)
