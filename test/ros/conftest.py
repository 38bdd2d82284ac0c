"""The surroundings of the ``ros`` tier: a DDS domain of its own, on this machine only."""

from pathlib import Path
import random
import socket
import sys

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for rig

PROFILE = Path(__file__).parents[2] / 'config' / 'fastdds_profile.xml'


def free_domain() -> int:
    """Return a random domain whose discovery port nobody uses (RTPS 2.3, 9.6.1.1)."""
    for domain in random.sample(range(1, 101), 100):
        try:
            for offset in (0, 10):  # multicast, unicast of the first participant
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
                    probe.bind(('', 7400 + 250 * domain + offset))
        except OSError:
            continue
        return domain
    raise OSError('no free DDS domain')


@pytest.fixture(scope='session', autouse=True)
def ros_environment(tmp_path_factory):
    settings = {
        'ROS_DOMAIN_ID': str(free_domain()),
        'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST',
        'FASTRTPS_DEFAULT_PROFILES_FILE': str(PROFILE),
        'FASTDDS_DEFAULT_PROFILES_FILE': str(PROFILE),
        'ROS_LOG_DIR': str(tmp_path_factory.mktemp('ros_log')),
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setenv(name, value)
        yield


@pytest.fixture
def stage(tmp_path):
    """Yield the nodes and clients of one test."""
    from rig.stage import Stage

    made = Stage(tmp_path)
    yield made
    made.close()


@pytest.fixture(scope='module')
def shared_stage(tmp_path_factory):
    """Yield the nodes and clients of all tests of a file."""
    from rig.stage import Stage

    made = Stage(tmp_path_factory.mktemp('stage'))
    yield made
    made.close()


@pytest.fixture(scope='session')
def oracle():
    """Return the pipeline in this process, without ROS: what the node has to publish."""
    from tdfusion_ros.build import build_pipeline
    from tdfusion_ros.core.config import from_mapping

    return build_pipeline(from_mapping({'ir.normalization': 'passthrough'}))
