"""What the doctor says of cameras, from what was seen of them."""

from dataclasses import replace

import pytest

from tdfusion_ros.core.config import from_mapping
from tdfusion_ros.core.config import FusionConfig
from tdfusion_ros.tools.doctor.finding import FAIL
from tdfusion_ros.tools.doctor.finding import OK
from tdfusion_ros.tools.doctor.finding import WARN
from tdfusion_ros.tools.doctor.sighting import Sighting
from tdfusion_ros.tools.doctor.sighting import skews_ms
from tdfusion_ros.tools.doctor.streams import judge

MS = 1_000_000
START = 1_700_000_000_000 * MS
WANTED = {'rgb': '/rgb/image_raw', 'ir': '/ir/image_raw'}


def camera(stream, *, hz=20.0, offset_ms=0.0, late_ms=5.0, count=60):
    stamps = [START + round((k * 1000 / hz + offset_ms) * MS) for k in range(count)]
    return Sighting(
        topic=f'/{stream}/image_raw',
        kind='Image',
        publishers=(f'/{stream}_driver',),
        stamps_ns=tuple(stamps),
        clock_ns=tuple(s + round(late_ms * MS) for s in stamps),
        encoding='rgb8' if stream == 'rgb' else 'mono16',
        size_hw=(480, 640),
        info=((480, 640), 500.0),
    )


def found(subject, rgb=None, ir=None, config=None, more=()):
    """Return the worst finding on a subject."""
    seen = [s for s in (rgb or camera('rgb'), ir or camera('ir', offset_ms=6.0), *more) if s]
    every = judge(seen, WANTED, config or FusionConfig())
    return max(
        (f for f in every if f.subject == subject), key=lambda f: (OK, WARN, FAIL).index(f.level)
    )


def test_a_good_rig_has_no_complaint_and_every_topic_is_described():
    findings = judge([camera('rgb'), camera('ir', offset_ms=6.0)], WANTED, FusionConfig())
    assert {f.level for f in findings} == {OK}
    sentence = next(f.sentence for f in findings if f.subject == 'ir')
    assert sentence == '/ir/image_raw: Image, reliable, 20.0 Hz, mono16 640x480, from /ir_driver'


def test_skew_is_to_the_nearest_image_and_signed():
    late = skews_ms(camera('rgb'), camera('ir', offset_ms=7.0))
    assert late == pytest.approx([7.0] * len(late))
    assert skews_ms(camera('rgb', hz=30), camera('ir', hz=9)).max() <= 1000 / 30 / 2 + 0.01


def test_cameras_of_different_clocks_are_told_the_offset_that_helps():
    finding = found('skew', ir=camera('ir', offset_ms=-24.0))
    assert finding.level == FAIL
    assert '24.0 would make the median zero' in finding.remedy
    helped = from_mapping({'sync.ir_time_offset_ms': 24.0})
    assert found('skew', ir=camera('ir', offset_ms=-24.0), config=helped).level == OK


def test_a_topic_that_nobody_publishes_is_explained_by_those_that_are_there():
    packed = replace(camera('ir'), topic='/ir/image_raw/compressed', kind='CompressedImage')
    findings = judge([camera('rgb'), packed], WANTED, FusionConfig())
    finding = next(f for f in findings if f.subject == 'ir')
    assert (finding.level, finding.remedy) == (FAIL, 'ir.image_transport:=compressed')
    other = replace(camera('ir'), topic='/boson/image_raw')
    finding = next(
        f for f in judge([camera('rgb'), other], WANTED, FusionConfig()) if f.subject == 'ir'
    )
    assert '/boson/image_raw' in finding.remedy
    (rgb, ir) = judge([], WANTED, FusionConfig())
    assert rgb.level == ir.level == FAIL
    assert 'ROS_DOMAIN_ID' in rgb.remedy


@pytest.mark.parametrize(
    ('qos', 'level'),
    [('AUTO', None), ('SENSOR_DATA', None), ('RELIABLE', FAIL), ('DEFAULT', FAIL)],
)
def test_a_quality_of_service_that_receives_nothing_is_told(qos, level):
    findings = judge(
        [camera('rgb'), replace(camera('ir'), best_effort=True)],
        WANTED,
        from_mapping({'input_qos': qos}),
    )
    assert [f.level for f in findings if f.subject == 'ir QoS'] == ([level] if level else [])


@pytest.mark.parametrize(
    ('change', 'subject', 'level', 'text'),
    [
        ({'stamps_ns': (0,) * 60}, 'ir stamps', FAIL, '60 stamps are zero'),
        ({'stamps_ns': (5, 4, 6), 'clock_ns': (7, 8, 9)}, 'ir stamps', WARN, 'not always grow'),
        ({'stamps_ns': (), 'clock_ns': ()}, 'ir', FAIL, 'nothing came'),
        ({'fault': "encoding 'yuv422' cannot be read"}, 'ir encoding', FAIL, 'yuv422'),
        ({'info': None}, 'ir camera_info', WARN, 'none came'),
        ({'info': ((480, 640), 0.0)}, 'ir camera_info', WARN, 'K is zero'),
        ({'info': ((512, 640), 500.0)}, 'ir camera_info', WARN, 'is for 640x512'),
    ],
)
def test_what_is_wrong_with_a_camera_is_named(change, subject, level, text):
    finding = found(subject, ir=replace(camera('ir', offset_ms=6.0), **change))
    assert finding.level == level
    assert text in finding.sentence
    assert finding.remedy


@pytest.mark.parametrize(
    ('late_ms', 'words'), [(5000.0, '5.000 s behind'), (-3000.0, '3.000 s ahead')]
)
def test_a_camera_with_another_clock_is_told(late_ms, words):
    finding = found('rgb stamps', rgb=camera('rgb', late_ms=late_ms))
    assert finding.level == WARN
    assert words in finding.sentence
