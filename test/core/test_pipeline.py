"""The shipped model on real pictures, from two frames to the published values."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from tdfusion_ros.core.calibration import Homography
from tdfusion_ros.core.calibration import Identity
from tdfusion_ros.core.config import from_mapping
from tdfusion_ros.core.config import FusionConfig
from tdfusion_ros.core.data import Frame
from tdfusion_ros.core.data import RawOutput
from tdfusion_ros.core.errors import ConfigError
from tdfusion_ros.core.errors import FrameError
from tdfusion_ros.core.pipeline import Pipeline
from tdfusion_ros.core.synchronizer import FramePair


class Recorder:
    """A backend that keeps what it was given and returns the rgb image and one box of all."""

    name = 'recorder'

    def run(self, rgb, ir, *, fused=True):
        self.rgb, self.ir, self.fused = rgb, ir, fused
        box = np.array([[0, 0, rgb.shape[1], rgb.shape[0]]], np.float32)
        return RawOutput(rgb if fused else None, box, np.array([[0.9, 0, 0]], np.float32))


@pytest.fixture
def recorded(pipeline):
    """Return a pipeline without a network: what reaches it lies in ``backend``."""
    return Pipeline(FusionConfig(), pipeline.contract, Identity(), Recorder())


def frame(pixels, stamp_ns=0):
    return Frame(pixels, stamp_ns)


def test_fused_image_has_the_grid_of_the_rgb_image_and_shows_both(pipeline, demo_pairs):
    pair = demo_pairs[16]  # by night: both cameras see what the other one does not
    fused = pipeline.process(pair.rgb, pair.ir).fused
    assert fused.shape == pair.rgb.pixels.shape
    assert fused.dtype == np.uint8
    gray = cv2.cvtColor(fused, cv2.COLOR_RGB2GRAY).astype(float)
    for pixels in (cv2.cvtColor(pair.rgb.pixels, cv2.COLOR_RGB2GRAY), pair.ir.pixels):
        assert np.corrcoef(gray.ravel(), pixels.ravel())[0, 1] > 0.5


def test_people_and_cars_of_the_demo_are_found_inside_the_image(pipeline, demo_pairs):
    seen = set()
    for pair in demo_pairs[::12]:
        found = pipeline.process(pair.rgb, pair.ir).detections
        seen |= {pipeline.contract.classes[i] for i in found.class_ids}
        assert (found.boxes_xyxy >= 0).all()
        assert (found.boxes_xyxy <= [640, 480, 640, 480]).all()
        assert (np.diff(found.scores) <= 0).all()
    assert {'person', 'car'} <= seen


@pytest.mark.parametrize('size_hw', [(475, 631), (33, 31), (1, 1)])
def test_size_that_is_no_multiple_of_the_networks_is_kept(pipeline, demo_pairs, size_hw):
    height, width = size_hw
    rgb, ir = (frame(f.pixels[:height, :width]) for f in (demo_pairs[0].rgb, demo_pairs[0].ir))
    result = pipeline.process(rgb, ir)
    assert result.fused.shape == (height, width, 3)
    assert result.fused.flags.c_contiguous
    assert (result.detections.boxes_xyxy <= [width, height, width, height]).all()


def test_padding_changes_the_fused_image_only_near_its_border(pipeline, demo_pairs):
    pair = demo_pairs[0]
    whole = pipeline.process(pair.rgb, pair.ir).fused
    part = pipeline.process(frame(pair.rgb.pixels[:450, :600]), frame(pair.ir.pixels[:450, :600]))
    difference = np.abs(part.fused[:400, :550].astype(int) - whole[:400, :550])
    assert difference.max() <= 2


def test_padding_repeats_the_border_and_is_a_multiple(recorded, demo_pairs):
    rgb, ir = (f.pixels[:450, :600] for f in (demo_pairs[0].rgb, demo_pairs[0].ir))
    result = recorded.process(frame(rgb), frame(ir))
    given = recorded.backend.rgb
    assert given.shape == (480, 608, 3)
    assert recorded.backend.ir.shape == (480, 608)
    np.testing.assert_array_equal(given[:450, :600], rgb)
    np.testing.assert_array_equal(given[450:, :600], np.repeat(rgb[-1:], 30, axis=0))
    np.testing.assert_array_equal(result.detections.boxes_xyxy, [[0, 0, 600, 450]])


def backwards(image):
    """Return an rgb image as bgr8 is read, and an ir image mirrored."""
    return image[..., ::-1]


def backwards_with_padded_rows(image):
    return image[:, :-32][..., ::-1]


def transposed(image):
    return np.swapaxes(image, 0, 1)


@pytest.mark.parametrize(
    'view', [np.fliplr, np.flipud, transposed, backwards, backwards_with_padded_rows]
)
@pytest.mark.parametrize('dtype', [np.uint8, np.uint16])
def test_network_gets_contiguous_arrays_of_its_types_also_from_views(
    recorded, demo_pairs, view, dtype
):
    rgb, ir = view(demo_pairs[0].rgb.pixels), view(demo_pairs[0].ir.pixels.astype(dtype))
    recorded.process(frame(rgb), frame(ir))
    backend = recorded.backend
    assert backend.rgb.flags.c_contiguous
    assert backend.ir.flags.c_contiguous
    assert (backend.rgb.dtype, backend.ir.dtype) == (np.uint8, np.float32)
    np.testing.assert_array_equal(backend.rgb, rgb)
    if dtype == np.uint8:
        np.testing.assert_allclose(backend.ir, ir / 255, atol=1e-6)


def test_gray_rgb_camera_is_taken_as_three_equal_channels(recorded, demo_pairs):
    gray = demo_pairs[0].rgb.pixels[..., 1]
    recorded.process(frame(gray), frame(demo_pairs[0].ir.pixels))
    np.testing.assert_array_equal(recorded.backend.rgb, np.dstack([gray] * 3))


def test_outside_of_the_ir_image_the_network_gets_black_and_valid_says_so(pipeline, demo_pairs):
    pair = demo_pairs[0]
    shifted = Homography(np.array([[1.0, 0, -160], [0, 1, 0], [0, 0, 1]]))
    moved = Pipeline(FusionConfig(), pipeline.contract, shifted, pipeline.backend)
    result = moved.process(pair.rgb, pair.ir)
    assert not result.pair.valid[:, :160].any()
    assert result.pair.valid[:, 160:].all()
    assert not result.pair.ir[:, :160].any()
    np.testing.assert_allclose(result.pair.ir[:, 160:], pair.ir.pixels[:, :-160] / 255, atol=1e-6)
    assert (result.detections.boxes_xyxy <= [640, 480, 640, 480]).all()


def test_frame_that_cannot_be_used_is_refused_by_cause_and_the_next_one_is_fused(
    pipeline, demo_pairs
):
    pair = demo_pairs[0]
    before = pipeline.process(pair.rgb, pair.ir)
    for rgb, ir in (
        (frame(pair.ir.pixels.astype(np.uint16)), pair.ir),
        (pair.rgb, frame(cv2.applyColorMap(pair.ir.pixels, cv2.COLORMAP_JET))),
    ):
        with pytest.raises(FrameError) as caught:
            pipeline.process(rgb, ir)
        assert caught.value.cause == 'bad_encoding'
    after = pipeline.process(pair.rgb, pair.ir)
    np.testing.assert_array_equal(after.fused, before.fused)


def test_smoothed_range_begins_anew_when_time_jumps_back(recorded):
    rgb = np.zeros((64, 64, 3), np.uint8)
    cold = np.random.default_rng(0).integers(7000, 7400, (64, 64)).astype(np.uint16)
    recorded.process(frame(rgb, 100), frame(cold))
    first = recorded.backend.ir
    recorded.process(frame(rgb, 200), frame(cold + 150))
    recorded.process(frame(rgb, 300), frame(cold))
    assert np.abs(recorded.backend.ir - first).max() > 0.02
    recorded.process(frame(rgb, 100), frame(cold))
    np.testing.assert_array_equal(recorded.backend.ir, first)


def test_result_says_how_long_each_stage_took(recorded, demo_pairs):
    stages = recorded.process(demo_pairs[0].rgb, demo_pairs[0].ir).stage_ns
    assert list(stages) == ['thermal', 'registration', 'network', 'postprocess']
    assert min(stages.values()) >= 0


def test_class_filter_holds_and_an_unknown_class_is_refused_at_the_start(pipeline, demo_pairs):
    def build(*names):
        config = from_mapping({'class_filter': names, 'score_threshold': 0.2})
        return Pipeline(config, pipeline.contract, Identity(), pipeline.backend)

    found = build('car').process(demo_pairs[0].rgb, demo_pairs[0].ir).detections
    assert len(found) > 0
    assert {pipeline.contract.classes[i] for i in found.class_ids} == {'car'}
    with pytest.raises(ConfigError, match='cat'):
        build('cat')


def test_size_multiple_is_the_contracts(pipeline, demo_pairs):
    contract = replace(pipeline.contract, size_multiple=256)
    wide = Pipeline(FusionConfig(), contract, Identity(), Recorder())
    wide.process(demo_pairs[0].rgb, demo_pairs[0].ir)
    assert wide.backend.rgb.shape == (512, 768, 3)


def test_another_config_holds_from_the_next_pair_on_and_keeps_the_engine(recorded):
    pixels = np.tile(np.arange(64, dtype=np.uint8), (64, 1))
    given = frame(np.zeros((64, 64, 3), np.uint8)), frame(pixels)
    backend = recorded.backend
    assert len(recorded.process(*given).detections) == 1
    seen = backend.ir
    recorded.reconfigure(from_mapping({'score_threshold': 0.95, 'ir.invert': True}))
    assert len(recorded.process(*given).detections) == 0
    assert recorded.backend is backend
    np.testing.assert_allclose(backend.ir, 1 - seen, atol=1e-6)


def test_a_config_without_change_of_the_thermal_scaling_keeps_what_it_learnt(recorded):
    bright, dark = (frame(np.full((64, 64), v, np.uint16)) for v in (40_000, 20_000))
    rgb = frame(np.zeros((64, 64, 3), np.uint8))
    recorded.process(rgb, bright)
    recorded.reconfigure(from_mapping({'score_threshold': 0.5}))
    recorded.process(rgb, dark)
    assert recorded.backend.ir.max() == 0.0  # far below a range that still is the bright one's


def test_a_config_that_the_model_cannot_follow_changes_nothing(recorded):
    given = frame(np.zeros((64, 64, 3), np.uint8)), frame(np.zeros((64, 64), np.uint8))
    with pytest.raises(ConfigError, match='horse'):
        recorded.reconfigure(from_mapping({'class_filter': ['horse'], 'score_threshold': 0.95}))
    assert len(recorded.process(*given).detections) == 1


def test_without_ir_the_rgb_image_is_shown_untouched_and_searched_beside_black(
    recorded, demo_pairs
):
    rgb = demo_pairs[0].rgb
    result = recorded.process_pair(FramePair(rgb, None, 'rgb_only', rgb, warning='NO IR 1.0 s'))
    np.testing.assert_array_equal(result.fused, rgb.pixels)
    assert not recorded.backend.ir.any()
    assert recorded.backend.fused is False  # what the network would fuse is never shown
    assert not result.pair.valid.any()
    assert len(result.detections) == 1


def test_without_rgb_the_ir_image_is_shown_in_gray_on_the_rgb_grid(recorded, demo_pairs):
    ir = demo_pairs[0].ir
    head = frame(np.zeros((240, 320, 3), np.uint8))
    result = recorded.process_pair(FramePair(None, ir, 'ir_only', head, warning='NO RGB 1.0 s'))
    wanted = cv2.resize(ir.pixels, (320, 240))
    assert np.abs(result.fused.astype(int) - wanted[..., None]).max() <= 1
    assert not recorded.backend.rgb.any()
    assert recorded.backend.fused is False
    assert list(result.stage_ns) == ['thermal', 'registration', 'network', 'postprocess']


def test_without_any_rgb_image_yet_ir_stays_on_its_own_grid(pipeline, demo_pairs):
    shifted = Homography(np.array([[1.0, 0, -160], [0, 1, 0], [0, 0, 1]]))
    moved = Pipeline(FusionConfig(), pipeline.contract, shifted, Recorder())
    ir = demo_pairs[0].ir
    result = moved.process_pair(FramePair(None, ir, 'ir_only', ir, warning='NO RGB 1.0 s'))
    np.testing.assert_array_equal(result.fused, np.dstack([ir.pixels] * 3))


def test_a_pair_that_nobody_wants_to_see_is_only_searched(recorded, demo_pairs):
    result = recorded.process_pair(demo_pairs[0], fused=False)
    assert result.fused is None
    assert len(result.detections) == 1


def test_a_pair_is_fused_as_ever(pipeline, demo_pairs):
    pair = demo_pairs[0]
    np.testing.assert_array_equal(
        pipeline.process_pair(pair).fused, pipeline.process(pair.rgb, pair.ir).fused
    )


def test_shown_rgb_image_is_not_the_drivers_memory_read_backwards(recorded, demo_pairs):
    rgb = frame(backwards(demo_pairs[0].rgb.pixels))
    shown = recorded.process_pair(FramePair(rgb, None, 'rgb_only', rgb)).fused
    assert shown.flags.c_contiguous
    np.testing.assert_array_equal(shown, rgb.pixels)


def test_range_begins_anew_after_a_stall(recorded):
    rgb = frame(np.zeros((64, 64, 3), np.uint8))
    cold = np.random.default_rng(0).integers(7000, 7400, (64, 64)).astype(np.uint16)
    recorded.process(rgb, frame(cold + 150))
    recorded.process_pair(FramePair(rgb, None, 'rgb_only', rgb))
    recorded.process(rgb, frame(cold))
    after = recorded.backend.ir
    fresh = Pipeline(FusionConfig(), recorded.contract, Identity(), Recorder())
    fresh.process(rgb, frame(cold))
    np.testing.assert_array_equal(after, fresh.backend.ir)
