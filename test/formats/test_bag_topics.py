"""Which cameras of a bag are read: both of one rig, or none."""

import pytest

from tdfusion_ros.core.errors import BagError
from tdfusion_ros.formats.bag_topics import find_cameras
from tdfusion_ros.formats.bag_topics import IMAGE_TYPES

IMAGE, COMPRESSED = IMAGE_TYPES


def find(topics, rgb='', ir='', counts=None):
    """Return the topics found among topics, where ``counts`` gives other numbers of messages."""
    types = {t: COMPRESSED if t.endswith('compressed') else IMAGE for t in topics.split()}
    counts = dict.fromkeys(types, 5) | (counts or {})
    found = find_cameras(types, {'rgb': rgb, 'ir': ir}, counts)
    return found['rgb'], found['ir']


@pytest.mark.parametrize(
    ('topics', 'rgb', 'ir'),
    [
        ('/a/rgb/image_raw /b/ir/image_raw', '/a/rgb/image_raw', '/b/ir/image_raw'),
        (
            '/a/rgb/image_raw /a/ir/image_raw /b/rgb/image_raw',
            '/a/rgb/image_raw',
            '/a/ir/image_raw',
        ),
        ('/rgb/image_raw/compressed /ir/image_raw', '/rgb/image_raw/compressed', '/ir/image_raw'),
        ('/rgb/image_raw /rgb/image_raw/compressed /ir/image_raw', '/rgb/image_raw', None),
    ],
)
def test_both_cameras_of_the_only_rig_are_taken(topics, rgb, ir):
    assert find(topics) == (rgb, ir or '/ir/image_raw')


TWO = '/l/rgb/image_raw/compressed /l/ir/image_raw /r/rgb/image_raw /r/ir/image_raw'


@pytest.mark.parametrize(
    'topics',
    [
        TWO,
        '/c0/rgb/image_raw /c1/ir/image_raw /c0/ir/image_raw /c1/rgb/image_raw',
        '/a/rgb/image_raw /b/rgb/image_raw /c/ir/image_raw',
    ],
)
def test_several_rigs_are_refused_naming_all_cameras_and_the_options(topics):
    with pytest.raises(BagError, match=r'several rigs .*--rgb-topic and --ir-topic') as caught:
        find(topics)
    assert all(topic in str(caught.value) for topic in topics.split())


def test_one_named_camera_chooses_the_other_of_its_rig():
    right = '/r/rgb/image_raw', '/r/ir/image_raw'
    assert find(TWO, rgb=right[0]) == find(TWO, ir=right[1]) == right
    assert find(TWO, '/l/rgb/image_raw/compressed')[1] == '/l/ir/image_raw'
    assert find('/cam /a/ir/image_raw', '/cam') == ('/cam', '/a/ir/image_raw')
    with pytest.raises(BagError, match='several rigs'):
        find(f'{TWO} /cam', rgb='/cam')


def test_results_choose_the_cameras_of_their_namespace_of_which_one_may_be_missing():
    types, none = dict.fromkeys(TWO.split()[1:], IMAGE), {'rgb': '', 'ir': ''}
    right = {'rgb': '/r/rgb/image_raw', 'ir': '/r/ir/image_raw'}
    assert find_cameras(types, none, {}, '/l') == {'ir': '/l/ir/image_raw'}
    assert find_cameras(types, none, {}, '/r') == find_cameras(types, none, {}, '') == right
    assert find_cameras({}, none, {}, '') == {}


def test_topics_without_messages_are_taken_only_if_there_are_no_others():
    empty = {'/l/rgb/image_raw/compressed': 0, '/l/ir/image_raw': 0}
    assert find(TWO, counts=empty) == ('/r/rgb/image_raw', '/r/ir/image_raw')
    both = '/rgb/image_raw /rgb/image_raw/compressed /ir/image_raw'
    assert find(both, counts={'/rgb/image_raw': 0})[0] == '/rgb/image_raw/compressed'
    nothing = dict.fromkeys(both.split(), 0)
    assert find(both, counts=nothing) == ('/rgb/image_raw', '/ir/image_raw')


def test_topic_of_another_type_is_named_with_its_type():
    types = {'/rgb/image_raw': 'std_msgs/msg/String', '/ir/image_raw': IMAGE}
    with pytest.raises(BagError, match=r'/rgb/image_raw \(its type is std_msgs/msg/String\)'):
        find_cameras(types, {'rgb': '/rgb/image_raw', 'ir': ''}, {})
    with pytest.raises(BagError, match=r'\(/rgb/image_raw is a std_msgs/msg/String\)'):
        find_cameras(types, {'rgb': '', 'ir': ''}, {})


def test_both_cameras_are_asked_for_at_once():
    with pytest.raises(BagError, match=r'name both with --rgb-topic and --ir-topic'):
        find('/front/color/image /lepton/image')
