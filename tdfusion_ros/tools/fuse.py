"""``tdfusion fuse``: fuse a bag, two folders or two videos into a bag, a folder or a video."""

import argparse
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
import shlex
from statistics import median
import sys
from typing import Any

from tqdm import tqdm

from tdfusion_ros.atomic import add_output
from tdfusion_ros.atomic import check_outside
from tdfusion_ros.atomic import check_place
from tdfusion_ros.build import build_pipeline
from tdfusion_ros.core.config import FusionConfig
from tdfusion_ros.core.contract import Contract
from tdfusion_ros.core.errors import BagError
from tdfusion_ros.core.errors import ConfigError
from tdfusion_ros.core.errors import FrameError
from tdfusion_ros.core.errors import OutputError
from tdfusion_ros.formats.sinks import BagSink
from tdfusion_ros.formats.sinks import DETECTIONS
from tdfusion_ros.formats.sinks import FolderSink
from tdfusion_ros.formats.sinks import SKIPPED
from tdfusion_ros.formats.sources import Source
from tdfusion_ros.formats.sources import why_no_pair
from tdfusion_ros.formats.videos import CODECS
from tdfusion_ros.formats.videos import VideoSink
from tdfusion_ros.formats.videos import VideoSource
from tdfusion_ros.tools.options import add_shared
from tdfusion_ros.tools.options import config_of
from tdfusion_ros.tools.options import counted
from tdfusion_ros.tools.options import open_source

MAX_LISTED = 20  # skipped pairs


def add(commands: Any) -> None:
    fuse = commands.add_parser(
        'fuse',
        help='fuse a bag, two folders of images, or two videos',
        description='Fuse every pair of a ROS 2 bag (mcap or sqlite3), of two folders whose '
        'images have the same names, or of two videos. The same input gives the same output.',
    )
    add = fuse.add_argument
    add(
        'input',
        nargs='+',
        type=Path,
        metavar='INPUT',
        help='a bag, or the folders or videos RGB IR; one folder of both cameras twice',
    )
    add_output(fuse, 'bag, folder or video to create', required=True, metavar='OUTPUT')
    text = 'what to write; default: a bag from a bag, else a folder, or a video as OUT.mp4'
    add('--to', choices=('bag', 'folder'), help=text)
    text = 'also write the images with boxes, labels, scores and masks; of a video: only these'
    add('--overlay', action='store_true', help=text)
    add_shared(fuse, pairs=True)
    fuse.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Fuse every pair of the input; return the exit status."""
    config, kind = config_of(options), _kind_of_output(options)
    _check_output(options, kind)
    modes, dropped = Counter[str](), Counter[str]()
    skews_ms: list[float] = []
    remarks: dict[str, str] = {}
    warnings: dict[str, str] = {}  # the first of each mode
    with ExitStack() as stack:
        source = open_source(options, config, stack)
        pipeline = build_pipeline(config, lambda text: print(text, file=sys.stderr))
        sink = _open_sink(options, kind, config, pipeline.contract, source)
        stack.enter_context(sink)
        for pair in tqdm(source, total=source.total, unit='pair', disable=None):
            try:
                sink.write(pair, pipeline.process_pair(pair))
                remarks |= pipeline.remarks
                modes[pair.mode] += 1
                warnings.setdefault(pair.mode, pair.warning)
                if pair.skew_ns is not None and pair.mode == 'fused' and kind == 'bag':
                    skews_ms.append(pair.skew_ns / 1e6)
            except FrameError as error:
                dropped[error.cause] += 1
                if pair.mode == 'fused':
                    source.counts.lose(error.cause)
                source.errors.setdefault(error.cause, str(error))
                if pair.stem:
                    source.skipped[pair.stem] = str(error)
    _print_counts(options.output, source, modes, dropped + source.dropped)
    if not modes:
        raise BagError(f'no pair was fused: {why_no_pair(source, config.sync)}')
    _print_details(options.output, source, modes, warnings, skews_ms)
    for name, remark in sorted(remarks.items()):
        print(f'{name}: {remark}')
    if isinstance(sink, FolderSink) and sink.replaced:
        print(
            f'{counted(sink.replaced, "result")} replaced one of the same stamp; a bag keeps all'
        )
    if kind != 'video':
        print(f'look at it: {_view_command(options)}')
    if source.skipped and not options.skip_bad:
        raise BagError(
            f'the result is not complete: {counted(len(source.skipped), "pair")} skipped, see '
            'above; repair the images, or accept that with --skip-bad'
        )
    return 0


def _kind_of_output(options: argparse.Namespace) -> str:
    """Return ``bag``, ``folder`` or ``video``."""
    path = options.output
    if path.suffix.lower() in CODECS and options.to is None and not path.is_dir():
        if len(options.input) == 1 or all(one.is_dir() for one in options.input):
            raise ConfigError(
                f'{path} is a video, which is written from two videos; name a folder'
            )
        return 'video'
    if options.to == 'bag' and len(options.input) > 1:
        raise ConfigError(
            'folders and videos have no stamps, so they cannot become a bag; leave out --to bag'
        )
    return options.to or ('bag' if len(options.input) == 1 else 'folder')


def _open_sink(
    options: argparse.Namespace,
    kind: str,
    config: FusionConfig,
    contract: Contract,
    source: Source,
) -> BagSink | FolderSink | VideoSink:
    output, how = options.output, {'replace': options.overwrite, 'overlay': options.overlay}
    if kind == 'bag':
        return BagSink(output, contract, source, threshold=config.score_threshold, **how)
    if kind == 'folder':
        return FolderSink(output, contract, source, **how)
    assert isinstance(source, VideoSource)  # see _kind_of_output
    return VideoSink(output, contract, source, **how)


def _check_output(options: argparse.Namespace, kind: str) -> None:
    """Raise OutputError if the output is there and may not be replaced."""
    path = options.output
    check_outside(path, options.input)
    check_place(path)
    if not path.exists():
        return
    if not options.overwrite:
        noun = 'file' if kind == 'video' else 'folder'
        raise OutputError(f'{path} exists: name a new {noun}, or add --overwrite')
    bag = path / 'metadata.yaml'
    is_result = (
        kind == 'video'
        or (path / DETECTIONS).is_file()
        or (bag.is_file() and '/fused/image_raw' in bag.read_text(errors='replace'))
    )
    holds_input = any(path.resolve() in one.resolve().parents for one in options.input)
    if holds_input or not (is_result or (path.is_dir() and not any(path.iterdir()))):
        raise OutputError(f'{path} is no result of tdfusion fuse, so it is not replaced')


def _listed(counts: Counter[str]) -> str:
    return ', '.join(f'{n} {cause}' for cause, n in sorted(counts.items()))


def _print_counts(
    output: Path, source: Source, modes: Counter[str], dropped: Counter[str]
) -> None:
    fused, lost = modes['fused'], source.counts.lost
    print(f'{counted(fused, "pair")} -> {output}; dropped: {_listed(dropped) or "none"}')
    print(
        f'possible: {counted(source.counts.possible, "pair")}, {fused} fused, {lost.total()} lost'
        + (f' ({_listed(lost)})' if lost else '')
    )


def _print_details(
    output: Path,
    source: Source,
    modes: Counter[str],
    warnings: Mapping[str, str],
    skews_ms: list[float],
) -> None:
    """Print why frames were dropped, how many results had one camera only, and the skew."""
    for cause, message in sorted(source.errors.items()):
        print(f'first {cause}: {message}')
    if source.skipped:
        names = list(source.skipped)
        names[MAX_LISTED:] = ['...'] * (len(names) > MAX_LISTED)
        print(f'skipped {", ".join(names)}: the reasons are in {output / SKIPPED}')
    for remark in source.remarks():
        print(remark)
    for mode, number in sorted(modes.items()):
        if mode != 'fused':
            what = f'{counted(number, "result")} {mode}'
            first = f'the first with {warnings[mode]}; see docs/thermal.md'
            print(f'while a camera stalled: {what} ({first})')
    if skews_ms:
        print(
            f'ir minus rgb stamps of the pairs: median {median(skews_ms):.1f} ms, largest '
            f'{max(skews_ms, key=abs):.1f} ms'
        )


def _view_command(options: argparse.Namespace) -> str:
    """Return the command that shows the result, with the same image topics and parameters."""
    command = ['tdfusion', 'view', str(options.output)]
    command += ['--inputs', *map(str, options.input)]
    for flag, topic in (('--rgb-topic', options.rgb_topic), ('--ir-topic', options.ir_topic)):
        command += [flag, topic] if topic else []
    command += ['--config', str(options.config)] if options.config else []
    command += ['--node', options.node] if options.node else []
    for setting in options.param:
        command += ['-p', setting] if setting.startswith('sync.') else []
    return shlex.join(command)
