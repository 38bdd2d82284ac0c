"""``tdfusion calibrate``: where a pixel of rgb lies in ir, as a file for the node."""

import argparse
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any
from typing import TYPE_CHECKING

import numpy as np

from tdfusion_ros.core.calibration import Camera
from tdfusion_ros.core.calibration import Extrinsics
from tdfusion_ros.core.calibration import Homography
from tdfusion_ros.core.calibration import parse_calibration
from tdfusion_ros.core.errors import ConfigError
from tdfusion_ros.core.registration import check_view
from tdfusion_ros.tools.calibrate.output import document
from tdfusion_ros.tools.options import add_config
from tdfusion_ros.tools.options import add_topics
from tdfusion_ros.tools.options import check_output
from tdfusion_ros.tools.options import config_of
from tdfusion_ros.tools.options import source_of

if TYPE_CHECKING:
    from tdfusion_ros.formats.bags import BagReader
    from tdfusion_ros.tools.calibrate.samples import Pairs

PAIRS = 30
MODELS = ('auto', 'similarity', 'affine', 'homography')


def add(commands: Any) -> None:
    """Say what the command takes."""
    calibrate = commands.add_parser(
        'calibrate',
        help='find where rgb pixels lie in ir',
        description='Write the calibration that the node reads, from one of three things: the '
        'pairs of a bag or of two folders; points picked in both images (--points); or '
        'camera_info of both cameras, where they are to each other, and a distance (--depth-m '
        'with --cameras or --rgb-info and --ir-info). See docs/calibration.md.',
    )
    one = calibrate.add_argument
    one('input', nargs='*', type=Path, metavar='INPUT', help='BAG, or RGB_FOLDER IR_FOLDER')
    one('-o', '--output', required=True, type=Path, metavar='FILE', help='calibration to write')
    one('--overlay', type=Path, metavar='PNG', help='picture to judge by; default: beside FILE')
    one('--pairs', type=int, default=PAIRS, help=f'pairs used, spread evenly (default {PAIRS})')
    one('--model', choices=MODELS, default='auto', help='auto: what fits held-out places best')
    one('--start', type=Path, metavar='POINTS', help='rough points to begin the matching from')
    one('--points', type=Path, metavar='FILE', help='picked points: YAML, JSON or CSV')
    one('--cameras', action='store_true', help="from the bag's camera_info and /tf_static")
    for stream in ('rgb', 'ir'):
        one(f'--{stream}-info', type=Path, metavar='FILE', help='camera_calibration YAML')
    one('--extrinsics', type=Path, metavar='FILE', help='pose of ir to rgb, instead of TF')
    one('--depth-m', type=float, help='distance at which the images shall (or do) line up [m]')
    one('--baseline-m', type=float, help='between the lenses, for the error by distance [m]')
    one('--focal-px', type=float, help='of ir, likewise [px]')
    add_topics(calibrate)
    add_config(calibrate)
    calibrate.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Estimate, say how good it is, and write it with its picture."""
    from tdfusion_ros.tools.calibrate import output as files

    picture = options.overlay or options.output.with_suffix('.png')
    for path in (options.output, picture):
        check_output(path)
    if options.pairs < 1:
        raise ConfigError(f'--pairs must be at least 1, got {options.pairs}')
    cameras = options.cameras or options.rgb_info or options.ir_info
    if options.points and cameras:
        raise ConfigError('--points and camera_info are two ways; choose one')
    pairs = _pairs(options, 1 if cameras else options.pairs) if options.input else None
    if cameras:
        calibration, said = _from_cameras(options, pairs)
    elif options.points:
        calibration, said = _from_points(options, pairs)
    else:
        calibration, said = _from_pairs(options, pairs)
    check_view(calibration)
    print('\n'.join(said))
    remarks = ['Written by tdfusion calibrate.', *said, 'Look at ir_registered/edges, live.']
    files.write_yaml(options.output, files.yaml_text(calibration, remarks))
    if pairs is None:
        print(f'{options.output} is written; without images there is no picture of it')
    else:
        shown = sorted({0, len(pairs.gray) // 2, len(pairs.gray) - 1})
        files.write_overlay(picture, [pairs.gray[i] for i in shown], calibration)
        print(f'{options.output} is written; look at {picture}: do the edges lie on the objects?')
    return 0


def _pairs(options: argparse.Namespace, number: int) -> 'Pairs':
    from tdfusion_ros.tools.calibrate.samples import some_pairs

    config = config_of(options)
    with ExitStack() as stack:
        return some_pairs(source_of(options, config, stack), number, config.ir)


def _models(options: argparse.Namespace) -> tuple[str, ...]:
    return MODELS[1:] if options.model == 'auto' else (options.model,)


def _from_pairs(options: argparse.Namespace, pairs: 'Pairs | None') -> tuple[Any, list[str]]:
    from tdfusion_ros.tools.calibrate import summary as report
    from tdfusion_ros.tools.calibrate.automatic import calibrate
    from tdfusion_ros.tools.calibrate.picked import read_points
    from tdfusion_ros.tools.calibrate.picked import rough_start
    from tdfusion_ros.tools.calibrate.plausibility import check_estimate

    if pairs is None:
        raise ConfigError('name a bag, two folders, --points, or --rgb-info and --ir-info')
    start = rough_start(read_points(options.start)) if options.start else None
    estimate = calibrate(pairs.gray, start, _models(options))
    check_estimate(estimate, pairs.rgb_hw, pairs.ir_hw)
    said = report.of_estimate(estimate, len(pairs.gray), pairs.rgb_hw, pairs.ir_hw)
    calibration = Homography(estimate.matrix, pairs.rgb_hw, pairs.ir_hw)
    return calibration, [*said, *_distances(options)]


def _from_points(options: argparse.Namespace, pairs: 'Pairs | None') -> tuple[Any, list[str]]:
    from tdfusion_ros.tools.calibrate import summary as report
    from tdfusion_ros.tools.calibrate.picked import fit_points
    from tdfusion_ros.tools.calibrate.picked import read_points
    from tdfusion_ros.tools.calibrate.plausibility import check_transform

    points = read_points(options.points)
    sizes = (pairs.rgb_hw, pairs.ir_hw) if pairs else (points.rgb_size_hw, points.ir_size_hw)
    fitted = fit_points(replace(points, ir_size_hw=sizes[1]), _models(options))
    if None not in sizes:
        check_transform(fitted.matrix, *sizes)
    said = [*report.of_points(fitted, sizes[0]), *_distances(options)]
    return Homography(fitted.matrix, *sizes), said


def _from_cameras(options: argparse.Namespace, pairs: 'Pairs | None') -> tuple[Any, list[str]]:
    from tdfusion_ros.formats.bags import BagReader
    from tdfusion_ros.tools.calibrate import distance
    from tdfusion_ros.tools.calibrate import samples as sources
    from tdfusion_ros.tools.calibrate import summary as report
    from tdfusion_ros.tools.calibrate import tf as transforms

    if options.depth_m is None or not options.depth_m > 0:
        raise ConfigError('say at which distance the images shall line up, as --depth-m 20')
    with ExitStack() as stack:
        bag = stack.enter_context(BagReader(options.input[0])) if len(options.input) == 1 else None
        rgb, ir = (_camera(options, stream, bag, pairs) for stream in ('rgb', 'ir'))
        if options.extrinsics:
            pose = transforms.from_file(options.extrinsics)
        elif bag is not None and pairs is not None:
            pose = transforms.from_tf(sources.static_transforms(bag), *pairs.frames)
        else:
            raise ConfigError(
                'say where ir is to rgb: --extrinsics FILE, or a bag with /tf_static'
            )
    made = Extrinsics(rgb, ir, pose.rotation, pose.translation_m, float(options.depth_m))
    made = parse_calibration(document(made))  # what the node would refuse is refused here
    baseline = float(np.linalg.norm(pose.rotation.T @ pose.translation_m))
    return made, [
        f'from camera_info: the images line up at {options.depth_m:g} m; ir is {baseline:.3f} m '
        'from rgb',
        *report.by_distance(distance.errors_px(made)),
    ]


def _camera(
    options: argparse.Namespace, stream: str, bag: 'BagReader | None', pairs: 'Pairs | None'
) -> Camera:
    from tdfusion_ros.tools.calibrate import cameras
    from tdfusion_ros.tools.calibrate import samples as sources

    image_hw = getattr(pairs, f'{stream}_hw') if pairs else None
    file = getattr(options, f'{stream}_info')
    if file:
        return cameras.from_file(file, stream, image_hw)
    if bag is None:
        raise ConfigError(
            f'the camera_info of {stream} is missing: a bag, or --{stream}-info FILE'
        )
    topic = getattr(bag.find(options.rgb_topic, options.ir_topic), stream)
    return cameras.from_message(sources.camera_info(bag, topic, stream), stream, image_hw)


def _distances(options: argparse.Namespace) -> list[str]:
    from tdfusion_ros.tools.calibrate import distance
    from tdfusion_ros.tools.calibrate import summary as report

    needed = ('focal_px', 'baseline_m', 'depth_m')
    values = [getattr(options, name) for name in needed]
    missing = [f'--{name.replace("_", "-")}' for name in needed if getattr(options, name) is None]
    if missing:
        return report.by_distance(None, ' and '.join(missing))
    if not all(value > 0 for value in values):
        raise ConfigError('--focal-px, --baseline-m and --depth-m must be above 0')
    return report.by_distance(distance.parallax_px(*values))
