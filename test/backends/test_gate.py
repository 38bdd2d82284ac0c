"""An engine that computes something else than the bundle's graph is refused."""

from dataclasses import replace

import numpy as np
import pytest

from tdfusion_ros.backends.gate import check_agreement
from tdfusion_ros.backends.gate import check_run
from tdfusion_ros.core.data import RawOutput
from tdfusion_ros.core.errors import ModelError

SIZE = (32, 64)


class FakeEngine:
    """Returns the mean of its inputs and ten boxes, after ``change(raw, frame)``."""

    name = 'fake'

    def __init__(self, change=lambda raw, frame: {}):
        self.change = change

    def run(self, rgb, ir, coverage, *, fused=True, segmentation=True):
        raw = RawOutput(
            ((rgb.astype(np.float32) + 255 * ir[..., None]) / 2).astype(np.uint8),
            np.full((10, 4), 100.0, np.float32),
            np.full((10, 3), 0.5, np.float32),
        )
        frame = {0: 'black', 255: 'saturated'}.get(int(rgb.mean()), 'random')
        return replace(raw, **self.change(raw, frame))


def shifted(levels):
    return lambda raw, frame: {'fused': (raw.fused.astype(int) - levels).clip(0).astype(np.uint8)}


def one_pixel_off(levels):
    def change(raw, frame):
        fused = raw.fused.copy()
        fused[5, 5, 1] = np.clip(int(fused[5, 5, 1]) - levels, 0, 255)
        return {'fused': fused}

    return change


def only(frame_name, change):
    return lambda raw, frame: change(raw, frame) if frame == frame_name else {}


def test_differences_of_half_precision_pass_and_are_returned(shipped):
    def change(raw, frame):
        return {
            **one_pixel_off(4)(raw, frame),
            'boxes_xyxy': raw.boxes_xyxy + np.float32(0.3),
            'scores': raw.scores + np.float32(0.001),
        }

    found = check_agreement(FakeEngine(change), FakeEngine(), shipped.contract, SIZE)
    assert str(found) == 'image 4 of 255 (mean 0.001), boxes 0.30 px, scores 0.0010'
    assert check_agreement(FakeEngine(), FakeEngine(), shipped.contract, SIZE).image_largest == 0


@pytest.mark.parametrize(
    ('index', 'scale', 'refused'),
    [(0, 1.0, True), (0, 0.05, True), (0, 0.0005, False), (9, 1.0, False), (9, 0.05, False)],
)
def test_boxes_are_compared_as_far_as_they_may_be_reported(shipped, index, scale, refused):
    """Also where all scores are low, as on frames without objects, but not where nearly zero."""
    scores = np.float32(scale * 0.5 ** np.arange(10))[:, None].repeat(3, 1)

    def moved(raw, frame):
        boxes = raw.boxes_xyxy.copy()
        boxes[index] += 50
        return {'scores': scores, 'boxes_xyxy': boxes}

    engine, reference = FakeEngine(moved), FakeEngine(lambda raw, frame: {'scores': scores})
    if refused:
        with pytest.raises(ModelError, match=r'boxes 50\.00 px'):
            check_agreement(engine, reference, shipped.contract, SIZE)
    else:
        assert check_agreement(engine, reference, shipped.contract, SIZE).box_px < 0.2


def test_boxes_in_the_order_of_their_scores_may_change_places(shipped):
    def found(order, moved):
        boxes = np.float32([[10, 10, 20, 20], [90, 90, 99, 99], [50, 0, 60, 9]]) + moved
        scores = np.float32([[0.5, 0], [0.5, 0], [0, 0.4]])
        return FakeEngine(lambda *_: {'boxes_xyxy': boxes[order], 'scores': scores[order]})

    contract, expected = shipped.contract, found([0, 1, 2], 0)
    assert check_agreement(found([1, 0, 2], 1), expected, contract, SIZE).box_px == 1
    with pytest.raises(ModelError, match=r'boxes 40\.00 px'):
        check_agreement(found([1, 0, 2], 40), expected, contract, SIZE)


def not_finite(field, value):
    return only('black', lambda raw, _: {field: getattr(raw, field) * np.float32(value)})


DIFFERS = r'differs too much .* image .* boxes .* scores'
WRONG = {
    'one pixel off by 5 levels': (one_pixel_off(5), DIFFERS),
    'everything off by 1 level': (shifted(1), DIFFERS),
    'boxes off': (lambda raw, _: {'boxes_xyxy': raw.boxes_xyxy + np.float32(5)}, DIFFERS),
    'scores of nothing': (lambda raw, _: {'scores': np.zeros_like(raw.scores)}, DIFFERS),
    'wrong for the black frame only': (only('black', shifted(-9)), DIFFERS),
    'wrong for the saturated frame only': (only('saturated', shifted(9)), DIFFERS),
    'flat': (lambda raw, _: {'fused': np.full_like(raw.fused, 127)}, DIFFERS),
    'boxes NaN': (not_finite('boxes_xyxy', np.nan), 'boxes_xyxy of the black frame is not finite'),
    'scores infinite': (not_finite('scores', np.inf), 'scores of the black frame is not finite'),
    'fewer scores': (
        *(lambda raw, _: {'scores': raw.scores[:5]}, r'of the random frame: expected \(10, 3\)'),
    ),
}


@pytest.mark.parametrize(('change', 'message'), WRONG.values(), ids=WRONG)
def test_engine_that_computes_something_else_is_refused_naming_it(change, message, shipped):
    with pytest.raises(ModelError, match=message):
        check_agreement(FakeEngine(change), FakeEngine(), shipped.contract, SIZE)


@pytest.mark.parametrize(
    'change', [{'scores': np.zeros((10, 2))}, {'boxes_xyxy': np.zeros((10, 5))}, {'fused': None}]
)
def test_first_run_compares_the_shapes_with_the_contract(shipped, change):
    check_run(FakeEngine(), shipped.contract, SIZE)
    with pytest.raises(ModelError, match='export the model again'):
        check_run(FakeEngine(lambda raw, frame: change), shipped.contract, SIZE)
