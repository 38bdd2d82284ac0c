"""How a detector reads an image: size, channel order, range; as nodes of a graph."""

from dataclasses import dataclass

import numpy as np

FITS = ('center', 'corner', 'stretch')
ORDERS = ('rgb', 'bgr')
GRAY = 114  # what the borders around a picture are in the training of every YOLO
FIT = """
    planes = Transpose<perm = [2, 0, 1]>(levels)
    image = Unsqueeze(planes, first)
    given = Shape<start = 0, end = 2>(levels)
    sizes = Concat<axis = 0>(one_and_channels, inner)
    resized = Resize<mode = "linear">(image, , , sizes)
"""
LETTERBOX = """
    other = Gather(given, swap)
    product = Mul(given, target_swapped)
    twice = Mul(product, two)
    rounded_up = Add(twice, other)
    divisor = Mul(other, two)
    fitting = Div(rounded_up, divisor)
    limited = Min(fitting, target)
    inner = Max(limited, one)
"""
"""``inner``: the largest size of the same proportions that fits, rounded as in integers."""
BORDERS = """
    free = Sub(target, inner)
    before = Div(free, share)
    after = Sub(free, before)
    pads = Concat<axis = 0>(two_zeros, before, two_zeros, after)
    padded = Pad(resized, pads, gray)
"""
NORMALIZE = """
    ordered = Gather<axis = 1>(padded, order)
    scaled = Mul(ordered, factor)
    pixels = Add(scaled, shift)
"""
GEOMETRY = """
    inner_px = Cast<to = 1>(inner)
    given_px = Cast<to = 1>(given)
    gain_hw = Div(inner_px, given_px)
    gain_wh = Gather(gain_hw, swap)
    gain = Concat<axis = 0>(gain_wh, gain_wh)
    before_px = Cast<to = 1>(before)
    before_wh = Gather(before_px, swap)
    border = Concat<axis = 0>(before_wh, before_wh)
"""
"""``gain`` and ``border``, (4,): a corner times gain plus border is in the detector's image."""


@dataclass(frozen=True)
class Layout:
    """
    What a detector expects of an image; written into the contract.

    :param order: ``rgb`` or ``bgr``; infrared is always the last channel.
    :param fit: how the image gets the detector's size: with gray borders on both sides
        (``center``), at bottom or right (``corner``), or ``stretch``.
    :param mean: of each channel, in the order of the detector [levels of 255]; it reads
        (level - mean) / std.
    """

    order: str
    fit: str
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (255.0,)

    @property
    def reads_levels(self) -> bool:
        """Whether the detector reads gray levels as they are, up to 255."""
        return set(self.std) == {1.0}

    def __str__(self) -> str:
        values = (' '.join(f'{v:g}' for v in part) for part in (self.mean, self.std))
        return '{}, (level - {}) / {}, fit {}'.format(self.order.upper(), *values, self.fit)


LAYOUTS = {
    'yolox': Layout('bgr', 'corner', std=(1.0,)),
    'yolov5': Layout('rgb', 'center'),
    'yolov8': Layout('rgb', 'center'),
    'queries': Layout('rgb', 'stretch'),
    'nms': Layout('rgb', 'center'),
    'nanodet': Layout('bgr', 'stretch', (103.53, 116.28, 123.675), (57.375, 57.12, 58.395)),
}
"""How the detectors of each kind read images, as their authors released them."""


def fit_nodes(
    layout: Layout, size_hw: tuple[int, int], channels: int
) -> tuple[str, dict[str, np.ndarray]]:
    """
    Return nodes from ``levels`` (H, W, C), 0 to 255, to ``pixels`` (1, C, size), and constants.

    They also give ``gain`` and ``border``, which lead back to the pixels of ``levels``.
    """
    order = [2, 1, 0, 3] if layout.order == 'bgr' else [0, 1, 2, 3]
    mean, std = (
        np.broadcast_to(np.asarray(part, np.float32), channels)[:, None, None]
        for part in (layout.mean, layout.std)
    )
    constants = {
        'first': np.array([0]),
        'one': np.array([1]),
        'two': np.array([2]),
        'two_zeros': np.array([0, 0]),
        'swap': np.array([1, 0]),
        'target': np.array(size_hw),
        'target_swapped': np.array(size_hw[::-1]),
        'one_and_channels': np.array([1, channels]),
        'share': np.array([2 if layout.fit == 'center' else 2 * max(size_hw)]),
        'gray': np.array(GRAY, np.float32),
        'order': np.array(order[:channels]),
        'factor': 1 / std,
        'shift': -mean / std,
    }
    inner = 'inner = Identity(target)\n' if layout.fit == 'stretch' else LETTERBOX
    planes, rest = FIT.split('    sizes', 1)
    return f'{planes}{inner}    sizes{rest}{BORDERS}{NORMALIZE}{GEOMETRY}', constants
