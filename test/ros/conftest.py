"""Fixtures of the ``ros`` tier: its own DDS domain on this machine, nodes and clients."""

import fcntl
from pathlib import Path
import random
import socket
import sys
import tempfile
from typing import IO

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for rig

PROFILE = Path(__file__).parents[2] / 'config' / 'fastdds_profile.xml'


def lock_domain() -> tuple[int, IO]:
    """
    Return a random DDS domain that nobody uses, and a lock of it for parallel test processes.

    A free discovery port (RTPS 2.3, 9.6.1.1) alone is not enough: between two tests of another
    process there is no participant.
    """
    for domain in random.SystemRandom().sample(range(1, 101), 100):
        lock = open(Path(tempfile.gettempdir()) / f'tdfusion_ros_domain_{domain}', 'w')  # noqa: SIM115
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for offset in (0, 10):  # multicast, unicast of the first participant
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
                    probe.bind(('', 7400 + 250 * domain + offset))
        except OSError:
            lock.close()
            continue
        return domain, lock
    raise OSError('no free DDS domain')


@pytest.fixture(scope='session', autouse=True)
def ros_environment(tmp_path_factory):
    domain, lock = lock_domain()
    settings = {
        'ROS_DOMAIN_ID': str(domain),
        'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST',
        'FASTRTPS_DEFAULT_PROFILES_FILE': str(PROFILE),
        'FASTDDS_DEFAULT_PROFILES_FILE': str(PROFILE),
        'ROS_LOG_DIR': str(tmp_path_factory.mktemp('ros_log')),
    }
    with lock, pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setenv(name, value)
        yield


def stage_fixture(scope, namespace=''):
    @pytest.fixture(scope=scope)
    def stage(tmp_path_factory):
        from rig.stage import Stage

        made = Stage(tmp_path_factory.mktemp('stage'), namespace)
        yield made
        made.close()

    return stage


stage = stage_fixture('function')
shared_stage = stage_fixture('module', '/shared')
session_stage = stage_fixture('session', '/session')


@pytest.fixture(scope='session')
def session_client(session_stage):
    """Return a client of a node for all tests that need no parameters of their own."""
    from rig.client import OUTPUTS

    parameters = {'ir.normalization': 'passthrough'}
    client = session_stage.run(parameters)
    client.offer('rgb_info', 'ir_info')
    client.listen(*OUTPUTS)
    client.warm_up(client.pair_with_infos())
    client.drive_frames(4)  # then the node knows the frame rates
    return client


@pytest.fixture
def client(session_client):
    """Return the shared client without earlier messages."""
    session_client.forget()
    return session_client


@pytest.fixture(scope='session')
def compressed_client(session_stage):
    """Return a client of a node for compressed images."""
    from rig import pictures

    return session_stage.run(
        {
            'ir.normalization': 'passthrough',
            'rgb.image_transport': 'compressed',
            'ir.image_transport': 'compressed',
        },
        namespace='/compressed',
        listen=('detections', 'fused/image_raw'),
        make_pair=pictures.compressed_pair,
    )


@pytest.fixture
def make_node():
    """Return a function that makes an unconfigured node with parameters in this process."""
    import rclpy
    from rig.stage import ros_arguments

    from tdfusion_ros.node.fusion_node import FusionNode

    nodes = []

    def make(parameters):
        context = rclpy.Context()
        rclpy.init(context=context)
        node = FusionNode(
            context=context,
            namespace='/in_process',  # rclpy keeps its lifecycle services after destroy_node
            cli_args=ros_arguments(parameters),
            use_global_arguments=False,
            enable_rosout=False,
        )
        nodes.append(node)
        return node

    yield make
    for node in nodes:
        node.destroy_node()
        rclpy.try_shutdown(context=node.context)


@pytest.fixture
def block(tmp_path, monkeypatch):
    """Return a function that blocks a stage of SLOW_NODE: its path exists until it is deleted."""
    monkeypatch.setenv('BLOCK', str(tmp_path / 'block'))

    def create(stage):
        path = tmp_path / f'block.{stage}'
        path.touch()
        return path

    return create


@pytest.fixture(scope='session')
def oracle():
    """Return the pipeline in this process, without ROS: what the node has to publish."""
    from tdfusion_ros.build import build_pipeline
    from tdfusion_ros.core.config import from_mapping

    return build_pipeline(from_mapping({'ir.normalization': 'passthrough'}))
