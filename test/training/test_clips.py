"""Steadiness of fused video, and boxes in unlabeled clips."""

from dataclasses import replace
import json
import math

import cv2
import numpy as np
import pytest

from tdfusion_ros.build import find_bundle
from tdfusion_ros.core.config import IrConfig
from tdfusion_ros.core.data import Detections
from tdfusion_ros.core.data import Frame
from tdfusion_ros.core.errors import FusionError
from tdfusion_ros.core.errors import OutputError
from tdfusion_ros.core.synchronizer import FramePair
from tdfusion_ros.core.thermal import ThermalScaler
from tdfusion_ros.formats.videos import START_NS
from training import clips
from training.checkpoint import load_fusion
from training.checkpoint import save_run
from training.data.clips import clip_sample
from training.data.clips import open_clips
from training.measure.predictors import luma_levels

pytest.importorskip('onnxruntime')

CLASSES = ('person', 'bicycle', 'car')


def gray_pairs(rgb_levels, ir_levels, hw=(64, 64)):
    pairs = []
    for rgb, ir in zip(rgb_levels, ir_levels, strict=True):
        frame = Frame(np.full((*hw, 3), rgb, np.uint8), 0)
        pairs.append(FramePair(frame, Frame(np.full(hw, ir, np.uint8), 0), 'fused', frame))
    return pairs


def write_video(path, frames):
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'MJPG'), 10, (128, 96))
    if not writer.isOpened():
        pytest.skip('OpenCV has no video writer here')
    for frame in frames:
        writer.write(frame)
    writer.release()


def rgb_alone(pair):
    return luma_levels(pair.rgb.pixels), None


def brighter_each_time():
    """Return a function that is 10 levels brighter in each frame, whatever it gets."""
    levels = iter(range(0, 250, 10))
    return lambda pair: (np.full(pair.rgb.size_hw, next(levels), np.uint8), None)


def test_change_is_the_mean_difference_of_frames_and_compared_with_the_larger_source():
    table, boxes = clips.measure_clip(
        gray_pairs([100, 104, 104], [0, 1, 2]),
        {'copy': rgb_alone, 'own': brighter_each_time()},
        {},
    )
    assert table['rgb']['mean change'] == 2
    assert table['ir']['mean change'] == 1
    assert (table['rgb']['p50'], table['rgb']['p99']) == (0, 4)
    assert table['own']['mean change'] == 10
    assert boxes == {}
    fusers = {'copy': rgb_alone, 'own': brighter_each_time()}
    table, _ = clips.measure_clip(gray_pairs([100, 104, 108], [9, 9, 9]), fusers, {})
    assert table['copy']['of the larger source'] == 1
    assert table['own']['of the larger source'] == 2.5
    assert table['ir']['of the larger source'] == 0
    still, _ = clips.measure_clip(gray_pairs([9, 9], [9, 9]), {}, {})
    assert math.isnan(still['rgb']['of the larger source'])


def test_clips_of_gray_rgb_and_of_16_bits_are_measured():
    pairs = gray_pairs([100, 104], [9, 9])
    counts = np.linspace(7000, 9000, 64 * 64).reshape(64, 64).astype(np.uint16)
    pairs = [
        replace(pair, rgb=Frame(pair.rgb.pixels[..., 0], 0), ir=Frame(counts, 0)) for pair in pairs
    ]
    table, _ = clips.measure_clip(pairs, {}, {})
    assert (table['rgb']['mean change'], table['ir']['mean change']) == (4, 0)


def test_details_that_are_compared_by_cell_change_less_in_a_real_clip(tmp_path, demo_pairs):
    fusion = load_fusion(find_bundle('msrs_rt'))
    for steady in (False, True):
        fusion.config = replace(fusion.config, steady=steady)
        save_run(tmp_path / str(steady), fusion, {})
    fusers = {name: clips.run_pair_fuser(str(tmp_path / name)) for name in ('False', 'True')}
    changes = clips.measure_clip(demo_pairs[:4], fusers, {})[0]
    assert changes['True']['mean change'] < 0.98 * changes['False']['mean change']


def test_a_clip_of_one_frame_is_refused():
    with pytest.raises(FusionError, match='two frames'):
        clips.measure_clip(gray_pairs([1], [1]), {}, {})


def test_a_clip_that_is_not_registered_is_refused():
    (pair,) = gray_pairs([1], [1])
    pair = replace(pair, ir=Frame(np.zeros((32, 64), np.uint8), 0))
    with pytest.raises(FusionError, match=r'rgb is 64x64, ir 64x32, .*calibration\.yaml'):
        clip_sample(pair, ThermalScaler(IrConfig()))


@pytest.mark.parametrize(
    ('kinds', 'shift', 'twins'),
    [((0, 0), 2, True), ((0, 2), 2, True), ((0, 1), 2, False), ((0, 0), 15, False)],
    ids=['same class', 'person and car', 'rider', 'neighbors'],
)
def test_twins_are_boxes_of_one_object(kinds, shift, twins):
    boxes = np.float32([[0, 0, 20, 20], [shift, 0, 20 + shift, 20]])
    found = Detections(boxes, np.float32([0.9, 0.8]), np.array(kinds))
    assert clips.has_twins(found, CLASSES) is twins
    row = clips.box_row([found, Detections(boxes[:0], np.float32([]), np.int64([]))], CLASSES)
    assert row['persons a frame'] == sum(kind == 0 for kind in kinds) / 2
    assert row['frames with car'] == (2 in kinds) / 2
    assert row['frames with twins'] == twins / 2


def test_a_clip_is_read_from_a_folder_a_video_or_a_bag(tmp_path, demo, demo_pairs, write_files):
    pairs = demo_pairs[:3]
    rgb = [cv2.resize(pair.rgb.pixels, (128, 96))[..., ::-1] for pair in pairs]
    ir = [cv2.resize(cv2.cvtColor(p.ir.pixels, cv2.COLOR_GRAY2BGR), (128, 96)) for p in pairs]
    for camera, images in (('vi', rgb), ('ir', ir)):
        write_files({f'frames/one/{camera}/{i:04d}.png': image for i, image in enumerate(images)})
    for camera, images in (('rgb', rgb), ('ir', ir)):
        write_video(tmp_path / 'videos' / camera / 'a.avi', images)
    [frames] = open_clips(str(tmp_path / 'frames'))
    [videos] = open_clips(str(tmp_path / 'videos'))
    [bag] = open_clips(str(demo))
    assert (frames.name, videos.name) == (f'{tmp_path}/frames/one', f'{tmp_path}/videos/a')
    for number, (a, b) in enumerate(zip(frames, videos, strict=True)):
        np.testing.assert_array_equal(a.rgb.pixels, rgb[number][..., ::-1])
        assert np.abs(b.rgb.pixels.astype(int) - a.rgb.pixels).mean() < 8  # compressed
        assert b.ir.pixels.shape == (96, 128)
        assert b.rgb.stamp_ns == START_NS + number * 100_000_000
    np.testing.assert_array_equal(next(iter(bag)).rgb.pixels, demo_pairs[0].rgb.pixels)


def test_videos_of_different_length_and_lone_videos_are_named(tmp_path):
    frame = np.zeros((96, 128, 3), np.uint8)
    write_video(tmp_path / 'rgb' / 'a.avi', [frame] * 4)
    write_video(tmp_path / 'ir' / 'a.avi', [frame] * 2)
    [clip] = open_clips(str(tmp_path))
    with pytest.raises(FusionError, match=r'has no partner: cut both videos to the same frames'):
        list(clip)
    write_video(tmp_path / 'rgb' / 'b.avi', [frame])
    with pytest.raises(FusionError, match='b has a video of one camera only'):
        open_clips(str(tmp_path))


def test_runs_and_bundles_are_measured_on_each_clip(
    tmp_path, write_files, small_pairs, fusion_run, capsys
):
    for number, (rgb, ir) in enumerate(small_pairs):
        write_files({f'clip/rgb/{number}.png': rgb[..., ::-1], f'clip/ir/{number}.png': ir})
    output, clip = tmp_path / 'out.json', str(tmp_path / 'clip')
    arguments = ['--bundle', 'msrs_rt', '--fusion', fusion_run, clip, '--score', '0.1', '-o']
    clips.main([*arguments, str(output)])
    for path, why in ((output, 'add --overwrite'), (f'{clip}/rgb/0.json', 'inside the input')):
        with pytest.raises(OutputError, match=why):
            clips.main([*arguments, str(path)])
    content = json.loads(output.read_text(encoding='utf-8'))[clip]
    steady = content['steadiness']
    assert list(steady) == ['rgb', 'ir', 'rgb or ir', fusion_run, 'msrs_rt']
    both = steady['rgb']['mean change'] + steady['ir']['mean change']
    assert 1 < steady['rgb or ir']['of the larger source'] < 2
    assert steady['rgb or ir']['mean change'] < both
    assert content['boxes']['msrs_rt']['persons a frame'] > 0
    assert 'boxes at a score_threshold of 0.1' in capsys.readouterr().out
