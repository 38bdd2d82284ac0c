"""Find a board of discs or a checkerboard in rgb and thermal images."""

from collections import Counter
from collections.abc import Callable
from collections.abc import Iterator
from dataclasses import dataclass
import math
import re
from typing import Any

import cv2
import numpy as np

from tdfusion_ros.core.calibration import resizing
from tdfusion_ros.core.errors import ConfigError
from tdfusion_ros.tools.calibrate import geometry
from tdfusion_ros.tools.calibrate.image_pairs import ImagePairs

KINDS = ('discs', 'checkerboard')
MIN_COUNT, MAX_COUNT = 3, 50
LONG_SIDE_PX = {'discs': 640, 'checkerboard': 1280}  # larger images are made smaller
ENLARGED_PX = 640  # smaller images are enlarged: OpenCV needs squares of at least ten pixels
BLUR_PX = (0.0, 1.5, 3.0)  # a thermal image's fixed pattern frays the outline of a disc
DISC_AREAS = (2e-4, 2e-2)  # as a part of the image
MIN_SPACING_M, MAX_SPACING_M = 0.005, 1.0
FIRST_PAIRS = 3  # with no board of the size that was given: look for other sizes
PART = 0.7  # of the discs that are found, at least: belong to the board
MAX_BEND = 0.15  # of the spacing: how far a lens may bend the grid; more is no grid


@dataclass(frozen=True)
class Board:
    """A flat grid of points, ``spacing_m`` apart: centers of discs, or corners of squares."""

    kind: str
    rows: int
    columns: int
    spacing_m: float

    @property
    def points_m(self) -> np.ndarray:
        """(n, 3) float32, on the plane z = 0, row by row [m]."""
        rows, columns = np.mgrid[: self.rows, : self.columns]
        grid = np.stack([columns, rows, np.zeros_like(rows)], axis=-1).reshape(-1, 3)
        return (grid * self.spacing_m).astype(np.float32)


@dataclass(frozen=True, eq=False)
class View:
    """Where both cameras see the points of a board, (n, 2) float32 each [px]; in which pair."""

    pair: int
    name: str
    rgb_xy: np.ndarray
    ir_xy: np.ndarray


def board_of(kind: str, size: str, spacing_m: float | None) -> Board:
    """Return the board of ``discs 4x6`` or ``checkerboard 6x8``, or raise ConfigError."""
    if kind not in KINDS:
        raise ConfigError(f"--board must be {' or '.join(KINDS)}, got '{kind}'")
    counts = [int(n) for n in size.split('x')] if re.fullmatch(r'\d{1,3}x\d{1,3}', size) else [0]
    if not MIN_COUNT <= min(counts) <= max(counts) <= MAX_COUNT:
        raise ConfigError(
            f'--board {kind}: expected rows x columns of {MIN_COUNT} to {MAX_COUNT} each, as '
            f"4x6, got '{size}'; of a checkerboard count the inner corners, not the squares"
        )
    if spacing_m is None or not MIN_SPACING_M <= spacing_m <= MAX_SPACING_M:
        raise ConfigError(
            f'give --spacing-m, from one {"disc" if kind == "discs" else "corner"} to the next '
            f'one, in meters: {MIN_SPACING_M} to {MAX_SPACING_M}, got {spacing_m}'
        )
    return Board(kind, counts[0], counts[1], spacing_m)


def find_views(
    pairs: ImagePairs, board: Board, warn: Callable[[str], None]
) -> tuple[list[View], tuple[int, int]]:
    """
    Return the views of the pairs in which both cameras see the board; and how often each does.

    :param warn: called at once if the first pairs show a board of another size.
    """
    views, seen, sizes = [], [0, 0], Counter[tuple[int, int]]()
    for number, (rgb, ir) in enumerate(pairs.gray):
        images = rgb, cv2.convertScaleAbs(ir, alpha=255)
        grids = [find_grid(image, board) for image in images]
        seen = [count + (grid is not None) for count, grid in zip(seen, grids, strict=True)]
        if grids[0] is not None and grids[1] is not None:
            # Half a turn of a board looks the same.
            ir_grid = _turned(grids[1], (grids[0][:, -1] - grids[0][:, 0]).mean(axis=0))
            name = pairs.names[number]
            views.append(View(number, name, grids[0].reshape(-1, 2), ir_grid.reshape(-1, 2)))
        if number < FIRST_PAIRS:
            sizes.update(size for image in images for size in set(_sizes(image, board)))
        if number == FIRST_PAIRS - 1 and (text := _other_size(sizes, board, found=any(seen))):
            warn(text)
    return views, (seen[0], seen[1])


def _other_size(sizes: Counter[tuple[int, int]], board: Board, *, found: bool) -> str:
    """Return a sentence if the first pairs show a board of another size more than once."""
    repeated = [size for size, times in sizes.items() if times > 1]
    rows, columns = max(repeated, key=math.prod, default=(0, 0))
    # OpenCV finds a smaller grid of discs in a larger one.
    is_smaller = rows * columns <= board.rows * board.columns * found
    if is_smaller or {rows, columns} == {board.rows, board.columns}:
        return ''
    return (
        f'the first {FIRST_PAIRS} pairs seem to show a board of {rows}x{columns}, expected '
        f'{board.rows}x{board.columns}: if that is yours, give --board {board.kind} '
        f'{rows}x{columns}'
    )


def find_grid(gray: np.ndarray, board: Board) -> np.ndarray | None:
    """
    Return where a board is in an image: (rows, columns, 2) float32 [px]; None if it is not found.

    Columns lead to the right and rows down, for a board that is turned by less than a quarter.

    :param gray: (H, W) uint8; the board may be dark on bright or bright on dark.
    """
    search = _discs if board.kind == 'discs' else _corners
    image = _resized(gray, board.kind)
    for points in search(image, board):
        grid = points.reshape(board.rows, board.columns, 2)
        if _is_grid(grid, board):
            back = resizing(image.shape, (gray.shape[0], gray.shape[1]))
            return _upright(geometry.mapped(back, grid.reshape(-1, 2)).reshape(grid.shape))
    return None


def _sizes(gray: np.ndarray, board: Board) -> Iterator[tuple[int, int]]:
    """Yield rows and columns of what may be boards of this kind, the fewer first."""
    image = _resized(gray, board.kind)
    if board.kind == 'checkerboard':
        flags, least = cv2.CALIB_CB_EXHAUSTIVE | cv2.CALIB_CB_LARGER, (MIN_COUNT, MIN_COUNT)
        for shown in (image, _normalized(image)):
            found, _, meta = cv2.findChessboardCornersSBWithMeta(shown, least, flags)
            if found:
                yield min(meta.shape), max(meta.shape)
        return
    flags = cv2.CALIB_CB_SYMMETRIC_GRID | cv2.CALIB_CB_CLUSTERING
    for smooth, detector in _blobs(image):
        number = len(detector.detect(smooth))
        for rows in range(MIN_COUNT, MAX_COUNT):
            for columns in range(max(rows, math.ceil(PART * number / rows)), number // rows + 1):
                found, xy = cv2.findCirclesGrid(smooth, (columns, rows), None, flags, detector)
                size = rows, columns
                if found and _is_grid(xy.reshape(*size, 2), Board(board.kind, *size, 1.0)):
                    yield size


def _resized(gray: np.ndarray, kind: str) -> np.ndarray:
    long_side = max(gray.shape)
    factor = max(min(1.0, LONG_SIDE_PX[kind] / long_side), ENLARGED_PX / long_side)
    size_hw = geometry.scaled((gray.shape[0], gray.shape[1]), factor)
    how = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    return cv2.resize(gray, size_hw[::-1], interpolation=how)


def _normalized(gray: np.ndarray) -> np.ndarray:
    return cv2.createCLAHE(4.0, (8, 8)).apply(gray)


def _corners(gray: np.ndarray, board: Board) -> Iterator[np.ndarray]:
    """Yield what may be the corners; the search itself tries both polarities."""
    flags = cv2.CALIB_CB_EXHAUSTIVE | cv2.CALIB_CB_ACCURACY
    for image in (_normalized(gray), gray):
        for shown in (image, cv2.bitwise_not(image)):
            found, points = cv2.findChessboardCornersSB(
                shown, (board.columns, board.rows), flags=flags
            )
            if found:
                yield points


def _discs(gray: np.ndarray, board: Board) -> Iterator[np.ndarray]:
    """Yield what may be the centers, bright or dark."""
    shape = board.columns, board.rows
    for smooth, detector in _blobs(gray):
        for flags in (0, cv2.CALIB_CB_CLUSTERING):
            flags |= cv2.CALIB_CB_SYMMETRIC_GRID
            found, points = cv2.findCirclesGrid(smooth, shape, None, flags, detector)
            if found:
                yield points


def _blobs(gray: np.ndarray) -> Iterator[tuple[np.ndarray, Any]]:
    """Yield images in which a detector may find discs, and the detector."""
    parameters = cv2.SimpleBlobDetector.Params()
    parameters.minThreshold, parameters.maxThreshold, parameters.thresholdStep = 5, 250, 5
    parameters.minArea, parameters.maxArea = (area * gray.size for area in DISC_AREAS)
    parameters.minDistBetweenBlobs = parameters.minArea**0.5
    parameters.filterByCircularity, parameters.minCircularity = True, 0.6
    parameters.minConvexity, parameters.minInertiaRatio = 0.85, 0.2
    for sigma in BLUR_PX:
        for image in (gray, _normalized(gray)):
            smooth = cv2.GaussianBlur(image, (0, 0), sigma) if sigma else image
            for color in (255, 0):
                parameters.blobColor = color
                yield smooth, cv2.SimpleBlobDetector.create(parameters)


def _is_grid(grid: np.ndarray, board: Board) -> bool:
    """Return whether a plane in perspective looks like this, apart from the bend of a lens."""
    flat, image = board.points_m[:, :2], grid.reshape(-1, 2)
    matrix = cv2.findHomography(flat, image)[0]
    if matrix is None:
        return False
    steps = np.linalg.norm(np.diff(grid, axis=1), axis=-1)
    off = np.linalg.norm(geometry.mapped(matrix, flat) - image, axis=-1)
    return bool(off.max() < MAX_BEND * np.median(steps))


def _upright(grid: np.ndarray) -> np.ndarray:
    """Return the same grid, its columns to the right, and not mirrored."""
    across, down = grid[:, -1] - grid[:, 0], grid[-1] - grid[0]
    (x, y), (u, v) = across.mean(axis=0), down.mean(axis=0)
    grid = grid[::-1] if x * v - y * u < 0 else grid
    return _turned(grid, np.array([1.0, 0.0]))


def _turned(grid: np.ndarray, towards: np.ndarray) -> np.ndarray:
    """Return the same grid, turned so that its columns lead as far as possible in a direction."""
    quarters = (0, 1, 2, 3) if grid.shape[0] == grid.shape[1] else (0, 2)
    turned = [np.rot90(grid, quarter) for quarter in quarters]
    across = [(g[:, -1] - g[:, 0]).mean(axis=0) for g in turned]
    best = int(np.argmax([a @ towards / np.linalg.norm(a) for a in across]))
    return np.ascontiguousarray(turned[best], np.float32)
