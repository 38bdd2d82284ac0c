"""Fixtures of the ``ros`` tier: its own DDS domain on this machine, nodes and clients."""

from pathlib import Path
import sys

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for rig


class RosModule(pytest.Module):
    """A file of tests that is skipped where ROS is missing, whatever it imports first."""

    def collect(self):
        pytest.importorskip('rclpy', reason='no rclpy: pip install -r pip_ros/requirements.txt')
        return super().collect()


def pytest_pycollect_makemodule(module_path, parent):
    return RosModule.from_parent(parent, path=module_path)


def pytest_itemcollected(item):
    item.add_marker(pytest.mark.ros)


@pytest.fixture(scope='session', autouse=True)
def ros_environment(dds_environment):
    """Give every test of this folder the DDS domain of this process."""


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
    session_client.forget()
    return session_client


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
