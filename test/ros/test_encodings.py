"""Every encoding that a camera may send, and those that the node has to refuse."""

import importlib.util

import numpy as np
import pytest
from rig import pictures

pytestmark = pytest.mark.ros

RGB, IR = pictures.scene(5)
GRAY = RGB[..., 1]
ALPHA = np.full_like(GRAY, 77)
RGB_MESSAGES = {
    'rgb8': RGB,
    'bgr8': RGB[..., ::-1],
    '8UC3': RGB[..., ::-1],
    'rgba8': np.dstack([RGB, ALPHA]),
    'bgra8': np.dstack([RGB[..., ::-1], ALPHA]),
}


@pytest.fixture(scope='module')
def raw(shared_stage):
    """Return a client of a node that takes raw images."""
    shared_stage.start_node({'ir.normalization': 'passthrough'}, namespace='/raw')
    client = shared_stage.client('/raw')
    client.offer('rgb', 'ir')
    client.listen('fused/image_raw')
    client.warm_up(pictures.pair)
    return client


@pytest.fixture(scope='module')
def packed(shared_stage):
    """Return a client of a node that takes compressed images."""
    shared_stage.start_node(
        {
            'ir.normalization': 'passthrough',
            'rgb.image_transport': 'compressed',
            'ir.image_transport': 'compressed',
        },
        namespace='/packed',
    )
    client = shared_stage.client('/packed')
    client.offer('rgb', 'ir', transport='compressed')
    client.listen('fused/image_raw')
    client.warm_up(
        lambda stamp_ns: tuple(
            pictures.compressed(p, '.png', pictures.header(stamp_ns, '')) for p in (RGB, IR)
        )
    )
    return client


def fused(client, rgb, ir):
    """Send a pair and return the fused pixels."""
    return pictures.pixels(client.fuse(rgb, ir)['fused/image_raw'])


def expected(oracle, rgb, ir):
    """Return the fused pixels of the same pixels, without messages."""
    from tdfusion_ros.core.data import Frame

    return oracle.process(Frame(rgb, 0), Frame(ir, 0)).fused


@pytest.mark.parametrize('encoding', RGB_MESSAGES)
def test_an_rgb_image_is_fused_alike_in_every_encoding(raw, oracle, encoding):
    head = pictures.header(raw.next_stamp_ns(), 'rgb')
    rgb = pictures.image(RGB_MESSAGES[encoding], encoding, head)
    np.testing.assert_array_equal(
        fused(raw, rgb, pictures.image(IR, 'mono16', head)), expected(oracle, RGB, IR)
    )


def test_a_mono8_rgb_image_is_fused_as_its_three_equal_channels(raw, oracle):
    head = pictures.header(raw.next_stamp_ns(), 'rgb')
    rgb = pictures.image(GRAY, 'mono8', head)
    np.testing.assert_array_equal(
        fused(raw, rgb, pictures.image(IR, 'mono16', head)),
        expected(oracle, np.dstack([GRAY] * 3), IR),
    )


@pytest.mark.parametrize('encoding', ['mono16', '16UC1'])
@pytest.mark.parametrize('big', [False, True], ids=['little_endian', 'big_endian'])
def test_a_16_bit_ir_image_is_read_in_its_byte_order(raw, oracle, encoding, big):
    head = pictures.header(raw.next_stamp_ns(), 'rgb')
    ir = pictures.image(IR, encoding, head, big=big)
    np.testing.assert_array_equal(
        fused(raw, pictures.image(RGB, 'rgb8', head), ir), expected(oracle, RGB, IR)
    )


@pytest.mark.parametrize('encoding', ['mono8', '8UC1'])
def test_an_8_bit_ir_image_is_taken_as_it_is(raw, oracle, encoding):
    head = pictures.header(raw.next_stamp_ns(), 'rgb')
    ir = (IR >> 8).astype(np.uint8)
    np.testing.assert_array_equal(
        fused(raw, pictures.image(RGB, 'rgb8', head), pictures.image(ir, encoding, head)),
        expected(oracle, RGB, ir),
    )


def test_rows_longer_than_the_picture_are_cut(raw, oracle):
    head = pictures.header(raw.next_stamp_ns(), 'rgb')
    wide = pictures.image(np.pad(RGB, ((0, 0), (0, 20), (0, 0)), constant_values=255), '', head)
    wide.encoding, wide.width = 'rgb8', RGB.shape[1]
    np.testing.assert_array_equal(
        fused(raw, wide, pictures.image(IR, 'mono16', head)), expected(oracle, RGB, IR)
    )


@pytest.mark.parametrize('suffix', ['.png', '.jpg'])
def test_a_compressed_rgb_image_is_decoded(packed, oracle, suffix):
    import cv2

    head = pictures.header(packed.next_stamp_ns(), 'rgb')
    rgb = pictures.compressed(RGB, suffix, head)
    pixels = cv2.cvtColor(cv2.imdecode(np.array(rgb.data), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    np.testing.assert_array_equal(
        fused(packed, rgb, pictures.compressed(IR, '.png', head)), expected(oracle, pixels, IR)
    )


@pytest.mark.parametrize('dtype', [np.uint8, np.uint16])
def test_a_png_ir_image_keeps_its_8_or_16_bits(packed, oracle, dtype):
    head = pictures.header(packed.next_stamp_ns(), 'rgb')
    ir = IR if dtype == np.uint16 else (IR >> 8).astype(np.uint8)
    np.testing.assert_array_equal(
        fused(
            packed, pictures.compressed(RGB, '.png', head), pictures.compressed(ir, '.png', head)
        ),
        expected(oracle, RGB, ir),
    )


@pytest.mark.skipif(
    importlib.util.find_spec('cv_bridge') is not None, reason='cv_bridge reads these'
)
@pytest.mark.parametrize('encoding', ['bayer_rggb8', 'yuv422', 'no such thing', ''])
def test_an_unknown_encoding_is_dropped_with_its_cause(raw, encoding):
    before = raw.total('dropped.rgb.bad_encoding')
    rgb, ir = pictures.pair(raw.next_stamp_ns())
    rgb.encoding = encoding
    raw.send('rgb', rgb)
    raw.send('ir', ir)
    raw.wait_for_count('dropped.rgb.bad_encoding', before + 1)
    good, ir = pictures.pair(raw.next_stamp_ns())
    raw.fuse(good, ir)
    assert rgb.header.stamp not in [m.header.stamp for m in raw.received['fused/image_raw']]
