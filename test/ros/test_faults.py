"""One bad image costs one pair: it is dropped, its cause is counted, the next pair is fused."""

import numpy as np
import pytest
from rig import pictures
from rig.stage import SLOW_NODE

pytestmark = pytest.mark.ros

STEP = pictures.SMALL_HW[1] * 3
# what is done to an rgb8 image, and the cause that has to be counted
RAW_FAULTS = {
    'no data': ({'data': pictures.packed(b'')}, 'truncated'),
    'truncated data': ({'data': pictures.packed(bytes(1000))}, 'truncated'),
    'one byte short': (
        {'data': pictures.packed(bytes(pictures.SMALL_HW[0] * STEP - 1))},
        'truncated',
    ),
    'absurd height': ({'height': 2**32 - 1}, 'bad_size'),
    'absurd width': ({'width': 2**32 - 1, 'step': 2**32 - 1}, 'bad_size'),
    'height zero': ({'height': 0}, 'bad_size'),
    'width zero': ({'width': 0}, 'bad_size'),
    'step too short': ({'step': STEP - 1}, 'bad_size'),
    'step zero': ({'step': 0}, 'bad_size'),
    'step absurd': ({'step': 2**32 - 1}, 'bad_size'),
    'rows moved apart': ({'step': STEP + 4}, 'truncated'),
}


@pytest.fixture(scope='module')
def raw(shared_stage):
    """Return a client of a node that takes raw images."""
    shared_stage.start_node(namespace='/raw')
    client = shared_stage.client('/raw')
    client.offer('rgb', 'ir')
    client.listen('detections', 'fused/image_raw')
    client.warm_up(pictures.pair)
    return client


@pytest.fixture(scope='module')
def packed(shared_stage):
    """Return a client of a node that takes compressed rgb images."""
    shared_stage.start_node({'rgb.image_transport': 'compressed'}, namespace='/packed')
    client = shared_stage.client('/packed')
    client.offer('rgb', transport='compressed')
    client.offer('ir')
    client.listen('detections', 'fused/image_raw')
    client.warm_up(packed_pair)
    return client


def packed_pair(stamp_ns, suffix='.jpg'):
    """Return a scene as a compressed and a mono16 message."""
    head = pictures.header(stamp_ns, 'rgb')
    rgb, ir = pictures.scene()
    return pictures.compressed(rgb, suffix, head), pictures.image(ir, 'mono16', head)


def check_dropped(client, bad, ir, counter, make_pair):
    """Send a bad pair, see it counted, and see the next one fused."""
    before = client.total(counter)
    client.send('rgb', bad)
    client.send('ir', ir)
    client.wait_for_count(counter, before + 1)
    client.fuse(*make_pair(client.next_stamp_ns()))
    stamps = [m.header.stamp for kept in client.received.values() for m in kept]
    assert bad.header.stamp not in stamps
    assert client.total(counter) == before + 1


@pytest.mark.parametrize('fault', RAW_FAULTS)
def test_a_damaged_raw_image_is_dropped_and_the_next_pair_is_fused(raw, fault):
    changes, cause = RAW_FAULTS[fault]
    rgb, ir = pictures.pair(raw.next_stamp_ns())
    for field, value in changes.items():
        setattr(rgb, field, value)
    check_dropped(raw, rgb, ir, f'dropped.rgb.{cause}', pictures.pair)


def test_a_damaged_ir_image_is_counted_as_one_of_ir(raw):
    rgb, ir = pictures.pair(raw.next_stamp_ns())
    ir.data = pictures.packed(bytes(7))
    check_dropped(raw, rgb, ir, 'dropped.ir.truncated', pictures.pair)


def test_why_images_are_dropped_is_said_until_a_good_one_comes(raw):
    rgb, _ = pictures.pair(raw.next_stamp_ns())
    rgb.data = pictures.packed(bytes(7))
    raw.send('rgb', rgb)
    raw.wait_until(lambda: 'rgb image dropped (truncated)' in message(raw), 'the reason')
    raw.fuse(*pictures.pair(raw.next_stamp_ns()))
    raw.wait_until(lambda: 'truncated' not in message(raw), 'no complaint')


def message(client):
    return client.statuses['rgb stream'].message


def test_a_colored_ir_image_is_dropped(raw):
    rgb, _ = pictures.pair(raw.next_stamp_ns())
    ir = pictures.image(pictures.scene(9)[0], 'rgb8', rgb.header)
    check_dropped(raw, rgb, ir, 'dropped.bad_encoding', pictures.pair)


def test_a_16_bit_rgb_image_is_dropped(raw):
    rgb, ir = pictures.pair(raw.next_stamp_ns())
    rgb = pictures.image(pictures.scene()[1], 'mono16', rgb.header)
    check_dropped(raw, rgb, ir, 'dropped.bad_encoding', pictures.pair)


JPEG = bytes(pictures.compressed(pictures.scene()[0], '.jpg', pictures.header(0, '')).data)
PNG = bytes(pictures.compressed(pictures.scene()[0], '.png', pictures.header(0, '')).data)
PACKED_FAULTS = {
    'nothing': (b'', 'bad_encoding'),
    'no image': (b'hello, this is not an image', 'bad_encoding'),
    'jpeg of two bytes': (JPEG[:2], 'truncated'),
    'jpeg that breaks off': (JPEG[: len(JPEG) // 2], 'truncated'),
    'jpeg without frame': (JPEG[:2] + bytes(500) + JPEG[-2:], 'truncated'),
    'jpeg of absurd size': (
        JPEG.replace(b'\x00\x60\x00\x80\x03', b'\xff\xff\xff\xff\x03', 1),
        'bad_size',
    ),
    'png that breaks off': (PNG[:60], 'truncated'),
    'png of absurd size': (PNG[:16] + b'\xff' * 8 + PNG[24:], 'bad_size'),
    'png of its head only': (PNG[:12], 'bad_encoding'),
}


@pytest.mark.parametrize('fault', PACKED_FAULTS)
def test_a_damaged_compressed_image_is_dropped_and_the_next_pair_is_fused(packed, fault):
    data, cause = PACKED_FAULTS[fault]
    rgb, ir = packed_pair(packed.next_stamp_ns())
    rgb.data = pictures.packed(data)
    check_dropped(packed, rgb, ir, f'dropped.rgb.{cause}', packed_pair)


def seen(client):
    """Return how many rgb images the node has looked at."""
    values = client.latest().values
    return sum(
        int(n) for name, n in values.items() if name == 'rgb' or name.startswith('dropped.rgb.')
    )


def test_jpegs_with_random_bytes_in_them_do_not_end_the_node(packed):
    rng = np.random.default_rng(1)
    packed.status()
    before = seen(packed)
    for sent in range(5, 101, 5):  # as many at a time as the node's queue holds
        for _ in range(5):
            rgb, ir = packed_pair(packed.next_stamp_ns())
            data = np.frombuffer(JPEG, np.uint8).copy()
            at = rng.integers(0, len(data), 20)
            data[at] = rng.integers(0, 256, 20)
            rgb.data = pictures.packed(data.tobytes())
            packed.send('rgb', rgb)
            packed.send('ir', ir)
        packed.wait_until(lambda sent=sent: seen(packed) == before + sent, f'{sent} images')
    packed.warm_up(packed_pair)
    assert packed.total('exceptions') == 0


def test_what_nobody_foresaw_costs_one_pair_and_is_counted(stage):
    node = stage.start_node(script=SLOW_NODE)
    client = stage.client()
    client.offer('rgb', 'ir')
    client.listen('detections')
    client.warm_up(pictures.pair)
    rgb, ir = pictures.pair(client.next_stamp_ns())
    rgb.header.frame_id = 'faulty'
    check_dropped(client, rgb, ir, 'exceptions', pictures.pair)
    (line,) = node.lines('ERROR')
    assert 'nobody foresaw this' in line


def test_one_image_of_another_size_is_dropped_and_the_next_pair_is_fused(raw):
    rgb, ir = pictures.pair(raw.next_stamp_ns())
    odd = pictures.image(pictures.scene(0, (50, 70))[0], 'rgb8', rgb.header)
    check_dropped(raw, odd, ir, 'dropped.rgb.size_changed', pictures.pair)


def test_a_camera_that_was_reconfigured_is_believed_after_ten_images(stage):
    stage.start_node()
    client = stage.client()
    client.offer('rgb', 'ir')
    client.listen('fused/image_raw')
    client.warm_up(pictures.pair)

    def make_pair(stamp_ns):
        rgb, ir = pictures.pair(stamp_ns)
        return pictures.image(pictures.scene(0, (64, 80))[0], 'rgb8', rgb.header), ir

    for sent in range(1, 10):
        rgb, ir = make_pair(client.next_stamp_ns())
        client.send('rgb', rgb)
        client.send('ir', ir)
        client.wait_for_count('dropped.rgb.size_changed', sent)
    fused = client.fuse(*make_pair(client.next_stamp_ns()))['fused/image_raw']
    assert (fused.height, fused.width) == (64, 80)
    assert client.total('dropped.rgb.size_changed') == 9
