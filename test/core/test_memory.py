"""Memory that one frame takes, in planes: bytes per pixel of the image, without ONNX Runtime."""

import tracemalloc

import cv2
import numpy as np
import pytest

from tdfusion_ros.build import load_calibration
from tdfusion_ros.core.data import Frame
from tdfusion_ros.core.registration import Registration
from tdfusion_ros.formats import messages
from tdfusion_ros.formats.bags import bag_types

HEIGHT, WIDTH = 480, 640
SPARE = 0.1  # of a plane: small things, most of it which scores are above the threshold
HEAD = messages.header(bag_types(), Frame(np.zeros((1, 1), np.uint8), 0))
RGB = cv2.resize(np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8), (WIDTH, HEIGHT))
IR = np.ascontiguousarray(RGB[..., 1])


def peak_planes(work):
    for _ in range(3):
        work()  # some memory is allocated only once
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        assert work() is not None
        return (tracemalloc.get_traced_memory()[1] - before) / (HEIGHT * WIDTH)
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ('pixels', 'encoding'),
    [(RGB, 'rgb8'), (RGB, 'bgr8'), (IR, 'mono8'), (IR.astype(np.uint16), 'mono16')],
    ids=lambda value: value if isinstance(value, str) else '',
)
def test_reading_a_raw_image_copies_no_pixel(pixels, encoding):
    message = messages.image(bag_types(), HEAD, pixels)
    message.encoding = encoding
    assert peak_planes(lambda: messages.to_frame(message)) < SPARE


@pytest.mark.parametrize(
    ('calibration', 'ir_hw', 'made'),
    [('', (HEIGHT, WIDTH), 0), ('', (240, 320), 4), ('homography.yaml', (256, 320), 4)],
)
def test_registration_makes_at_most_the_image_it_returns(root, calibration, ir_hw, made):
    path = str(root / 'config' / 'calibration' / calibration) if calibration else ''
    registration = Registration(load_calibration(path))
    ir = np.ones(ir_hw, np.float32)
    assert peak_planes(lambda: registration.apply(ir, (HEIGHT, WIDTH))) < made + SPARE


def test_pipeline_makes_the_float_image_and_copies_nothing_else(pipeline):
    rgb, ir = Frame(RGB, 0), Frame(IR, 0)
    assert peak_planes(lambda: pipeline.process(rgb, ir)) < 4 + SPARE


def test_memory_does_not_grow_from_frame_to_frame(pipeline):
    frames = Frame(RGB, 0), Frame(IR, 0)
    tracemalloc.start()
    try:
        taken = []
        for _ in range(16):
            pipeline.process(*frames)
            taken.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert (taken[-1] - taken[9]) / (HEIGHT * WIDTH) < SPARE
