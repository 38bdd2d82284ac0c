"""What the ROS-free tests share: the demo bag, the shipped model, and bags made on the spot."""

import fcntl
import logging
from pathlib import Path
import random
import socket
import tempfile
from typing import IO

import pytest

ROOT = Path(__file__).parents[1]
# The plugin of launch_testing makes each new logger one of launch's, which nothing else hears.
logging.setLoggerClass(logging.Logger)


@pytest.fixture(scope='session')
def root():
    return ROOT


@pytest.fixture(scope='session')
def demo():
    """Return the demo bag: 82 pairs of a real recording, people in smoke."""
    return ROOT / 'demo' / 'm3svd_smoke'


@pytest.fixture(scope='session')
def demo_pairs(demo):
    """Return the pairs of the demo bag, decoded."""
    from tdfusion_ros.core.config import FusionConfig
    from tdfusion_ros.formats.bags import BagReader
    from tdfusion_ros.formats.sources import BagSource

    with BagReader(demo) as reader:
        return list(BagSource(reader, reader.find(), FusionConfig()))


@pytest.fixture
def folders(demo_pairs, tmp_path):
    """Return two folders, rgb and ir, of three real images each."""
    import cv2

    for name in ('rgb', 'ir'):
        (tmp_path / name).mkdir()
    for pair in demo_pairs[:3]:
        name = f'{pair.reference.stamp_ns}.png'
        cv2.imwrite(str(tmp_path / 'rgb' / name), pair.rgb.pixels[..., ::-1])
        cv2.imwrite(str(tmp_path / 'ir' / name), pair.ir.pixels)
    return tmp_path / 'rgb', tmp_path / 'ir'


@pytest.fixture(scope='session')
def bundle():
    return ROOT / 'models' / 'msrs_rt'


@pytest.fixture(scope='session')
def masked_bundle(bundle, tmp_path_factory):
    """Return the shipped bundle with masks: ``bright`` is where red is 128 or more."""
    onnx = pytest.importorskip('onnx')
    import json
    import shutil

    from tdfusion_ros.backends.bundle import write_contract

    folder = tmp_path_factory.mktemp('bundles') / 'masked'
    shutil.copytree(bundle, folder)
    (folder / 'half.onnx').unlink()  # and its networks: so that it is ONNX only
    model = onnx.load(folder / 'model.onnx')
    onnx.save(model, folder / 'unmasked.onnx')
    text = """m (uint8[H, W, 3] fused) => (uint8[H, W] segmentation) {
        red = Constant<value_int = 0>()
        half = Constant<value_float = 0.0078125>()
        value = Gather<axis = 2>(fused, red)
        level = Cast<to = 1>(value)
        share = Mul(level, half)
        whole = Floor(share)
        segmentation = Cast<to = 2>(whole)
    }"""
    masks = onnx.parser.parse_graph(text)
    model.graph.node.extend(masks.node)
    model.graph.output.extend(masks.output)
    onnx.save(model, folder / 'model.onnx')
    contract = json.loads((bundle / 'model.json').read_text(encoding='utf-8'))
    facts = {'classes': contract['classes'], 'mask_classes': ['dark', 'bright']}
    write_contract(folder, contract['size_multiple'], facts)
    return folder


@pytest.fixture(scope='session')
def loaded():
    """Return a pipeline with the shipped model on the CPU, as by default."""
    from tdfusion_ros.build import build_pipeline
    from tdfusion_ros.core.config import FusionConfig

    return build_pipeline(FusionConfig(backend='cpu'))


@pytest.fixture
def pipeline(loaded):
    """Return the shipped model, without the objects and ranges of earlier tests."""
    return loaded.fresh()


@pytest.fixture(scope='session')
def write_bag():
    """
    Write a bag: ``write_bag(folder, [(topic, time_ns, message of rosbags)])``.

    ``compression`` is a mode of rosbags; then zstd compresses the bag.
    """
    from rosbags.rosbag2 import CompressionFormat
    from rosbags.rosbag2 import StoragePlugin
    from rosbags.rosbag2 import Writer

    from tdfusion_ros.formats.bags import typestore

    def write(folder, records, plugin=StoragePlugin.MCAP, compression=None):
        store, connections = typestore(), {}
        writer = Writer(folder, version=8, storage_plugin=plugin)
        if compression:
            writer.set_compression(compression, CompressionFormat.ZSTD)
        with writer:
            for topic, time_ns, message in records:
                key = topic, message.__msgtype__
                if key not in connections:
                    connections[key] = writer.add_connection(*key, typestore=store)
                writer.write(connections[key], time_ns, store.serialize_cdr(message, key[1]))
        return folder

    return write


@pytest.fixture(scope='session')
def demo_records(demo):
    """Return the first 24 messages of the demo bag: six frames and infos of each camera."""
    from itertools import islice

    from tdfusion_ros.formats.bags import BagReader

    with BagReader(demo) as reader:
        return list(islice(reader.messages(*reader.topics()), 24))


def lock_domain() -> tuple[int, IO]:
    """
    Return a random DDS domain that nobody uses, and a lock of it for parallel test processes.

    A free discovery port (RTPS 2.3, 9.6.1.1) alone is not enough: between two tests of another
    process there is no participant.
    """
    for domain in random.SystemRandom().sample(range(1, 81), 80):
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


@pytest.fixture(scope='session')
def dds_environment(tmp_path_factory):
    """Give this process a DDS domain of its own, on this machine only."""
    domain, lock = lock_domain()
    profile = str(ROOT / 'config' / 'fastdds_profile.xml')
    settings = {
        'ROS_DOMAIN_ID': str(domain),
        'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST',
        'FASTRTPS_DEFAULT_PROFILES_FILE': profile,
        'FASTDDS_DEFAULT_PROFILES_FILE': profile,
        'ROS_LOG_DIR': str(tmp_path_factory.mktemp('ros_log')),
    }
    with lock, pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setenv(name, value)
        yield
