"""Videos as a pair of cameras, written with OpenCV and read again."""

import os

import cv2
import numpy as np
import pytest

from tdfusion_ros.cli import main
from tdfusion_ros.core.config import from_mapping
from tdfusion_ros.core.config import SyncConfig
from tdfusion_ros.formats.videos import VideoFile
from tdfusion_ros.formats.videos import VideoSource
from tdfusion_ros.tools.view.result_folder import camera_images

SIZE_WH = 320, 256


def video(path, images, rate_hz):
    codec = cv2.VideoWriter.fourcc(*('MJPG' if path.suffix == '.avi' else 'mp4v'))
    writer = cv2.VideoWriter(str(path), codec, rate_hz, SIZE_WH)
    for pixels in images:
        small = cv2.resize(pixels, SIZE_WH)
        writer.write(cv2.cvtColor(small, cv2.COLOR_GRAY2BGR) if small.ndim == 2 else small)
    writer.release()
    return path


@pytest.fixture
def videos(demo_pairs, tmp_path):
    """Return a second of a real rgb camera at 12 Hz, and half a second of ir at 6 Hz."""
    rgb = [pair.rgb.pixels[..., ::-1] for pair in demo_pairs[:12]]
    ir = [pair.ir.pixels for pair in demo_pairs[:6:2]]
    return video(tmp_path / 'rgb.mp4', rgb, 12.0), video(tmp_path / 'ir.avi', ir, 6.0)


def fuse(*arguments):
    return main(['fuse', *map(str, arguments), '-p', 'backend=cpu'])


def test_two_videos_become_a_video_with_the_boxes_of_its_results(videos, tmp_path, capsys):
    plain, drawn = tmp_path / 'out.mp4', tmp_path / 'drawn.avi'
    assert fuse(*videos, '-o', plain) == 0
    text = capsys.readouterr().out
    assert f'3 pairs -> {plain}' in text
    assert 'rgb.mp4 has 12 Hz' in text
    assert 'ir.avi has 6 Hz: frames are paired by time, at most 20 ms apart' in text
    assert 'rgb.mp4 lasts 1.00 s' in text
    assert 'ir.avi lasts 0.50 s: the rest of the longer one has no partner' in text
    assert fuse(*videos, '-o', drawn, '--overlay', '-p', 'score_threshold=0.05') == 0
    assert fuse(*videos, '-o', tmp_path / 'folder') == 0
    files = sorted((tmp_path / 'folder').glob('*.png'))
    results, overlays = VideoFile(plain), list(VideoFile(drawn).frames('rgb'))
    assert (results.rate_hz, len(files)) == (6.0, 3)
    for (_, _, frame), (_, _, overlay), file in zip(
        results.frames('rgb'), overlays, files, strict=True
    ):
        wanted = cv2.imread(str(file))[..., ::-1].astype(float)
        assert np.abs(frame.pixels - wanted).mean() < 6  # what the codec loses
        assert np.abs(overlay.pixels - wanted).mean() > 1.02 * np.abs(frame.pixels - wanted).mean()
    assert fuse(*videos, '-o', plain) == 1
    assert 'exists' in capsys.readouterr().err
    assert fuse(*videos, '-o', plain, '--overwrite') == 0


def test_frames_are_paired_by_time_and_a_time_offset_shifts_a_video(videos):
    def skews_ms(**sync):
        pairs = list(VideoSource(*videos, from_mapping({f'sync.{k}': v for k, v in sync.items()})))
        return [(pair.mode, round(pair.skew_ns / 1e6)) for pair in pairs]

    assert skews_ms() == [('fused', 0)] * 3
    assert skews_ms(ir_time_offset_ms=250.0) == [('fused', 0)] * 3
    assert skews_ms(ir_time_offset_ms=-170.0) == [('fused', -3)] * 2
    assert skews_ms(ir_time_offset_ms=40.0, max_skew_ms=30.0) == []


def test_frames_of_a_video_that_states_no_count_are_counted_and_shown(tmp_path):
    path = tmp_path / 'camera.mjpeg'  # JPEGs one after another
    images = [np.full((64, 96, 3), 20 * number, np.uint8) for number in range(10)]
    path.write_bytes(b''.join(cv2.imencode('.jpg', image)[1].tobytes() for image in images))
    assert VideoFile(path).stated == 0
    shown = camera_images((path, path), SyncConfig())['/ir/image_raw']
    assert [round(read().mean() / 20) for read in shown.values()] == list(range(10))


@pytest.mark.parametrize(
    ('name', 'content', 'reason'),
    [
        ('text.mp4', b'no video', 'text.mp4 is not a video that OpenCV can decode'),
        ('cut.mp4', None, 'cut.mp4 is not a video that OpenCV can decode'),
        ('folder', '', 'folder is not a video: expected a file'),
        (os.fsdecode(b'\xff.mp4'), b'', r"\udcff.mp4' has a name that is not UTF-8: rename it"),
        ('0.png', b'', '0.png is an image: name two videos, or two folders of images'),
    ],
)
def test_what_is_no_video_is_named_in_one_line(videos, tmp_path, capfd, name, content, reason):
    path = tmp_path / name
    if content == '':
        path.mkdir()
    else:
        path.write_bytes(content or videos[0].read_bytes()[:2000])
    assert fuse(videos[0], path, '-o', tmp_path / 'out.mp4') == 1
    error = [line for line in capfd.readouterr().err.splitlines() if line.startswith('tdfusion')]
    assert len(error) == 1
    assert reason in error[0]
    assert not (tmp_path / 'out.mp4').exists()
