"""``tdfusion calibrate``: find the ir pixel of each rgb pixel, and write it for the node."""

import argparse
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
import sys
from typing import Any

import numpy as np

from tdfusion_ros.atomic import add_output
from tdfusion_ros.atomic import check_file
from tdfusion_ros.atomic import write_files
from tdfusion_ros.core.calibration import Camera
from tdfusion_ros.core.calibration import cropped_camera
from tdfusion_ros.core.calibration import Extrinsics
from tdfusion_ros.core.calibration import Homography
from tdfusion_ros.core.calibration import parse_calibration
from tdfusion_ros.core.calibration import Size
from tdfusion_ros.core.errors import CalibrationError
from tdfusion_ros.core.errors import ConfigError
from tdfusion_ros.core.registration import check_view
from tdfusion_ros.formats.bags import BagReader
from tdfusion_ros.formats.transforms import pose_from_tf
from tdfusion_ros.tools.calibrate import board_fit
from tdfusion_ros.tools.calibrate import board_report
from tdfusion_ros.tools.calibrate import board_views
from tdfusion_ros.tools.calibrate import cameras
from tdfusion_ros.tools.calibrate import geometry
from tdfusion_ros.tools.calibrate import output
from tdfusion_ros.tools.calibrate import picked_points
from tdfusion_ros.tools.calibrate import plausibility
from tdfusion_ros.tools.calibrate.automatic import calibrate
from tdfusion_ros.tools.calibrate.image_pairs import ImagePairs
from tdfusion_ros.tools.calibrate.image_pairs import read_pairs
from tdfusion_ros.tools.calibrate.transform_fit import MODELS
from tdfusion_ros.tools.options import add_shared
from tdfusion_ros.tools.options import config_of
from tdfusion_ros.tools.options import counted
from tdfusion_ros.tools.options import open_source

PAIRS = 30


def add(commands: Any) -> None:
    parser = commands.add_parser(
        'calibrate',
        help='find which ir pixel belongs to each rgb pixel',
        description='Write the calibration that the node reads, from one of four sources: image '
        'pairs of a bag, two folders or two videos; pairs in which both cameras see a board '
        '(--board); points picked in both images (--points); or camera_info of both '
        'cameras, the pose between them, and a distance (--depth-m with '
        '--cameras or --rgb-info and --ir-info). See docs/calibration.md.',
    )
    option = parser.add_argument
    option('input', nargs='*', type=Path, metavar='INPUT', help='BAG, or folders or videos RGB IR')
    add_output(parser, 'calibration to write', required=True)
    option('--overlay', type=Path, metavar='PNG', help='picture to check; default: beside FILE')
    option('--pairs', type=int, default=PAIRS, help=f'pairs to use, evenly (default {PAIRS})')
    text = 'auto: the simplest with a low held-out error'
    option('--model', choices=('auto', *MODELS), default='auto', help=text)
    option('--start', type=Path, metavar='POINTS', help='rough points, where matching starts')
    option('--points', type=Path, metavar='FILE', help='picked points: YAML, JSON or CSV')
    text = "find a board: 'discs 4x6' or 'checkerboard 6x8' (rows x columns; inner corners)"
    option('--board', nargs=2, metavar=('KIND', 'SIZE'), help=text)
    option('--spacing-m', type=float, help='between neighboring discs or corners of the board [m]')
    option('--cameras', action='store_true', help="use the bag's camera_info and /tf_static")
    for stream in ('rgb', 'ir'):
        option(f'--{stream}-info', type=Path, metavar='FILE', help='camera_calibration YAML')
    option('--extrinsics', type=Path, metavar='FILE', help='pose from rgb to ir, instead of TF')
    option('--depth-m', type=float, help='distance at which the images line up [m]')
    option('--baseline-m', type=float, help='between the lenses, for the error by distance [m]')
    option('--focal-px', type=float, help='focal length of ir, for the error by distance [px]')
    add_shared(parser, pairs=True)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Calibrate, print the accuracy, and write the calibration and its picture."""
    picture = options.overlay or options.output.with_suffix('.png')
    for path in (options.output, picture):
        inputs = [*options.input, *_given_files(options)]
        check_file(path, inputs, overwrite=options.overwrite)
    from_cameras = options.cameras or options.rgb_info or options.ir_info
    board, config = _board(options), config_of(options, 'sync.', 'ir.')
    _check_combination(options, from_cameras=bool(from_cameras))
    pairs = None
    if options.input:
        number = 1 if from_cameras and not options.board else options.pairs
        with ExitStack() as stack:
            source = open_source(options, config, stack)
            pairs = read_pairs(source, number, config)
        for cause, line in source.errors.items():
            print(f'note: left out: {source.dropped[cause] or 1} {cause}, the first: {line}')
        for line in source.remarks():
            print(f'note: {line}')
    calibration: Homography | Extrinsics
    image = None
    if board and pairs:
        calibration, figures, image = _from_board(options, pairs, board)
    elif from_cameras:
        calibration, figures = _from_cameras(options, pairs)
    elif options.points:
        calibration, figures = _from_points(options, pairs)
    elif pairs:
        calibration, figures = _from_pairs(options, pairs)
    else:
        raise ConfigError(
            'give a bag, two folders or videos, --points, or --rgb-info and --ir-info'
        )
    check_view(calibration)
    figures += _distance_figures(options, calibration)
    print('\n'.join(figures))
    check = 'Check it live on the topic ir_registered/edges.'
    remarks = ['Written by tdfusion calibrate.', *figures, check]
    files = {options.output: output.yaml_text(calibration, remarks).encode()}
    if pairs is None:
        write_files(files)
        print(f'wrote {options.output}; no picture, because no images were given')
    else:
        files[picture] = image or output.overlay_png(pairs.gray, calibration)
        write_files(files)
        seen = 'both colors meet' if image else 'the edges lie on the objects'
        print(f'wrote {options.output}; check in {picture} that {seen}')
    return 0


def _given_files(options: argparse.Namespace) -> list[Path]:
    names = ('points', 'start', 'rgb_info', 'ir_info', 'extrinsics', 'config')
    files = [file for name in names if (file := getattr(options, name))]
    for file in files:
        if not file.is_file():
            raise ConfigError(f'{file} is not a file: correct the path')
    return files


def _check_combination(options: argparse.Namespace, *, from_cameras: bool) -> None:
    if options.pairs < 1:
        raise ConfigError(f'--pairs must be at least 1, got {options.pairs}')
    if options.points and (from_cameras or options.board):
        raise ConfigError('--points, --board and camera_info exclude each other; choose one')
    if options.spacing_m is not None and not options.board:
        raise ConfigError('--spacing-m is of a board: add --board KIND SIZE')
    if options.board and not options.input:
        raise ConfigError('--board needs pairs: give a bag, or two folders or videos')
    distances = (options.focal_px, options.baseline_m, options.depth_m)
    if not all(value > 0 for value in distances if value is not None):
        raise ConfigError('--focal-px, --baseline-m and --depth-m must be above 0')
    if options.depth_m is None and (from_cameras or (options.board and options.model == 'auto')):
        raise ConfigError('give the distance at which the images line up, as --depth-m 20')
    if (options.overlay or options.output.with_suffix('.png')) == options.output:
        raise ConfigError(f'-o {options.output} is the name of the picture: name a .yaml file')


def _models(options: argparse.Namespace) -> tuple[str, ...]:
    return MODELS if options.model == 'auto' else (options.model,)


def _from_pairs(options: argparse.Namespace, pairs: ImagePairs) -> tuple[Homography, list[str]]:
    start = None
    if options.start:
        start = picked_points.rough_start(picked_points.read_points(options.start))
    sizes = pairs.rgb_hw, pairs.ir_hw
    found = calibrate(pairs.gray, start, _models(options))
    plausibility.check_estimate(found, *sizes)
    figures = output.estimate_figures(found, len(pairs.gray), *sizes)
    return Homography(found.matrix, *sizes), figures


def _board(options: argparse.Namespace) -> board_views.Board | None:
    if not options.board:
        return None
    (kind, size), default_m = options.board, 1.0 if options.model != 'auto' else None
    return board_views.board_of(kind, size, options.spacing_m or default_m)


def _from_board(
    options: argparse.Namespace, pairs: ImagePairs, board: board_views.Board
) -> tuple[Homography | Extrinsics, list[str], bytes]:
    views, seen = board_views.find_views(pairs, board, partial(print, file=sys.stderr))
    for stream, count, by_other in zip(('rgb', 'ir'), seen, seen[::-1], strict=True):
        if not count and 2 * by_other >= len(pairs.gray):
            raise CalibrationError(
                f'{stream} never sees the board, the other camera in {by_other} of '
                f'{counted(len(pairs.gray), "pair")}: it needs contrast in both. Thermal '
                'cameras do not see print: use metal or holes, and heat the board'
            )
    print(
        f'the board was found in {seen[0]} rgb images and {seen[1]} ir images, in both of '
        f'{len(views)} of {counted(len(pairs.gray), "pair")}'
    )
    if options.model != 'auto':
        found = board_fit.fit_flat(views, options.model)
        matrix = Homography(found.matrix, pairs.rgb_hw, pairs.ir_hw)
        plausibility.check_transform(found.matrix, pairs.rgb_hw, pairs.ir_hw)
        figures = board_report.flat_figures(found, views, pairs.rgb_hw)
        image = board_report.board_png(pairs, board, views, [matrix] * len(views))
        return matrix, figures, image
    with ExitStack() as stack:
        bag = _open_bag(options, stack) if options.cameras else None
        given: list[Camera | Size] = []
        for stream, size_hw in (('rgb', pairs.rgb_hw), ('ir', pairs.ir_hw)):
            given.append(size_hw)
            if options.cameras or getattr(options, f'{stream}_info'):
                given[-1] = _camera(options, stream, bag, pairs)
    fit = board_fit.fit_board(views, board, given, options.depth_m)
    aligned = board_report.aligned_at_boards(fit, board)
    image = board_report.board_png(pairs, board, fit.views, aligned)
    return fit.calibration, board_report.board_figures(fit, board), image


def _open_bag(options: argparse.Namespace, stack: ExitStack) -> BagReader | None:
    return stack.enter_context(BagReader(options.input[0])) if len(options.input) == 1 else None


def _from_points(
    options: argparse.Namespace, pairs: ImagePairs | None
) -> tuple[Homography, list[str]]:
    points = picked_points.read_points(options.points)
    if pairs:
        points = replace(points, rgb_size_hw=pairs.rgb_hw, ir_size_hw=pairs.ir_hw)
    fit = picked_points.fit_points(points, _models(options))
    if points.rgb_size_hw and points.ir_size_hw:
        plausibility.check_transform(fit.matrix, points.rgb_size_hw, points.ir_size_hw)
    figures = output.point_figures(fit, points.rgb_size_hw)
    return Homography(fit.matrix, points.rgb_size_hw, points.ir_size_hw), figures


def _distance_figures(
    options: argparse.Namespace, calibration: Homography | Extrinsics
) -> list[str]:
    if isinstance(calibration, Extrinsics):
        return output.distance_table(geometry.errors_by_distance_px(calibration))
    flags = ('--focal-px', '--baseline-m', '--depth-m')
    values = (options.focal_px, options.baseline_m, options.depth_m)
    if missing := [flag for flag, value in zip(flags, values, strict=True) if value is None]:
        return [f'error by distance: cannot be computed without {" and ".join(missing)}']
    return output.distance_table(geometry.parallax_by_distance_px(*values))


def _from_cameras(
    options: argparse.Namespace, pairs: ImagePairs | None
) -> tuple[Extrinsics, list[str]]:
    with ExitStack() as stack:
        bag = _open_bag(options, stack)
        rgb, ir = (_camera(options, stream, bag, pairs) for stream in ('rgb', 'ir'))
        if options.extrinsics:
            pose = cameras.pose_from_file(options.extrinsics)
        elif bag is not None and pairs is not None:
            pose = pose_from_tf(cameras.static_transforms(bag), *pairs.frame_ids)
        else:
            raise ConfigError(
                'the pose between the cameras is missing: give --extrinsics FILE, or a bag with '
                '/tf_static'
            )
    calibration = Extrinsics(rgb, ir, pose[:3, :3], pose[:3, 3], options.depth_m)
    parse_calibration(output.to_mapping(calibration))  # refuse what the node would refuse
    baseline_m = np.linalg.norm(pose[:3, 3])
    found = f'the images line up at {options.depth_m:g} m; ir is {baseline_m:.3f} m from rgb'
    return calibration, [f'from camera_info: {found}']


def _camera(
    options: argparse.Namespace, stream: str, bag: BagReader | None, pairs: ImagePairs | None
) -> Camera:
    sizes = [getattr(pairs, f'{stream}_hw')] if pairs else []
    sent_hw = pairs.ir_sent_hw if pairs and stream == 'ir' else None
    if sent_hw:
        sizes.insert(0, sent_hw)
    if file := getattr(options, f'{stream}_info'):
        camera = cameras.camera_from_file(file, stream, *sizes)
    elif bag is None:
        raise ConfigError(f'the camera_info of {stream} is missing: give a bag, --{stream}-info')
    else:
        topic = getattr(bag.find(options.rgb_topic, options.ir_topic), stream)
        camera = cameras.camera_from_bag(bag, topic, stream, *sizes)
    return cropped_camera(camera, sent_hw, pairs.cut) if pairs and sent_hw else camera
