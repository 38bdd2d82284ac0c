"""``tdfusion view``: make an HTML report of a bag or a result folder."""

import argparse
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tdfusion_ros.atomic import add_output
from tdfusion_ros.atomic import check_file
from tdfusion_ros.atomic import write_file
from tdfusion_ros.core.errors import ConfigError
from tdfusion_ros.tools.options import add_shared
from tdfusion_ros.tools.options import config_of


def add(commands: Any) -> None:
    view = commands.add_parser(
        'view',
        help='make an HTML report of a bag or a result folder: images, timing, detections',
        description='Write one HTML file, readable without a network, about a bag with results '
        'of the live node or of tdfusion fuse.',
    )
    add = view.add_argument
    add(
        'input',
        nargs='?',
        type=Path,
        metavar='BAG',
        help='bag with results, or a result folder of tdfusion fuse',
    )
    add('others', nargs='*', help=argparse.SUPPRESS)  # to say what two folders need
    add_output(view, 'HTML file to write; default: report.html, which is replaced')
    meaning = (
        'what was fused, if it is not in the same bag: a bag, or the folders or videos RGB IR'
    )
    add('--inputs', type=Path, nargs='+', default=[], metavar='INPUT', help=meaning)
    add('--namespace', help='namespace of the rig; default: the first one with results')
    add('--moments', type=int, default=8, metavar='N', help='rows of images, 0 to 24; default: 8')
    add_shared(view, pairs=False)
    view.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from tdfusion_ros.formats.bags import BagReader
    from tdfusion_ros.formats.sinks import DETECTIONS
    from tdfusion_ros.formats.videos import CODECS
    from tdfusion_ros.tools.view.report import MAX_MOMENTS
    from tdfusion_ros.tools.view.report import render_report
    from tdfusion_ros.tools.view.result_folder import camera_images
    from tdfusion_ros.tools.view.result_folder import ResultFolder

    if options.input is None and options.inputs:  # view --inputs BAG RESULT
        options.input = options.inputs.pop()
    path = options.input
    if path is None:
        raise ConfigError('name a bag with results, or a result folder of tdfusion fuse')
    if options.others:
        raise ConfigError(
            f'view reads one bag or folder of results, got {1 + len(options.others)}: first run '
            'tdfusion fuse RGB IR -o RESULT, then tdfusion view RESULT'
        )
    if path.suffix.lower() in CODECS and path.is_file():
        raise ConfigError(f'{path} is a video: play it; view reads bags and result folders')
    if not 0 <= options.moments <= MAX_MOMENTS:
        raise ConfigError(f'--moments must be 0 to {MAX_MOMENTS}, got {options.moments}')
    output = options.output or Path('report.html')
    read = [path, *options.inputs, options.config]
    check_file(output, read, overwrite=options.overwrite or not options.output)
    is_folder, sync = (path / DETECTIONS).is_file(), config_of(options, 'sync.').sync
    if len(options.inputs) > 1 + is_folder:
        raise ConfigError(
            f'--inputs takes one bag, or RGB IR for a result folder, got {len(options.inputs)} '
            f'paths; {path} is a {"result folder" if is_folder else "bag"}'
        )
    with ExitStack() as stack:
        bag: BagReader | ResultFolder
        inputs = None
        if is_folder and len(options.inputs) == 2:
            bag = ResultFolder(path, camera_images(options.inputs, sync))
        else:
            bag = ResultFolder(path) if is_folder else stack.enter_context(BagReader(path))
            inputs = stack.enter_context(BagReader(*options.inputs)) if options.inputs else None
        how = {'namespace': options.namespace, 'moments': options.moments}
        how |= {'rgb': options.rgb_topic, 'ir': options.ir_topic, 'sync': sync}
        text = render_report(bag, inputs, **how)
    write_file(output, text)
    print(f'{path} -> {output}, {len(text) / 1e6:.1f} MB')
    return 0
