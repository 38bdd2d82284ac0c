"""The shipped model on real images, from two frames to the published values."""

from collections import deque
from dataclasses import replace
from itertools import count
from itertools import islice

import cv2
import numpy as np
import pytest

from tdfusion_ros.core.calibration import Camera
from tdfusion_ros.core.calibration import Extrinsics
from tdfusion_ros.core.calibration import Homography
from tdfusion_ros.core.config import from_mapping
from tdfusion_ros.core.data import Frame
from tdfusion_ros.core.errors import ConfigError
from tdfusion_ros.core.pipeline import Pipeline
from tdfusion_ros.core.pipeline import STAGES
from tdfusion_ros.core.synchronizer import FramePair

SHIFTED = Homography(np.array([[1.0, 0, -160], [0, 1, 0], [0, 0, 1]]))
LENS = Camera((64, 64), np.array([[60.0, 0, 31.5], [0, 60, 31.5], [0, 0, 1]]), np.zeros(0))
POSE = np.eye(3), np.array([0.1, 0, 0]), 1.0
BLACK = Frame(np.zeros((64, 64, 3), np.uint8), 0)
COLD = np.random.default_rng(0).integers(7000, 7400, (64, 64)).astype(np.uint16)


@pytest.fixture
def recorded(make):
    return make()


def frame(pixels, stamp_ns=0):
    return Frame(pixels, stamp_ns)


def rgb_only(rgb):
    return FramePair(rgb, None, 'rgb_only', rgb, warning='NO IR 1.0 s')


def test_ids_last_and_are_given_to_images_with_stamps_only(make):
    tracked, size = make(), np.zeros((64, 64, 3), np.uint8)

    def ids(stamp_ns):
        found = tracked.process(Frame(size, stamp_ns), Frame(COLD, stamp_ns)).detections.ids
        return None if found is None else found.tolist()

    assert [ids(10**9), ids(2 * 10**9), ids(0), ids(3 * 10**9)] == [[1], [1], None, [1]]
    tracked.reconfigure(from_mapping({'tracker': 'none'}))
    assert ids(4 * 10**9) is None
    tracked.reconfigure(from_mapping({'tracker': 'iou'}))
    assert ids(4 * 10**9) == [1]
    tracked.reset()
    assert ids(4 * 10**9) == [2]
    tracked = tracked.fresh()
    assert ids(4 * 10**9) == [1]


def test_overlapping_pairs_give_what_pairs_one_after_the_other_give(make):
    """Each with its own settings, counts and objects, whatever began meanwhile."""
    rgb = np.zeros((64, 64, 3), np.uint8)
    settings = [
        {'ir.kelvin_per_count': 0.04, 'score_threshold': 0.3},
        {'ir.kelvin_per_count': 0.01, 'score_threshold': 0.95},
        {'ir.kelvin_per_count': 0.04, 'tracker': 'none'},
    ]
    configs = [from_mapping(each) for each in settings]
    pairs = []
    for number in range(3):
        first, second = Frame(rgb, 10**9 * (number + 1)), Frame(COLD + 100 * number, 0)
        pairs.append(FramePair(first, second, 'fused', first))

    def summary(result):
        found = result.detections
        kelvin = None if found.temperatures is None else found.temperatures.kelvin.tolist()
        return found.scores.tolist(), kelvin, None if found.ids is None else found.ids.tolist()

    def ends(steps, run):
        with pytest.raises(StopIteration) as end:
            steps.send(run)
        return summary(end.value.value)

    one_by_one, overlapping = make(), make()
    expected, running, got = [], [], []
    for config, pair in zip(configs, pairs, strict=True):
        one_by_one.reconfigure(config)
        expected.append(summary(one_by_one.process_pair(pair)))
        overlapping.reconfigure(config)
        steps = overlapping.steps(pair)
        running.append((steps, next(steps)))
        if len(running) == 2:
            got.append(ends(*running.pop(0)))
    got.append(ends(*running.pop()))
    assert got == expected
    assert [len(scores) for scores, _, _ in got] == [1, 0, 1]
    assert got[0][1] != got[2][1]
    assert overlapping.overlap() == 1  # a backend that says nothing runs one pair at a time


def test_time_of_the_network_is_without_the_wait_for_an_earlier_pair(make, monkeypatch):
    clock = count()
    monkeypatch.setattr('tdfusion_ros.core.pipeline.perf_counter_ns', lambda: next(clock))
    rgb = Frame(np.zeros((64, 64, 3), np.uint8), 1)
    steps = make().steps(FramePair(rgb, Frame(COLD, 0), 'fused', rgb))
    result = next(steps)()
    deque(islice(clock, 1000))  # time passes
    with pytest.raises(StopIteration) as end:
        steps.send(lambda: result)
    assert set(end.value.value.stage_ns.values()) == {1}


def test_fused_image_has_the_grid_of_the_rgb_image_and_shows_both(pipeline, demo_pairs):
    pair = demo_pairs[16]  # people in smoke
    fused = pipeline.process(pair.rgb, pair.ir).image
    assert (fused.shape, fused.dtype) == (pair.rgb.pixels.shape, np.uint8)
    gray = cv2.cvtColor(fused, cv2.COLOR_RGB2GRAY).astype(float)
    rgb, ir = cv2.cvtColor(pair.rgb.pixels, cv2.COLOR_RGB2GRAY).astype(float), pair.ir.pixels
    assert np.corrcoef(gray.ravel(), rgb.ravel())[0, 1] > 0.5
    warm = ir > np.percentile(ir, 98)
    assert (gray - rgb)[warm].mean() > 40


@pytest.mark.parametrize('size_hw', [(475, 631), (33, 31), (1, 1)])
def test_size_that_is_no_multiple_of_the_networks_is_kept(pipeline, demo_pairs, size_hw):
    height, width = size_hw
    rgb, ir = (frame(f.pixels[:height, :width]) for f in (demo_pairs[0].rgb, demo_pairs[0].ir))
    result = pipeline.process(rgb, ir)
    assert result.fused.shape == (height, width, 3)
    assert result.fused.flags.c_contiguous
    assert (result.detections.boxes_xyxy <= [width, height, width, height]).all()


def test_padding_repeats_the_border_up_to_a_multiple(recorded, demo_pairs, make, pipeline):
    rgb, ir = (f.pixels[:450, :600] for f in (demo_pairs[0].rgb, demo_pairs[0].ir))
    result = recorded.process(frame(rgb), frame(ir))
    padded = recorded.backend.rgb
    assert (padded.shape, recorded.backend.ir.shape) == ((480, 608, 3), (480, 608))
    np.testing.assert_array_equal(padded[:450, :600], rgb)
    np.testing.assert_array_equal(padded[450:, :600], np.repeat(rgb[-1:], 30, axis=0))
    np.testing.assert_array_equal(result.detections.boxes_xyxy, [[0, 0, 600, 450]])
    wide = make(contract=replace(pipeline.contract, size_multiple=256))
    wide.process(demo_pairs[0].rgb, demo_pairs[0].ir)
    assert wide.backend.rgb.shape == (512, 768, 3)


@pytest.mark.parametrize(
    'view',
    [
        np.fliplr,
        np.flipud,
        pytest.param(lambda image: np.swapaxes(image, 0, 1), id='transposed'),
        pytest.param(lambda image: image[..., ::-1], id='bgr8'),
        pytest.param(lambda image: image[:, :-32][..., ::-1], id='bgr8 with padded rows'),
    ],
)
@pytest.mark.parametrize('dtype', [np.uint8, np.uint16])
def test_network_gets_contiguous_arrays_of_its_types(recorded, demo_pairs, view, dtype):
    rgb, ir = view(demo_pairs[0].rgb.pixels), view(demo_pairs[0].ir.pixels.astype(dtype))
    recorded.process(frame(rgb), frame(ir))
    backend = recorded.backend
    assert backend.rgb.flags.c_contiguous
    assert backend.ir.flags.c_contiguous
    assert (backend.rgb.dtype, backend.ir.dtype) == (np.uint8, np.float32)
    np.testing.assert_array_equal(backend.rgb, rgb)
    if dtype == np.uint8:
        np.testing.assert_allclose(backend.ir, ir / 255, atol=1e-6)


def ir_of(pipeline, *frames):
    """Process these ir frames and return what the network got of the last one."""
    for ir in frames:
        pipeline.process(frame(BLACK.pixels, ir.stamp_ns), ir)
    return pipeline.backend.ir


def test_smoothed_range_starts_again_when_time_jumps_back_or_after_a_stall(recorded, make):
    first = ir_of(recorded, frame(COLD, 100))
    smoothed = ir_of(recorded, frame(COLD + 150, 200), frame(COLD, 300))
    assert np.abs(smoothed - first).max() > 0.02
    np.testing.assert_array_equal(ir_of(recorded, frame(COLD, 100)), first)
    ir_of(recorded, frame(COLD + 150, 200))
    recorded.process_pair(rgb_only(BLACK))
    np.testing.assert_array_equal(ir_of(recorded, frame(COLD, 300)), first)


@pytest.mark.parametrize(
    ('ir_hw', 'calibration', 'is_doubted'),
    [
        ((64, 64), None, False),
        ((120, 128), None, False),  # as 640x512 beside 640x480
        ((64, 48), None, True),
        ((48, 64), None, True),
        ((48, 64), Homography(np.eye(3)), False),
    ],
)
def test_images_of_other_proportions_are_doubted_without_a_calibration(
    make, ir_hw, calibration, is_doubted
):
    pipeline = make(calibration=calibration)
    ir = np.random.default_rng(0).integers(0, 255, ir_hw, np.uint8)
    pipeline.process(BLACK, frame(ir))
    assert ('run tdfusion calibrate' in pipeline.remarks.get('calibration', '')) == is_doubted


@pytest.mark.parametrize('crop', ['0, 32, 0, 0', '32, 0, 0, 0', '8, 8, 8, 8'])
@pytest.mark.parametrize(
    'calibration',
    [Homography(np.diag((0.8, 0.8, 1.0)), (64, 64), (64, 64)), Extrinsics(*[LENS] * 2, *POSE)],
)
def test_a_calibration_of_whole_ir_images_follows_the_crop(make, calibration, crop):
    whole, cut = make(calibration=calibration), make(calibration=calibration)
    cut.reconfigure(from_mapping({'ir.crop': crop}))
    ir = np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8)
    expected, found = (one.process(BLACK, frame(ir)).pair for one in (whole, cut))
    seen = found.coverage == 1
    assert 100 < np.count_nonzero(seen) < np.count_nonzero(expected.coverage == 1)
    np.testing.assert_allclose(found.ir[seen], expected.ir[seen], atol=0.05)


@pytest.mark.parametrize('forget', [Pipeline.fresh, lambda p: p.reset() or p])
def test_fresh_and_reset_forget_the_smoothed_range(recorded, make, forget):
    ir_of(recorded, frame(COLD + 150))
    np.testing.assert_array_equal(ir_of(forget(recorded), frame(COLD)), ir_of(make(), frame(COLD)))


def test_another_config_applies_from_the_next_pair_on_and_keeps_the_engine(recorded):
    ir = frame(np.tile(np.arange(64, dtype=np.uint8), (64, 1)))
    backend = recorded.backend
    assert len(recorded.process(BLACK, ir).detections) == 1
    before = backend.ir
    recorded.reconfigure(from_mapping({'score_threshold': 0.95, 'ir.invert': True}))
    assert len(recorded.process(BLACK, ir).detections) == 0
    assert recorded.backend is backend
    np.testing.assert_allclose(backend.ir, 1 - before, atol=1e-6)


def test_config_with_the_same_thermal_settings_keeps_the_smoothed_range(recorded):
    bright, dark = (frame(np.full((64, 64), v, np.uint16)) for v in (40_000, 20_000))
    recorded.process(BLACK, bright)
    recorded.reconfigure(from_mapping({'score_threshold': 0.5}))
    assert ir_of(recorded, dark).max() == 0.0  # far below the range of the bright frame


def test_config_with_an_unknown_class_changes_nothing(recorded):
    with pytest.raises(ConfigError, match='horse'):
        recorded.reconfigure(from_mapping({'class_filter': ['horse'], 'score_threshold': 0.95}))
    assert len(recorded.process(BLACK, frame(COLD)).detections) == 1


def test_without_ir_the_rgb_image_is_returned_and_searched_with_black_ir(recorded, demo_pairs):
    rgb = frame(demo_pairs[0].rgb.pixels[..., ::-1])  # a view of the driver's memory
    result = recorded.process_pair(rgb_only(rgb))
    np.testing.assert_array_equal(result.fused, rgb.pixels)
    assert result.fused.flags.c_contiguous
    assert not recorded.backend.ir.any()
    assert recorded.backend.fused is False  # the network's image is not shown
    assert not result.pair.valid.any()
    assert len(result.detections) == 1


def test_without_rgb_the_ir_image_is_returned_in_gray_on_the_rgb_grid(recorded, demo_pairs):
    ir, grid = demo_pairs[0].ir, frame(np.zeros((240, 320, 3), np.uint8))
    result = recorded.process_pair(FramePair(None, ir, 'ir_only', grid, warning='NO RGB 1.0 s'))
    expected = cv2.resize(ir.pixels, (320, 240))
    assert np.abs(result.fused.astype(int) - expected[..., None]).max() <= 1
    assert not recorded.backend.rgb.any()
    assert recorded.backend.fused is False


def test_before_any_rgb_image_ir_keeps_its_own_grid(make, demo_pairs):
    ir = demo_pairs[0].ir
    result = make(SHIFTED).process_pair(FramePair(None, ir, 'ir_only', ir))
    np.testing.assert_array_equal(result.fused, np.dstack([ir.pixels] * 3))


def test_fused_image_may_be_left_out(recorded, demo_pairs):
    result = recorded.process_pair(demo_pairs[0], fused=False)
    assert result.fused is None
    assert len(result.detections) == 1
    with pytest.raises(ValueError, match='no fused image'):
        _ = result.image


def test_every_kind_of_pair_has_the_time_of_each_stage(recorded, demo_pairs):
    rgb, ir = demo_pairs[0].rgb, demo_pairs[0].ir
    for pair in (demo_pairs[0], rgb_only(rgb), FramePair(None, ir, 'ir_only', rgb)):
        stage_ns = recorded.process_pair(pair).stage_ns
        assert tuple(stage_ns) == STAGES
        assert min(stage_ns.values()) >= 0
