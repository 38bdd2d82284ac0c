"""``tdfusion compose``: a bundle of our fusion network and your detector."""

import argparse
from pathlib import Path
from typing import Any

from tdfusion_ros.build import find_bundle
from tdfusion_ros.compose.heads import KINDS
from tdfusion_ros.compose.image_layout import FITS
from tdfusion_ros.compose.image_layout import ORDERS
from tdfusion_ros.core.errors import ConfigError
from tdfusion_ros.tools.options import sizes_hw

NEEDS = 'tdfusion compose needs the package onnx: pip install onnx'


def add(commands: Any) -> None:
    command = commands.add_parser(
        'compose',
        help='make a bundle of a fusion network and your own detector (ONNX)',
        description='Join the fusion network of a bundle and a detector in an ONNX file into one '
        'graph. The detector reads the fused image; one with four input channels reads rgb and '
        'infrared. Its kind, input and classes are recognized; name what is recognized wrongly.',
    )
    add_option = command.add_argument
    add_option('--fusion', default='msrs_rt', metavar='BUNDLE', help='default: msrs_rt')
    add_option('--detector', type=Path, required=True, metavar='FILE', help='the ONNX file')
    add_option('-o', '--output', type=Path, required=True, metavar='FOLDER', help='the new bundle')
    add_option('--kind', choices=KINDS, default='', help='what its outputs mean')
    add_option(
        '--classes',
        default='',
        metavar='FILE',
        help="class names, one per line, or coco, or coco91; default: the file's own, or coco",
    )
    add_option('--size', metavar='WxH', help='its input size, if the file leaves it open')
    add_option('--order', choices=ORDERS, help='order of its input channels')
    add_option(
        '--fit',
        choices=FITS,
        help='how the image gets that size: gray borders around it, at bottom or right, or none',
    )
    for name, default in (('mean', '0'), ('std', '255, or 1 for levels')):
        add_option(
            f'--{name}',
            type=float,
            nargs='+',
            metavar='LEVEL',
            help=f'it reads (level - mean) / std, levels are 0 to 255; {default}, or one number '
            'per channel',
        )
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Write the bundle and say how the detector was understood; return the exit status."""
    try:
        from tdfusion_ros.compose.composed_bundle import Choices
        from tdfusion_ros.compose.composed_bundle import compose
    except ModuleNotFoundError as error:
        raise ConfigError(f'{NEEDS} ({error})') from None
    if options.std and 0 in options.std:
        raise ConfigError('--std must not be 0')
    choices = Choices(
        kind=options.kind,
        classes=options.classes,
        size_hw=sizes_hw([options.size])[0] if options.size else None,
        order=options.order,
        fit=options.fit,
        mean=tuple(options.mean) if options.mean else None,
        std=tuple(options.std) if options.std else None,
    )
    print(compose(find_bundle(options.fusion), options.detector, options.output, choices))
    return 0
