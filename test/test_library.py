"""``tdfusion_ros.load``: the library interface does what the node's pipeline does."""

import re
import subprocess
import sys

import numpy as np
import pytest

import tdfusion_ros
from tdfusion_ros.core.config import FusionConfig
from tdfusion_ros.core.data import Frame
from tdfusion_ros.core.errors import CalibrationError
from tdfusion_ros.core.errors import ConfigError
from tdfusion_ros.core.errors import ModelError


@pytest.fixture(scope='module')
def fuse():
    return tdfusion_ros.load('msrs_rt', backend='cpu')


@pytest.fixture
def images(demo_pairs):
    """Return an rgb and an ir image of the demo with people."""
    return demo_pairs[70].rgb.pixels, demo_pairs[70].ir.pixels


def counts(ir, offset=20_000):
    """Return an 8-bit ir image as the counts of a 16-bit camera."""
    return ir.astype(np.uint16) * 12 + offset


def same(one, other):
    return all(
        np.array_equal(getattr(one, name), getattr(other, name))
        for name in ('image', 'ir', 'boxes_xyxy', 'scores', 'labels')
    )


def test_result_is_that_of_the_pipeline(fuse, pipeline, demo_pairs):
    for pair in demo_pairs[::12]:
        expected = pipeline.process(pair.rgb, pair.ir)
        result = fuse(pair.rgb.pixels, pair.ir.pixels)
        np.testing.assert_array_equal(result.image, expected.fused)
        np.testing.assert_array_equal(result.ir, expected.pair.ir)
        np.testing.assert_array_equal(result.boxes_xyxy, expected.detections.boxes_xyxy)
        np.testing.assert_array_equal(result.scores, expected.detections.scores)
        assert result.labels == [fuse.classes[i] for i in expected.detections.class_ids]
        assert result.valid.all()


def test_the_lines_of_the_readme_run_as_written(root, images):
    first = re.search(r'```python\n(.*?)```', (root / 'README.md').read_text(), re.DOTALL)
    names = dict(zip(('rgb', 'ir'), images, strict=True))
    exec(first[1], names)
    assert names['result'].image.shape == images[0].shape
    assert 'person' in names['result'].labels


def test_temperatures_are_those_of_the_counts_inside_the_boxes(images):
    rgb, ir = images[0], counts(images[1], 6900)
    result = tdfusion_ros.load(backend='cpu', ir={'kelvin_per_count': 0.04})(rgb, ir)
    assert len(result.labels)
    measured = result.temperatures
    for box, found in zip(result.boxes_xyxy.round().astype(int), measured.counts, strict=True):
        left, top, right, bottom = box
        assert found[2] == pytest.approx(ir[top:bottom, left:right].max(), abs=36)
    np.testing.assert_allclose(measured.kelvin, 0.04 * measured.counts)
    assert tdfusion_ros.load(backend='cpu')(*images).temperatures is None


@pytest.mark.parametrize('dtype', [np.float16, np.float32, np.float64])
def test_float_ir_is_used_as_it_is(fuse, images, dtype):
    rgb, ir = images
    result = fuse(rgb, (ir / 255).astype(dtype))
    np.testing.assert_allclose(result.ir, ir / 255, atol=1e-3)
    assert result.labels == fuse(rgb, ir).labels


@pytest.mark.parametrize('dtype', [np.float32, np.float64])
def test_temperatures_of_any_unit_are_scaled_and_measured_if_a_range_is_set(images, dtype):
    rgb, ir = images
    celsius = (ir / 10 - 5).astype(dtype)
    celsius[0, :4] = np.nan, np.inf, -9e9, np.nan
    settings = {'normalization': 'fixed', 'range_min': -5, 'range_max': 20.5}
    fuse = tdfusion_ros.load(
        backend='cpu', ir={**settings, 'kelvin_per_count': 1, 'kelvin_offset': 273.15}
    )
    for result in (fuse(rgb, celsius), fuse.stream()(rgb, celsius)):
        np.testing.assert_allclose(result.ir[1:], ir[1:] / 255, atol=1e-5)
        assert np.isfinite(result.ir).all()
        assert (result.temperatures.kelvin[:, 2] < 273.15 + 20.6).all()


def test_ir_of_another_size_is_stretched_or_calibrated(fuse, images, tmp_path):
    rgb, ir = images
    half = np.ascontiguousarray(ir[::2, ::2])
    assert fuse(rgb, half).ir.shape == rgb.shape[:2]
    path = tmp_path / 'rig.yaml'
    path.write_text('mode: homography\nhomography: [[0.5, 0, -40], [0, 0.5, 0], [0, 0, 1]]\n')
    calibrated = tdfusion_ros.load(backend='cpu', calibration=path)(rgb, half)
    assert not calibrated.valid[:, :79].any()
    np.testing.assert_array_equal(calibrated.image[:, :79], rgb[:, :79])
    np.testing.assert_array_equal(calibrated.coverage > 0, calibrated.valid)
    np.testing.assert_allclose(calibrated.ir[::2, 80::2], half[:, :-40] / 255, atol=1e-6)


@pytest.mark.parametrize(
    ('scale', 'to_counts', 'words'),
    [
        (0.04, lambda ir: ir, 'gray levels that the camera scales'),
        (4.0, counts, 'the median of the ir image would be'),
    ],
)
def test_temperatures_that_cannot_be_right_are_doubted_once(
    images, caplog, scale, to_counts, words
):
    fuse = tdfusion_ros.load(backend='cpu', ir={'kelvin_per_count': scale})
    for _ in range(2):
        fuse(images[0], to_counts(images[1]))
    [record] = [one for one in caplog.records if one.levelname == 'WARNING']
    assert words in record.getMessage()


def test_a_call_with_sixteen_bits_is_as_the_first_of_a_node_and_no_other_matters(
    fuse, pipeline, images
):
    rgb, ir = images
    first = fuse(rgb, counts(ir))
    kept = pipeline.fresh().process(Frame(rgb, 0), Frame(counts(ir), 0)).fused
    fuse(rgb, counts(ir, offset=21_000))
    assert same(fuse(rgb, counts(ir)), first)
    np.testing.assert_array_equal(first.image, kept)


def test_a_stream_smooths_the_thermal_range_and_another_one_starts_without_history(fuse, images):
    rgb, ir = images
    before, after = counts(ir), counts(ir, offset=20_200)
    stream = fuse.stream()
    assert same(stream(rgb, before), fuse(rgb, before))
    assert not same(stream(rgb, after), fuse(rgb, after))
    assert same(fuse.stream()(rgb, after), fuse(rgb, after))


def test_a_stream_gives_ids_that_last_by_the_times_of_the_images(fuse, images):
    stream = fuse.stream()
    first, second = (stream(*images, time_s=time_s).ids.tolist() for time_s in (0.0, 1.0))
    assert len(first) == len(stream(*images, time_s=1.5).labels) > 0
    assert second == first == list(range(1, 1 + len(first)))
    assert not set(stream(*images, time_s=60.0).ids.tolist()) & set(first)
    assert fuse.stream()(*images).ids.tolist() == first  # without a time: now
    assert fuse(*images).ids is None


def test_draw_returns_a_copy_with_boxes(fuse, images):
    result = fuse(*images)
    before = result.image.copy()
    assert (result.draw() != result.image).any()
    np.testing.assert_array_equal(result.image, before)


def test_settings_are_those_of_the_node(images, fuse):
    rgb, ir = images
    usual = fuse(rgb, ir).scores
    between = float(usual.min() + usual.max()) / 2
    tuned = tdfusion_ros.load(
        backend='cpu', score_threshold=between, class_filter=['person'], ir={'invert': True}
    )
    result = tuned(rgb, 255 - ir)
    assert set(result.labels) == {'person'}
    assert result.scores.min() >= between > usual.min() >= FusionConfig.score_threshold


@pytest.mark.parametrize(
    ('wrong', 'error'),
    [
        ({'model': 'nothing'}, ModelError),
        ({'calibration': '/nowhere.yaml'}, CalibrationError),
        ({'score_treshold': 0.5}, ConfigError),
        ({'ir': {'invrt': True}}, ConfigError),
        ({'score_threshold': 2.0}, ConfigError),
        ({'backend': 'abacus'}, ConfigError),
    ],
)
def test_wrong_setting_is_refused_in_one_line(wrong, error):
    with pytest.raises(error) as caught:
        tdfusion_ros.load(**{'backend': 'cpu', **wrong})
    assert isinstance(caught.value, tdfusion_ros.FusionError)
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize(
    ('name', 'wrong'),
    [
        ('rgb', lambda rgb: rgb[..., 0]),
        ('rgb', lambda rgb: rgb / 255),
        ('rgb', lambda rgb: np.dstack([rgb, rgb])),
        ('rgb', lambda rgb: rgb[:0]),
        ('rgb', lambda rgb: None),
        ('ir', lambda ir: ir.astype(np.int32)),
        ('ir', lambda ir: ir.astype(np.float32)),
        ('ir', lambda ir: np.full(ir.shape, np.nan)),
        ('ir', lambda ir: ir[:, :0]),
        ('ir', lambda ir: ir.ravel()),
        ('ir', lambda ir: 'ir.png'),
    ],
)
def test_wrong_array_is_refused_naming_it(fuse, images, name, wrong):
    given = dict(zip(('rgb', 'ir'), images, strict=True))
    given[name] = wrong(given[name])
    with pytest.raises(ValueError, match=rf'{name} must be .*, got '):
        fuse(**given)


def test_false_colors_and_a_wrong_time_are_refused(fuse, images):
    rgb, _ = images
    with pytest.raises(tdfusion_ros.FusionError, match=r'false colors.*swapped\?'):
        fuse(rgb, rgb)
    for wrong in (float('nan'), -1e300, 'noon'):
        with pytest.raises(ValueError, match='time_s must be a time in seconds, got'):
            fuse.stream()(*images, time_s=wrong)


def test_importing_the_package_imports_nothing_heavy():
    script = 'import sys, tdfusion_ros; print(*sys.modules); assert "load" in dir(tdfusion_ros)'
    done = subprocess.run(
        [sys.executable, '-c', script], check=True, capture_output=True, text=True
    )
    loaded = {name.partition('.')[0] for name in done.stdout.split()}
    assert not loaded & {'cv2', 'numpy', 'onnxruntime', 'rclpy', 'rosbags', 'torch', 'yaml'}
    with pytest.raises(AttributeError, match='no attribute'):
        tdfusion_ros.unknown  # noqa: B018
