"""Each kind of image message over DDS; test/formats/test_raw_images.py has all encodings."""

import numpy as np
import pytest
from rig import pictures

RGB, IR = pictures.scene(5)
BGRA = np.dstack([RGB[..., ::-1], np.full_like(RGB[..., 1], 77)])
CELSIUS = IR.astype(np.float32) / 1000 - 20


@pytest.fixture
def check_fused(oracle):
    """Return a function that sends a pair and compares the fused pixels with the pipeline's."""
    from tdfusion_ros.core.data import Frame

    def check(client, messages, pixels):
        fused = client.fuse(*messages, 'fused/image_raw')['fused/image_raw']
        expected = oracle.process(*(Frame(p, 0) for p in pixels)).fused
        np.testing.assert_array_equal(pictures.pixels(fused), expected)

    return check


@pytest.mark.parametrize(('encoding', 'ir'), [('mono16', IR), ('32FC1', CELSIUS)])
def test_raw_images_are_read_with_their_bits_and_byte_order(client, check_fused, encoding, ir):
    head = pictures.header(client.next_stamp_ns(), 'rgb')
    messages = (pictures.image(BGRA, 'bgra8', head), pictures.image(ir, encoding, head, big=True))
    check_fused(client, messages, (RGB, ir))


def test_thermal_counts_are_received_by_compressed_depth(stage, check_fused):
    def make_pair(stamp_ns):
        rgb, ir = pictures.pair(stamp_ns)
        png = pictures.compressed(pictures.scene()[1], '.png', ir.header)
        png.format = '16UC1; compressedDepth png'
        png.data = pictures.packed(bytes(12) + bytes(png.data))
        return rgb, png

    given = {'ir.image_transport': 'compressedDepth', 'ir.normalization': 'passthrough'}
    client = stage.run(given, listen=('detections', 'fused/image_raw'), make_pair=make_pair)
    check_fused(client, make_pair(client.next_stamp_ns()), pictures.scene())
