"""``tdfusion view``: a bag in, a report to look at out."""

import argparse
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tdfusion_ros.core.errors import ConfigError
from tdfusion_ros.tools.options import add_topics


def add(commands: Any) -> None:
    """Say what the command takes."""
    view = commands.add_parser(
        'view',
        help='make a report of a bag: pictures, timing, detections',
        description='Write one HTML file, which needs no network, about a bag with results: '
        'recorded from the live node, or written by tdfusion fuse.',
    )
    view.add_argument('input', type=Path, metavar='BAG', help='with results')
    view.add_argument(
        '-o', '--output', type=Path, default=Path('report.html'), help='default: report.html'
    )
    view.add_argument(
        '--inputs',
        type=Path,
        metavar='BAG',
        help="with the cameras' images, where they are not in the same bag",
    )
    view.add_argument('--namespace', help='of the rig; default: the first with results')
    view.add_argument(
        '--moments', type=int, default=8, metavar='N', help='rows of pictures, 0 to 24; default: 8'
    )
    add_topics(view)
    view.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Write the report and say where it is."""
    from tdfusion_ros.formats.bags import BagReader
    from tdfusion_ros.tools.view.report import MAX_MOMENTS
    from tdfusion_ros.tools.view.report import render_report
    from tdfusion_ros.tools.view.report import write_html

    if not 0 <= options.moments <= MAX_MOMENTS:
        raise ConfigError(f'--moments must be 0 to {MAX_MOMENTS}, got {options.moments}')
    with ExitStack() as stack:
        bag = stack.enter_context(BagReader(options.input))
        inputs = stack.enter_context(BagReader(options.inputs)) if options.inputs else None
        text = render_report(
            bag,
            inputs,
            namespace=options.namespace,
            rgb=options.rgb_topic,
            ir=options.ir_topic,
            moments=options.moments,
        )
    write_html(options.output, text)
    print(f'{options.input} -> {options.output}, {len(text) / 1e6:.1f} MB')
    return 0
