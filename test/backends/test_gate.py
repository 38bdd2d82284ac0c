"""An engine that computes something else than the bundle's graph is never used."""

from dataclasses import replace

import numpy as np
import pytest

from tdfusion_ros.backends.gate import check_agreement
from tdfusion_ros.backends.gate import check_run
from tdfusion_ros.backends.gate import padded
from tdfusion_ros.core.data import RawOutput
from tdfusion_ros.core.errors import ModelError

SIZE = (32, 64)


class Engine:
    """Returns the mean of its inputs, after ``change(raw, frame)``."""

    name = 'fake'

    def __init__(self, change=None):
        self.change = change

    def run(self, rgb, ir):
        """Return ten boxes whatever the images."""
        raw = RawOutput(
            ((rgb.astype(np.float32) + 255 * ir[..., None]) / 2).astype(np.uint8),
            np.full((10, 4), 100.0, np.float32),
            np.full((10, 3), 0.5, np.float32),
        )
        frame = {0: 'black', 255: 'saturated'}.get(int(rgb.mean()), 'random')
        return replace(raw, **self.change(raw, frame)) if self.change else raw


def shifted(levels):
    return lambda raw, frame: {'fused': (raw.fused.astype(int) - levels).clip(0).astype(np.uint8)}


def one_pixel_off(levels):
    def change(raw, frame):
        fused = raw.fused.copy()
        fused[5, 5, 1] = np.clip(int(fused[5, 5, 1]) - levels, 0, 255)
        return {'fused': fused}

    return change


def test_equal_engines_do_not_differ():
    found = check_agreement(Engine(), Engine(), SIZE)
    assert (found.image_largest, found.image_mean, found.box_largest_px) == (0, 0, 0)


def test_what_half_precision_explains_passes_and_is_told():
    def change(raw, frame):
        return {
            **one_pixel_off(4)(raw, frame),
            'boxes_xyxy': raw.boxes_xyxy + np.float32(0.3),
            'scores': raw.scores + np.float32(0.001),
        }

    found = check_agreement(Engine(change), Engine(), SIZE)
    assert found.image_largest == 4
    assert str(found) == 'image 4 of 255 (mean 0.001), boxes 0.30 px, scores 0.0010'


WRONG = {
    'one pixel off by 5 levels': one_pixel_off(5),
    'everything off by 1 level': shifted(1),
    'boxes elsewhere': lambda raw, frame: {'boxes_xyxy': raw.boxes_xyxy + np.float32(5)},
    'scores of nothing': lambda raw, frame: {'scores': np.zeros_like(raw.scores)},
    'wrong on the black frame only': lambda raw, frame: (
        shifted(-9)(raw, frame) if frame == 'black' else {}
    ),
    'wrong on the saturated frame only': lambda raw, frame: (
        shifted(9)(raw, frame) if frame == 'saturated' else {}
    ),
    'flat, as after an overflow': lambda raw, frame: {'fused': np.full_like(raw.fused, 127)},
}


@pytest.mark.parametrize('change', WRONG.values(), ids=WRONG)
def test_engine_that_computes_something_else_is_refused_with_the_figures(change):
    with pytest.raises(ModelError, match=r'differs too much .* image .* boxes .* scores'):
        check_agreement(Engine(change), Engine(), SIZE)


@pytest.mark.parametrize('value', [np.nan, np.inf])
@pytest.mark.parametrize('field', ['boxes_xyxy', 'scores'])
def test_output_that_is_not_finite_is_refused_naming_the_frame(field, value):
    def change(raw, frame):
        return {field: getattr(raw, field) * np.float32(value)} if frame == 'black' else {}

    with pytest.raises(ModelError, match=f'{field} of the black frame is not finite'):
        check_agreement(Engine(change), Engine(), SIZE)


def test_output_of_another_shape_is_refused():
    with pytest.raises(ModelError, match='scores of the random frame'):
        check_agreement(Engine(lambda raw, frame: {'scores': raw.scores[:5]}), Engine(), SIZE)


def test_first_run_holds_the_shapes_against_the_contract(shipped):
    check_run(Engine(), shipped.contract, SIZE)
    for change in ({'scores': np.zeros((10, 2))}, {'boxes_xyxy': np.zeros((10, 5))}):
        with pytest.raises(ModelError, match='export the model again'):
            check_run(Engine(lambda raw, frame, c=change: c), shipped.contract, SIZE)


def test_sizes_are_padded_to_what_the_graph_takes(shipped):
    assert padded((480, 640), shipped.contract) == (480, 640)
    assert padded((481, 1), shipped.contract) == (512, 32)
