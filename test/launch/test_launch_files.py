from pathlib import Path
import shutil
import subprocess
import sys

import pytest
import yaml

from tdfusion_ros.core.config import settings

ROOT = Path(__file__).resolve().parents[2]


def of_kind(entities, kind):
    return [entity for entity in entities if entity.kind == kind]


def test_every_parameter_is_an_argument_with_its_choices_and_no_default_of_its_own(execute):
    arguments = {
        e.given[0]: e.named for e in of_kind(execute('fusion.launch.py'), 'DeclareLaunchArgument')
    }
    for name, _, facts in settings():
        assert arguments[name]['default_value'] == ''
        assert facts['doc'] in arguments[name]['description']
    assert arguments['backend']['choices'] == ['', 'auto', 'cpu', 'cuda', 'trt']
    assert arguments['sync.max_skew_ms']['choices'] is None


def test_the_node_gets_what_is_given_alone_and_a_parameter_file_first(launch_node):
    node = launch_node()
    assert node['parameters'] == []
    assert node['remappings'] == []
    assert (node['package'], node['executable']) == ('tdfusion_ros', 'fusion_node')
    assert (node['name'], node['namespace']) == ('tdfusion', '')
    assert node['respawn'] is False
    file = str(ROOT / 'config' / 'fusion.yaml')
    assert launch_node(params_file=file)['parameters'] == [file]
    given = launch_node(params_file=file, backend='cpu')['parameters']
    assert given == [file, {'backend': 'cpu'}]


def test_arguments_reach_the_node_with_their_type(launch_node):
    node = launch_node(
        **{'sync.max_skew_ms': '30.5', 'ir.kelvin_per_count': '4e-2'},
        **{'ir.invert': 'true', 'backend': 'cpu'},
        namespace='rig1',
        use_sim_time='true',
        respawn='true',
    )
    (overrides,) = node['parameters']
    assert overrides == {
        'sync.max_skew_ms': 30.5,
        'ir.kelvin_per_count': 0.04,
        'ir.invert': True,
        'backend': 'cpu',
        'use_sim_time': True,
    }
    assert node['namespace'] == 'rig1'
    assert node['respawn'] is True


@pytest.mark.parametrize(
    ('topic', 'info'),
    [
        ('/cam/color/image_raw', '/cam/color/camera_info'),
        ('cam/image_rect', 'cam/camera_info'),
        ('/image', '/camera_info'),
        ('image', 'camera_info'),
    ],
)
def test_a_camera_is_remapped_with_its_compressed_forms_and_its_info(launch_node, topic, info):
    assert launch_node(ir_topic=topic)['remappings'] == [
        ('ir/image_raw', topic),
        ('ir/image_raw/compressed', f'{topic}/compressed'),
        ('ir/image_raw/compressedDepth', f'{topic}/compressedDepth'),
        ('ir/camera_info', info),
    ]


def test_transport_profile_is_set_for_each_release_unless_there_is_one(execute, monkeypatch):
    variables = of_kind(execute('fusion.launch.py'), 'SetEnvironmentVariable')
    assert {v.given[0] for v in variables} == {
        'FASTRTPS_DEFAULT_PROFILES_FILE',
        'FASTDDS_DEFAULT_PROFILES_FILE',
    }
    assert all(Path(v.given[1]).is_file() for v in variables)
    monkeypatch.setenv('FASTDDS_DEFAULT_PROFILES_FILE', '/etc/mine.xml')
    assert not of_kind(execute('fusion.launch.py'), 'SetEnvironmentVariable')


def test_a_misspelled_argument_is_named_and_one_of_an_including_file_is_not(act):
    others = {'bag': 'drive', 'rviz': 'true', 'ros_namespace': '/front'}
    report, node = act('fusion.launch.py', modle='mine', **others)
    assert report.named['msg'] == "unknown argument 'modle': did you mean 'model'?"
    assert node.kind == 'LifecycleNode'


def test_a_parameter_file_that_is_not_there_stops_the_launch(launch_node):
    with pytest.raises(FileNotFoundError, match=r'params_file /mine.yaml does not exist'):
        launch_node(params_file='/mine.yaml')


def player(act, **given):
    process, *_ = act('replay.launch.py', rviz='false', **given)
    return process.named['cmd']


def test_replay_plays_the_bag_on_its_own_clock_and_named_topics_only(execute, act, demo):
    once = player(act, bag=str(demo))
    assert once[:4] == ['ros2', 'bag', 'play', str(demo)]
    assert '--clock' in once
    (included,) = of_kind(execute('replay.launch.py'), 'IncludeLaunchDescription')
    assert Path(included.given[0].given[0]) == ROOT / 'launch' / 'fusion.launch.py'
    assert dict(included.named['launch_arguments']) == {'use_sim_time': 'true'}
    command = player(act, bag=str(demo), topics='/rgb/image_raw  /b')
    assert command[-3:] == ['--topics', '/rgb/image_raw', '/b']


@pytest.mark.parametrize('loop', ['false', 'true'])
def test_the_player_waits_for_the_node_before_the_first_loop_only(act, demo, loop):
    given = {'rviz': 'false', 'bag': str(demo), 'loop': loop, 'namespace': 'rig'}
    process, wait, handler = act('replay.launch.py', **given)
    assert '--start-paused' in process.named['cmd']
    assert '--delay' not in process.named['cmd']
    assert ('--loop' in process.named['cmd']) == (loop == 'true')
    assert wait.named['cmd'][:4] == ['ros2', 'topic', 'echo', '--once']
    assert wait.named['cmd'][-2:] == ['/rig/label_info', 'vision_msgs/msg/LabelInfo']
    (on_exit,) = handler.given
    assert on_exit.named['target_action'] is wait
    (timer,) = on_exit.named['on_exit']
    (resume,) = timer.named['actions']
    assert resume.named['cmd'][-2:] == ['/rosbag2_player/resume', 'rosbag2_interfaces/srv/Resume']


def test_replay_of_a_bag_that_is_not_there_stops_before_anything_is_started(act, execute):
    with pytest.raises(FileNotFoundError, match='bag drive does not exist'):
        player(act, bag='drive')
    kinds = [e.kind for e in execute('replay.launch.py')]
    assert kinds.index('OpaqueFunction') < kinds.index('IncludeLaunchDescription')


def rviz_of(act, demo, monkeypatch, **given):
    index = sys.modules['ament_index_python.packages']  # a fake
    monkeypatch.setattr(index, 'get_package_prefix', str)
    topics = {'rgb_topic': '/cam/image_raw', 'ir_topic': 'ir/image_raw'}
    *_, rviz = act('replay.launch.py', bag=str(demo), **topics, **given)
    assert rviz.named['namespace'].given == ('namespace',)
    return rviz.named['remappings'], Path(rviz.named['arguments'][1])


def test_rviz_of_a_replay_sees_the_topics_of_the_node_and_their_transport(act, demo, monkeypatch):
    remappings, file = rviz_of(act, demo, monkeypatch)
    assert remappings == [('rgb/image_raw', '/cam/image_raw'), ('ir/image_raw', 'ir/image_raw')]
    assert file == ROOT / 'config' / 'fusion.rviz'
    given = {'rgb.image_transport': 'compressed'}
    remappings, file = rviz_of(act, demo, monkeypatch, **given)
    assert remappings[0] == ('rgb/image_raw/compressed', '/cam/image_raw/compressed')
    displays = yaml.safe_load(file.read_text())['Visualization Manager']['Displays']
    shown = [display['Topic']['Value'] for display in displays]
    assert shown[:3] == ['rgb/image_raw/compressed', 'ir/image_raw', 'fused/image_raw']


def test_replay_goes_on_without_rviz_where_it_is_not_installed_and_says_so(act, demo):
    process, *_, report = act('replay.launch.py', bag=str(demo))
    assert process.kind == 'ExecuteProcess'
    assert 'rviz2 is not installed' in report.named['msg']


def test_rigs_have_a_scope_and_a_namespace_each(execute):
    groups = of_kind(execute('two_rigs.launch.py'), 'GroupAction')
    namespaces = []
    for group in groups:
        ((included,),) = group.given
        assert Path(included.given[0].given[0]) == ROOT / 'launch' / 'fusion.launch.py'
        namespaces += [dict(included.named['launch_arguments'])['namespace'].given]
    assert namespaces == [('first',), ('second',)]


@pytest.mark.launch
@pytest.mark.skipif(shutil.which('ros2') is None, reason='needs a ROS 2 installation (ros2)')
def test_ros2_launch_starts_the_node():
    ros2 = ['ros2', 'launch', str(ROOT / 'launch' / 'fusion.launch.py')]
    done = subprocess.run(
        ['timeout', '--signal', 'INT', '20', *ros2], capture_output=True, text=True, check=False
    )
    assert "model 'msrs_rt' on" in done.stdout + done.stderr
