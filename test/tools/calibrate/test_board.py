"""``tdfusion calibrate --board``: found in both cameras, calibrated, and refused if unreliable."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from tdfusion_ros.build import load_calibration
from tdfusion_ros.cli import main
from tdfusion_ros.core.calibration import Camera
from tdfusion_ros.core.calibration import Extrinsics
from tdfusion_ros.core.errors import CalibrationError
from tdfusion_ros.core.registration import rgb_to_ir
from tdfusion_ros.tools.calibrate.board_fit import fit_board
from tdfusion_ros.tools.calibrate.board_fit import fit_flat
from tdfusion_ros.tools.calibrate.board_views import Board
from tdfusion_ros.tools.calibrate.board_views import find_grid
from tdfusion_ros.tools.calibrate.board_views import find_views
from tdfusion_ros.tools.calibrate.board_views import View
from tdfusion_ros.tools.calibrate.image_pairs import ImagePairs
from tdfusion_ros.tools.calibrate.plausibility import visible

BOARDS = Path(__file__).resolve().parents[4] / 'shared' / 'data' / 'boards'
BOARD = Board('checkerboard', 4, 6, 0.1)
RGB = Camera((480, 640), np.array([[600.0, 0, 319.5], [0, 600, 239.5], [0, 0, 1]]), np.zeros(0))
IR = Camera(
    (120, 160),
    np.array([[150.0, 0, 79.5], [0, 150, 59.5], [0, 0, 1]]),
    np.array([-0.2, 0, 0, 0, 0]),
)
TURN = cv2.Rodrigues(np.array([0.01, -0.02, 0.03]))[0]
RIG = Extrinsics(RGB, IR, TURN, np.array([-0.06, 0.01, 0.005]), 5.0)


def views(number, *, tilt=0.6, noise_px=0.1, seed=0):
    """Return views of a board that is held 0.8 to 1.4 m away."""
    rng = np.random.default_rng(seed)
    found = []
    while len(found) < number:
        turn = cv2.Rodrigues(rng.uniform(-tilt, tilt, 3))[0]
        middle = np.array(
            [rng.uniform(-0.3, 0.3), rng.uniform(-0.25, 0.25), rng.uniform(0.8, 1.4)]
        )
        world = (BOARD.points_m - BOARD.points_m.mean(axis=0)) @ turn.T + middle
        images = []
        for camera, pose in ((RGB, (np.eye(3), np.zeros(3))), (IR, (TURN, RIG.translation_m))):
            moved = cv2.Rodrigues(pose[0])[0]
            xy = cv2.projectPoints(world, moved, pose[1], camera.k, camera.d)[0][:, 0]
            images.append(xy + rng.normal(0, noise_px, xy.shape))
        if all(
            ((xy > 4) & (xy < np.array(camera.size_hw[::-1]) - 4)).all()
            for xy, camera in zip(images, (RGB, IR), strict=True)
        ):
            xys = (xy.astype(np.float32) for xy in images)
            found.append(View(len(found), f'pair {len(found)}', *xys))
    return found


def picture(board, *, bright, size_hw, turn=0.0):
    """Return an image of a board, its points where the second value says."""
    height, width = size_hw
    side = 40
    at = (board.points_m[:, :2] / board.spacing_m + 1) * side
    if board.kind == 'discs':
        flat = np.zeros(((board.rows + 1) * side, (board.columns + 1) * side), np.uint8)
        for center in at.round().astype(int).tolist():
            cv2.circle(flat, center, side * 3 // 8, 255, -1)
    else:
        squares = np.indices((board.rows + 1, board.columns + 1)).sum(axis=0) % 2
        flat = np.kron(squares, np.ones((side, side))).astype(np.uint8) * 255
        at -= 0.5
    flat = flat if bright else 255 - flat
    scale = 0.6 * min(height / flat.shape[0], width / flat.shape[1])
    matrix = cv2.getRotationMatrix2D((flat.shape[1] / 2, flat.shape[0] / 2), turn, scale)
    matrix[:, 2] += np.array([width, height]) / 2 - np.array(flat.shape[::-1]) / 2
    border = 255 if board.kind == 'checkerboard' or not bright else 0
    image = cv2.warpAffine(flat, matrix, (width, height), flags=cv2.INTER_AREA, borderValue=border)
    image = (cv2.GaussianBlur(image, (0, 0), 0.7) * 0.4 + 60).astype(np.uint8)
    return image, cv2.transform(np.array([at], np.float64), matrix)[0]


@pytest.mark.parametrize('kind', ['discs', 'checkerboard'])
@pytest.mark.parametrize('bright', [True, False])
@pytest.mark.parametrize('size_hw', [(120, 160), (480, 640)])
def test_a_board_is_found_dark_or_bright_small_or_large(kind, bright, size_hw):
    board = Board(kind, 4, 5, 0.1)
    image, expected = picture(board, bright=bright, size_hw=size_hw, turn=10)
    found = find_grid(image, board)
    assert found is not None
    assert np.abs(found.reshape(-1, 2) - expected).max() < 0.5


def test_no_board_is_found_where_there_is_none():
    rng = np.random.default_rng(0)
    noise = cv2.GaussianBlur(rng.integers(0, 255, (120, 160), np.uint8), (0, 0), 3)
    for kind in ('discs', 'checkerboard'):
        assert find_grid(noise, Board(kind, 4, 5, 0.1)) is None


@pytest.mark.parametrize('seed', [0, 1])
def test_a_calibration_from_boards_is_as_good_as_it_says(seed):
    found = fit_board(views(8, seed=seed), BOARD, (RGB.size_hw, IR.size_hw), 5.0)
    points = visible(RIG, RGB.size_hw, IR.size_hw)
    image, truth = (
        rgb_to_ir(c, points, RGB.size_hw, IR.size_hw) for c in (found.calibration, RIG)
    )
    error_px = np.median(np.linalg.norm(image - truth, axis=1))
    assert error_px < 1.0
    assert np.median(found.expected_px) > error_px / 1.5
    assert found.median_px < 0.4
    assert found.lens.startswith('k1')


def test_given_cameras_are_kept_and_need_fewer_boards():
    found = fit_board(views(3), BOARD, (RGB, IR), 5.0)
    assert found.calibration.ir is IR
    np.testing.assert_allclose(found.calibration.translation_m, RIG.translation_m, atol=5e-3)


def test_a_pair_that_contradicts_the_others_is_left_out_by_name():
    some = views(8)
    some[3] = replace(some[3], ir_xy=some[3].ir_xy + np.float32(6))
    found = fit_board(some, BOARD, (RGB, IR), 5.0)
    assert found.left_out == ('pair 3',)
    assert found.median_px < 0.4


@pytest.mark.parametrize(
    ('some', 'cameras', 'reason'),
    [
        (views(4), (RGB.size_hw, IR.size_hw), 'in 4 pairs, expected at least 5'),
        (views(8, tilt=0.0), (RGB.size_hw, IR.size_hw), 'tilt the board'),
        (views(8, noise_px=3.0), (RGB, IR), 'reliable calibration: pair .* from where'),
    ],
    ids=['few', 'parallel', 'contradictory'],
)
def test_boards_that_give_no_reliable_calibration_are_refused(some, cameras, reason):
    with pytest.raises(CalibrationError, match=reason):
        fit_board(some, BOARD, cameras, 5.0)


def test_boards_far_away_give_a_homography_without_tilt_or_spacing():
    found = fit_flat(views(4, tilt=0.1), 'homography')
    assert np.median(found.held_out_px) < 3
    with pytest.raises(CalibrationError, match='expected at least 2'):
        fit_flat(views(1), 'homography')


def test_camera_that_never_sees_the_board_is_named(tmp_path, capsys):
    shown = picture(Board('discs', 4, 5, 0.1), bright=True, size_hw=(240, 320))[0]
    for stream, image in (('rgb', shown), ('ir', np.full_like(shown, 90))):
        (tmp_path / stream).mkdir()
        for stem in 'ab':
            cv2.imwrite(str(tmp_path / stream / f'{stem}.png'), image)
    folders = (str(tmp_path / stream) for stream in ('rgb', 'ir'))
    given = ('--board', 'discs', '4x5', '--spacing-m', '0.1', '--depth-m', '3')
    assert main(['calibrate', *folders, *given, '-o', str(tmp_path / 'rig.yaml')]) == 1
    said = capsys.readouterr().err
    assert 'ir never sees the board, the other camera in 2 of 2 pairs' in said
    assert 'metal or holes' in said


@pytest.mark.parametrize('kind', ['discs', 'checkerboard'])
@pytest.mark.parametrize('given', [(5, 7), (4, 4), (3, 5)])
def test_another_size_of_the_board_is_named_after_the_first_pairs(kind, given):
    shown = [
        picture(Board(kind, 4, 6, 0.1), bright=True, size_hw=(240, 320), turn=turn)[0]
        for turn in (0, 10, 20)
    ]
    pairs = ImagePairs([(image, image.astype(np.float32) / 255) for image in shown], ['a'] * 3)
    said = []
    find_views(pairs, Board(kind, *given, 0.1), said.append)
    (line,) = said
    assert line.endswith(f'if that is yours, give --board {kind} 4x6')
    find_views(pairs, Board(kind, 6, 4, 0.1), said.append)
    assert said == [line]


@pytest.mark.parametrize(
    ('kind', 'size', 'options', 'limit_px'),
    [('discs', '4x6', (), 2.5), ('checkerboard', '6x4', ('-p', 'ir.color=luma'), 1.0)],
)
@pytest.mark.skipif(not BOARDS.is_dir(), reason='the board pictures are not here')
def test_real_boards_are_calibrated(kind, size, options, limit_px, tmp_path, capsys):
    folders, path = (str(BOARDS / kind / stream) for stream in ('vi', 'ir')), tmp_path / 'rig.yaml'
    given = ('--board', kind, size, '--spacing-m', '0.1', '--depth-m', '3', '-o', str(path))
    assert main(['calibrate', *folders, *given, '--pairs', '6', *options]) == 0
    printed = capsys.readouterr().out
    assert 'in both of 6 of 6 pairs' in printed
    line = next(line for line in printed.splitlines() if line.startswith('held out'))
    assert float(line.split('median ')[1].split()[0]) < limit_px
    assert isinstance(load_calibration(str(path)), Extrinsics)
    assert cv2.imread(str(path.with_suffix('.png'))).shape[0] == 6 * 360
