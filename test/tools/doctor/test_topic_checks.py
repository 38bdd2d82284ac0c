"""What the doctor finds in the image topics that it received."""

from dataclasses import replace
import re
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from tdfusion_ros.core.config import from_mapping
from tdfusion_ros.core.config import FusionConfig
from tdfusion_ros.formats.bag_topics import IMAGE_TYPES
from tdfusion_ros.tools.doctor.finding import FAIL
from tdfusion_ros.tools.doctor.finding import OK
from tdfusion_ros.tools.doctor.finding import WARN
from tdfusion_ros.tools.doctor.received_topics import ReceivedTopic
from tdfusion_ros.tools.doctor.topic_checks import check

MS = 1_000_000
START = 1_700_000_000_000 * MS
IMAGE, COMPRESSED = IMAGE_TYPES
GRAY = np.zeros((480, 640), np.uint8)
cv2.circle(GRAY, (300, 200), 90, 200, -1)
GRAY = cv2.GaussianBlur(GRAY, (0, 0), 30)
COUNTS = GRAY * np.uint16(20) + np.uint16(8000)
COLORED = cv2.applyColorMap(GRAY, cv2.COLORMAP_INFERNO)
WANTED = {'rgb': '/rgb/image_raw', 'ir': '/ir/image_raw'}


def info(size_hw, focal_px=500.0, binning=0):
    (height, width), roi = size_hw, SimpleNamespace(width=0, height=0)
    k = [focal_px, 0, 0, 0, focal_px]
    given = {'roi': roi, 'k': k, 'binning_x': binning, 'binning_y': binning}
    return SimpleNamespace(height=height, width=width, **given)


def camera(stream, *, hz=20.0, offset_ms=0.0, late_ms=5.0, count=60):
    stamps = [START + round((k * 1000 / hz + offset_ms) * MS) for k in range(count)]
    return ReceivedTopic(
        name=f'/{stream}/image_raw',
        type_name=IMAGE,
        publishers=(f'/{stream}_driver',),
        stamps_ns=stamps,
        arrivals_ns=[stamp + round(late_ms * MS) for stamp in stamps],
        encoding='rgb8' if stream == 'rgb' else 'mono16',
        pixels=COUNTS if stream == 'ir' else np.dstack([GRAY] * 3),
        info=info((480, 640)),
    )


RGB, IR = camera('rgb'), camera('ir', offset_ms=6.0)


def findings(subject, *topics, **parameters):
    config = from_mapping(parameters)
    return [finding for finding in check(topics, WANTED, config) if finding.subject == subject]


def test_a_good_rig_has_no_problems_and_each_topic_is_described():
    found = list(check([RGB, IR], WANTED, FusionConfig()))
    assert {finding.level for finding in found} == {OK}
    described = '/ir/image_raw: Image, reliable, 20.0 Hz, mono16 640x480, from /ir_driver'
    assert described in [finding.found for finding in found]


def test_for_cameras_with_different_clocks_the_remedy_is_the_offset_that_helps():
    early = camera('ir', offset_ms=-24.0)
    (finding,) = findings('skew', RGB, early)
    assert finding.level == FAIL
    assert '24.0 makes the median zero' in finding.remedy
    (finding,) = findings('skew', RGB, early, **{'sync.ir_time_offset_ms': 24.0})
    assert finding.level == OK


def test_no_offset_is_advised_where_none_helps():
    (finding,) = findings('skew', camera('rgb', hz=10), camera('ir', hz=9))
    assert finding.level == WARN
    assert 'half a frame period, 50; no time offset helps' in finding.remedy


def test_frames_that_cannot_wait_for_a_late_camera_are_a_warning_with_what_to_set():
    (finding,) = findings('skew', RGB, camera('ir', late_ms=605.0))
    assert finding.level == WARN
    assert '0.60 s later' in finding.found
    advised = {n: int(v) for n, v in re.findall(r'(sync\.\S+) to (\d+)', finding.remedy)}
    (finding,) = findings('skew', RGB, camera('ir', late_ms=605.0), **advised)
    assert finding.level == OK


def test_images_that_are_not_stamped_have_no_skew():
    unstamped = replace(IR, stamps_ns=[0] * 60)
    assert [f.level for f in findings('ir stamps', RGB, unstamped)] == [FAIL]
    assert not findings('skew', RGB, unstamped)


def test_lost_images_are_not_taken_for_cameras_out_of_step():
    rng = np.random.default_rng(0)
    for _ in range(5):
        arrived = np.flatnonzero(rng.random(60) < 0.3)
        rgb = replace(
            RGB,
            stamps_ns=[RGB.stamps_ns[i] for i in arrived],
            arrivals_ns=[RGB.arrivals_ns[i] for i in arrived],
            lost=60 - len(arrived),
        )
        (finding,) = findings('skew', rgb, IR)
        assert 'offset' not in finding.remedy


def test_the_faster_camera_may_have_frames_without_a_partner():
    (finding,) = findings('skew', camera('rgb', hz=9), camera('ir', hz=27))
    assert finding.level == OK
    assert '100% of the rgb images' in finding.found


def test_a_topic_that_is_named_with_its_transport_fails_with_the_settings_that_read_it():
    name = '/ir/image_raw/compressed'
    sent, wanted = replace(IR, name=name, type_name=COMPRESSED), WANTED | {'ir': name}
    (finding,) = (f for f in check([RGB, sent], wanted, FusionConfig()) if f.subject == 'ir')
    assert finding.level == FAIL
    settings = 'set ir_topic:=/ir/image_raw and ir.image_transport:=compressed'
    assert finding.remedy == settings
    config, wanted['ir'] = from_mapping({'ir.image_transport': 'compressed'}), f'{name}/compressed'
    (finding,) = (f for f in check([RGB, sent], wanted, config) if f.subject == 'ir')
    assert finding.remedy == settings


def test_different_views_are_no_problem_with_a_calibration():
    narrow = replace(IR, info=info((480, 640), 700.0))
    assert not findings('field of view', RGB, narrow, calibration='rig.yaml')


@pytest.mark.parametrize(
    ('change', 'subject', 'level', 'text'),
    [
        (
            {'name': '/ir/image_raw/compressedDepth', 'type_name': COMPRESSED},
            *('ir', FAIL, 'transport:=compressedDepth'),
        ),
        (
            {'type_name': COMPRESSED},
            *('ir', FAIL, 'compressed and remap ir/image_raw/compressed:=/ir/image_raw'),
        ),
        (
            {'arrivals_ns': [IR.arrivals_ns[i // 5 * 5 + 4] + i % 5 * MS for i in range(60)]},
            *('ir arrival', WARN, 'about 5 arrive at once'),
        ),
        (
            {'stamps_ns': [s - i // 20 * 9000 * MS for i, s in enumerate(IR.stamps_ns)]},
            *('skew', FAIL, 'mend the stamps'),
        ),
        (
            {'kinds': {"mono16 640x480 in 'ir'", "mono8 80x60 in ''"}},
            *('ir images', WARN, "several kinds: mono16 640x480 in 'ir', mono8 80x60 in ''"),
        ),
        (
            {'publishers': ('/a', '/b'), 'endpoints': 2},
            *('ir publishers', WARN, '/ir/image_raw has 2 publishers, of /a, /b, whose'),
        ),
        (
            {'type_name': 'std_msgs/msg/String'},
            *('ir', FAIL, 'is of type std_msgs/msg/String, expected sensor_msgs/msg/Image'),
        ),
        ({'lost': 20}, 'ir transport', WARN, 'DDS lost 20 of 80 images'),
        ({'info': info((480, 640), 700.0)}, 'field of view', WARN, '65 x 51 degrees, ir 49 x 38'),
        ({'name': '/boson/image_raw'}, 'ir', FAIL, 'ir_topic:=… to one of /boson/image_raw'),
        ({'stamps_ns': [0] * 60}, 'ir stamps', FAIL, '60 stamps are zero'),
        ({'stamps_ns': [5, 4, 6], 'arrivals_ns': [7, 8, 9]}, 'ir stamps', WARN, 'not always'),
        ({'stamps_ns': [], 'arrivals_ns': []}, 'ir', FAIL, 'no messages'),
        (
            {'pixels': COLORED},
            'ir image',
            FAIL,
            'the node drops it: the ir image is in false colo',
        ),
        ({'pixels': COUNTS.byteswap()}, 'ir image', WARN, 'is_bigendian: the bytes of each'),
        ({'pixels': np.full_like(COUNTS, 8000)}, 'ir image', WARN, 'no detail'),
        ({'fault': "encoding 'yuv422' cannot be read"}, 'ir encoding', FAIL, 'yuv422'),
        ({'info': None}, 'ir camera_info', WARN, 'none received'),
        ({'info': info((480, 640), 0.0)}, 'ir camera_info', WARN, 'K is zero'),
        ({'info': info((512, 640))}, 'ir camera_info', WARN, 'is for 640x512'),
        ({'arrivals_ns': [s + 5000 * MS for s in IR.stamps_ns]}, 'ir stamps', WARN, '5.000 s be'),
        ({'arrivals_ns': [s - 3000 * MS for s in IR.stamps_ns]}, 'ir stamps', WARN, '3.000 s ah'),
    ],
)
def test_each_problem_of_a_camera_has_a_level_and_a_remedy(change, subject, level, text):
    finding = findings(subject, RGB, replace(IR, **change))[-1]
    assert finding.level == level
    assert text in str(finding)
    assert finding.remedy


@pytest.mark.parametrize('size_hw', [(960, 1280), (480, 640)])
def test_camera_info_with_binning_fits_where_the_node_publishes_it(size_hw):
    (finding,) = findings('ir camera_info', RGB, replace(IR, info=info(size_hw, binning=2)))
    assert finding.level == OK


def test_an_rgb_image_that_the_node_drops_and_telemetry_that_it_cuts_off_are_said():
    (finding,) = findings('rgb image', replace(RGB, pixels=COUNTS), IR)
    assert finding.level == FAIL
    assert 'are rgb and ir swapped?' in finding.found
    lepton = cv2.resize(COUNTS, (160, 122))
    (finding,) = findings('ir image', RGB, replace(IR, pixels=lepton))
    assert (finding.level, finding.found[:14]) == (OK, 'ir.crop: left ')
    for height in (120, 122):  # camera_info counts the telemetry, or does not
        camera = replace(IR, pixels=lepton, info=info((height, 160), 125.0))
        (finding,) = findings('ir camera_info', RGB, camera)
        assert finding.level == OK
        assert not findings('field of view', RGB, camera)
    (finding,) = findings('field of view', RGB, IR, **{'ir.crop': '0, 240, 0, 0'})
    assert 'rgb sees 65 x 51 degrees, ir 65 x 27' in finding.found


def test_missing_camera_fails_with_what_to_check():
    (finding,) = findings('ir', RGB)
    assert finding.level == FAIL
    assert 'ROS_DOMAIN_ID' in finding.remedy


@pytest.mark.parametrize(
    ('qos', 'levels'),
    [('AUTO', []), ('SENSOR_DATA', []), ('RELIABLE', [FAIL]), ('DEFAULT', [FAIL])],
)
def test_an_input_qos_that_receives_nothing_fails(qos, levels):
    found = findings('ir QoS', RGB, replace(IR, best_effort=True), input_qos=qos)
    assert [finding.level for finding in found] == levels
