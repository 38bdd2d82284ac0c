"""Encodings over DDS; test/formats/test_raw_images.py has all of them."""

import cv2
import numpy as np
import pytest
from rig import pictures

RGB, IR = pictures.scene(5)
GRAY, IR8 = RGB[..., 1], (IR >> 8).astype(np.uint8)
ALPHA = np.full_like(GRAY, 77)
CELSIUS = IR.astype(np.float32) / 1000 - 20
RGB_MESSAGES = {
    'rgb8': RGB,
    'bgr8': RGB[..., ::-1],
    'bgra8': np.dstack([RGB[..., ::-1], ALPHA]),
    'mono8': GRAY,
}


@pytest.fixture
def check_fused(oracle):
    """Return a function that sends a pair and compares the fused pixels with the pipeline's."""
    from tdfusion_ros.core.data import Frame

    def check(client, messages, pixels):
        fused = client.fuse(*messages, 'fused/image_raw')['fused/image_raw']
        expected = oracle.process(*(Frame(p, 0) for p in pixels)).fused
        np.testing.assert_array_equal(pictures.pixels(fused), expected)

    return check


@pytest.mark.parametrize('encoding', RGB_MESSAGES)
def test_an_rgb_image_gives_the_same_result_in_each_encoding(client, check_fused, encoding):
    head = pictures.header(client.next_stamp_ns(), 'rgb')
    rgb = pictures.image(RGB_MESSAGES[encoding], encoding, head)
    pixels = np.dstack([GRAY] * 3) if encoding == 'mono8' else RGB
    check_fused(client, (rgb, pictures.image(IR, 'mono16', head)), (pixels, IR))


@pytest.mark.parametrize(
    ('encoding', 'big', 'pixels'),
    [('mono16', False, IR), ('mono16', True, IR), ('mono8', False, IR8), ('32FC1', True, CELSIUS)],
)
def test_an_ir_image_is_read_with_its_bits_and_byte_order(
    client, check_fused, encoding, big, pixels
):
    head = pictures.header(client.next_stamp_ns(), 'rgb')
    ir = pictures.image(pixels, encoding, head, big=big)
    check_fused(client, (pictures.image(RGB, 'rgb8', head), ir), (RGB, pixels))


@pytest.mark.parametrize(('suffix', 'ir'), [('.png', IR), ('.png', IR8), ('.jpg', IR)])
def test_compressed_images_are_decoded_with_their_bits(compressed_client, check_fused, suffix, ir):
    head = pictures.header(compressed_client.next_stamp_ns(), 'rgb')
    messages = (pictures.compressed(RGB, suffix, head), pictures.compressed(ir, '.png', head))
    bgr = cv2.imdecode(np.array(messages[0].data), cv2.IMREAD_COLOR)
    check_fused(compressed_client, messages, (cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), ir))


def test_thermal_counts_are_received_by_compressed_depth(stage, oracle):
    from tdfusion_ros.core.data import Frame

    def make_pair(stamp_ns):
        rgb, ir = pictures.pair(stamp_ns)
        png = pictures.compressed(pictures.scene()[1], '.png', ir.header)
        png.format, png.data = (
            '16UC1; compressedDepth png',
            pictures.packed(bytes(12) + bytes(png.data)),
        )
        return rgb, png

    given = {'ir.image_transport': 'compressedDepth', 'ir.normalization': 'passthrough'}
    client = stage.run(given, listen=('detections', 'fused/image_raw'), make_pair=make_pair)
    fused = client.fuse(*make_pair(client.next_stamp_ns()), 'fused/image_raw')['fused/image_raw']
    expected = oracle.process(*(Frame(p, 0) for p in pictures.scene())).fused
    np.testing.assert_array_equal(pictures.pixels(fused), expected)
