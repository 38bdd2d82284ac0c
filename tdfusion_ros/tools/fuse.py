"""``tdfusion fuse``: fuse a bag, two folders or two videos into a bag, a folder or a video."""

import argparse
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
import shlex
from statistics import median
import sys
from typing import Any

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
from tdfusion_ros.tools.options import add_config
from tdfusion_ros.tools.options import add_overwrite
from tdfusion_ros.tools.options import add_skip_bad
from tdfusion_ros.tools.options import add_times
from tdfusion_ros.tools.options import add_topics
from tdfusion_ros.tools.options import config_of
from tdfusion_ros.tools.options import counted
from tdfusion_ros.tools.options import open_source

MAX_LISTED = 20  # skipped pairs


def add(commands: Any) -> None:
    """Add the command."""
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
        help='a bag, or the folders or videos RGB IR',
    )
    add('-o', '--output', required=True, type=Path, help='bag, folder or video to create')
    text = 'what to write; default: a bag from a bag, else a folder, or a video as OUT.mp4'
    add('--to', choices=('bag', 'folder'), help=text)
    text = 'also write the images with boxes, labels, scores and masks; of a video: only these'
    add('--overlay', action='store_true', help=text)
    add_overwrite(fuse)
    add_skip_bad(fuse)
    add_topics(fuse)
    add_times(fuse)
    add_config(fuse)
    fuse.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Fuse every pair of the input; return the exit status."""
    from tqdm import tqdm

    from tdfusion_ros.build import build_pipeline

    config = config_of(options)
    if options.to == 'bag' and len(options.input) > 1:
        raise ConfigError(
            'folders and videos have no stamps, so they cannot become a bag; leave out --to bag'
        )
    _check_output(options)
    with ExitStack() as stack:
        source = open_source(options, config, stack)
        pipeline = build_pipeline(config, lambda text: print(text, file=sys.stderr))
        sink = _open_sink(options, config, pipeline.contract, source)
        stack.enter_context(sink)
        to_bag = _is_to_bag(options)
        modes: Counter[str] = Counter()
        skews_ms: list[float] = []
        dropped: Counter[str] = Counter()
        remarks: dict[str, str] = {}
        for pair in tqdm(source, total=source.total, unit='pair', disable=None):
            try:
                sink.write(pair, pipeline.process_pair(pair))
                remarks |= pipeline.remarks
                modes[pair.mode] += 1
                if pair.skew_ns is not None and pair.mode == 'fused':
                    skews_ms.append(pair.skew_ns / 1e6)
            except FrameError as error:
                dropped[error.cause] += 1
                if pair.mode == 'fused':
                    source.counts.lose(error.cause)
                source.errors.setdefault(error.cause, str(error))
                if pair.stem:
                    source.skipped[pair.stem] = str(error)
    _print_summary(options.output, source, modes, dropped)
    _print_pairs(skews_ms if to_bag else [], remarks)
    if not modes:
        raise BagError(f'no pair was fused: {why_no_pair(source, config.sync)}')
    _print_next(options, sink)
    if source.skipped and not options.skip_bad:
        raise BagError(
            f'the result is not complete: {counted(len(source.skipped), "pair")} skipped, see '
            'above; repair the images, or accept that with --skip-bad'
        )
    return 0


def _print_next(options: argparse.Namespace, sink: BagSink | FolderSink | VideoSink) -> None:
    if isinstance(sink, FolderSink) and sink.replaced:
        print(
            f'{counted(sink.replaced, "result")} replaced one of the same stamp; a bag keeps all'
        )
    if not isinstance(sink, VideoSink):
        print(f'look at it: {_view_command(options)}')


def _is_to_video(options: argparse.Namespace) -> bool:
    path = options.output
    return path.suffix.lower() in CODECS and options.to is None and not path.is_dir()


def _is_to_bag(options: argparse.Namespace) -> bool:
    return len(options.input) == 1 and options.to != 'folder'


def _open_sink(
    options: argparse.Namespace, config: FusionConfig, contract: Contract, source: Source
) -> BagSink | FolderSink | VideoSink:
    output, how = options.output, {'replace': options.overwrite, 'overlay': options.overlay}
    if isinstance(source, VideoSource) and _is_to_video(options):
        return VideoSink(output, contract, source, **how)
    if _is_to_video(options):
        raise ConfigError(f'{output} is a video, which is written from two videos; name a folder')
    if _is_to_bag(options):
        return BagSink(output, contract, source, threshold=config.score_threshold, **how)
    return FolderSink(output, contract, source, **how)


def _check_output(options: argparse.Namespace) -> None:
    """Raise OutputError if the output is there and may not be replaced."""
    path, inputs = options.output, [one.resolve() for one in options.input]
    for given, folder in zip(options.input, inputs, strict=True):
        if folder in path.resolve().parents:
            raise OutputError(f'{path} is inside the input {given}: name a path outside of it')
    if not path.exists():
        return
    if not options.overwrite:
        kind = 'file' if _is_to_video(options) else 'folder'
        raise OutputError(f'{path} exists: name a new {kind}, or add --overwrite')
    bag = path / 'metadata.yaml'
    is_result = (
        _is_to_video(options)
        or (path / DETECTIONS).is_file()
        or (bag.is_file() and '/fused/image_raw' in bag.read_text(errors='replace'))
    )
    holds_input = any(path.resolve() in (one, *one.parents) for one in inputs)
    if holds_input or not (is_result or (path.is_dir() and not any(path.iterdir()))):
        raise OutputError(f'{path} is no result of tdfusion fuse, so it is not replaced')


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
    if not modes:  # what follows is in the error
        return
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
            print(f'while a camera stalled: {what} (see docs/thermal.md)')


def _print_pairs(skews_ms: list[float], remarks: dict[str, str]) -> None:
    """Print the skew of the pairs, and the remarks on ir images, by the setting's name."""
    if skews_ms:
        print(
            f'ir minus rgb stamps of the pairs: median {median(skews_ms):.1f} ms, largest '
            f'{max(skews_ms, key=abs):.1f} ms'
        )
    for name, remark in sorted(remarks.items()):
        print(f'{name}: {remark}')


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
