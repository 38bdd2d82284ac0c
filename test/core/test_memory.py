"""
Memory that one frame takes, in planes: bytes per pixel of the image.

tracemalloc sees what NumPy and OpenCV allocate, but not the memory of ONNX Runtime.
"""

import tracemalloc

import cv2
import numpy as np
import pytest

from tdfusion_ros.build import load_calibration
from tdfusion_ros.core.data import Frame
from tdfusion_ros.core.registration import Registration
from tdfusion_ros.formats import messages
from tdfusion_ros.formats.bags import bag_types

HEIGHT, WIDTH = 256, 320
SPARE = 0.15  # of a plane: small things
HEAD = messages.header(bag_types(), Frame(np.zeros((1, 1), np.uint8), 0))
TYPES = messages.MessageTypes(bag_types().get, messages.ros_types().pack)
RGB = cv2.resize(np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8), (WIDTH, HEIGHT))
IR = np.ascontiguousarray(RGB[..., 1])


def planes(work):
    """Return the memory that work() allocates: at its end, and at its peak."""
    for _ in range(3):
        work()  # some memory is allocated only once
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        result = work()
        now, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert result is not None
    return (now - before) / (HEIGHT * WIDTH), (peak - before) / (HEIGHT * WIDTH)


def raw(pixels, encoding):
    message = messages.image(bag_types(), HEAD, pixels)
    message.encoding = encoding
    return message


@pytest.mark.parametrize(
    ('pixels', 'encoding'),
    [(RGB, 'rgb8'), (RGB, 'bgr8'), (IR, 'mono8'), (IR.astype(np.uint16), 'mono16')],
    ids=lambda value: value if isinstance(value, str) else '',
)
def test_reading_a_raw_image_copies_no_pixel(pixels, encoding):
    message = raw(pixels, encoding)
    assert planes(lambda: messages.to_frame(message))[1] < SPARE


def test_decoding_a_jpeg_makes_two_images_and_keeps_one():
    data = cv2.imencode('.jpg', RGB)[1].reshape(-1)
    message = bag_types().get('sensor_msgs/msg/CompressedImage')(
        header=HEAD, format='jpg', data=data
    )
    assert planes(lambda: messages.to_frame(message)) == pytest.approx((3, 6), abs=SPARE)


@pytest.mark.parametrize(
    ('calibration', 'ir_hw', 'made'),
    [
        ('', (HEIGHT, WIDTH), 0),
        ('', (HEIGHT // 2, WIDTH // 2), 4),
        ('homography.yaml', (HEIGHT // 2, WIDTH // 2), 4),
    ],
)
def test_registration_makes_at_most_the_image_it_returns(root, calibration, ir_hw, made):
    path = str(root / 'config' / 'calibration' / calibration) if calibration else ''
    registration = Registration(load_calibration(path))
    ir = np.ones(ir_hw, np.float32)
    assert planes(lambda: registration.apply(ir, (HEIGHT, WIDTH)))[1] < made + SPARE


def test_pipeline_makes_the_float_image_and_copies_nothing_else(pipeline):
    rgb, ir = Frame(RGB, 0), Frame(IR, 0)
    assert planes(lambda: pipeline.process(rgb, ir))[1] < 4 + SPARE


def test_filling_the_message_copies_the_image_once(pipeline):
    result = pipeline.process(Frame(RGB, 0), Frame(IR, 0))
    kept, peak = planes(lambda: messages.image(TYPES, HEAD, result.fused))
    assert kept == pytest.approx(3 * 17 / 16, abs=SPARE)  # array.array grows by a 16th more
    assert peak < kept + SPARE


def test_memory_does_not_grow_from_frame_to_frame(pipeline):
    frames = Frame(RGB, 0), Frame(IR, 0)
    tracemalloc.start()
    try:
        taken = []
        for _ in range(30):
            pipeline.process(*frames)
            taken.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert (taken[-1] - taken[9]) / (HEIGHT * WIDTH) < SPARE
