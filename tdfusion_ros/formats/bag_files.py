"""Find and open the storage files of a bag, with or without a metadata.yaml that fits them."""

from contextlib import ExitStack
from pathlib import Path
from pathlib import PureWindowsPath
import re
import tempfile

import yaml

from tdfusion_ros.core.errors import BagError
from tdfusion_ros.formats import mcap_file
from tdfusion_ros.formats import sqlite_file
from tdfusion_ros.formats.bag_storage import Warn
from tdfusion_ros.formats.bag_storage import zstd
from tdfusion_ros.formats.bag_storage import ZSTD_MAGIC
from tdfusion_ros.formats.image_files import SUFFIXES as IMAGES
from tdfusion_ros.formats.plain_yaml import read_yaml
from tdfusion_ros.formats.read_errors import reason
from tdfusion_ros.formats.videos import CODECS

METADATA = 'metadata.yaml'
SUFFIXES = ('.mcap', '.db3', '.mcap.zstd', '.db3.zstd')
ROS1 = b'#ROSBAG'
PAIRS = 'pairs are read from two folders of images or two videos: RGB IR'
CONVERT = 'convert it with: rosbags-convert --src {} --dst FOLDER'

StorageFile = mcap_file.McapFile | sqlite_file.SqliteFile
"""An open storage file: ``channels`` and numbers of messages, ``counts``, by channel id."""


def find_files(path: Path, warn: Warn) -> tuple[list[Path], dict[str, int]]:
    """
    Return the storage files of a bag in order, and the messages of each topic that it promises.

    :param path: its folder, its metadata.yaml, or one storage file, which is read alone.
    :raises BagError: if there is none.
    """
    if not path.exists():
        target = f', it is a link to {path.readlink()}' if path.is_symlink() else ''
        raise BagError(f'bag {path} does not exist{target}')
    if path.is_file() and path.name != METADATA:
        for kind, suffixes in (('video', CODECS), ('image', IMAGES)):
            if path.suffix.lower() in suffixes:
                raise BagError(f'{path} is one {kind}, not a bag; {PAIRS}')
        return [path], {}
    folder = path if path.is_dir() else path.parent
    stored = _stored(folder)
    listed, promised = _read_metadata(folder / METADATA, warn)
    missing = [name for name in listed if not (folder / name).is_file()]
    if stored and missing:
        warn(f'{", ".join(missing)} of {METADATA} is missing: read {_names(stored)}')
    elif listed and not missing:
        if others := [file for file in stored if file.name not in listed]:
            warn(f'{_names(others)} is not in {METADATA} and left out')
        return [folder / name for name in listed], promised
    if not stored:
        raise BagError(f'{path} is not a bag: {_missing(folder, missing)}')
    if not (folder / METADATA).is_file():
        warn(f'it has no {METADATA}, as after a power failure: read {_names(stored)}')
    order = {name: place for place, name in enumerate(listed)}
    stored.sort(key=lambda file: order.get(file.name, len(order)))
    return stored, promised


def open_file(path: Path, warn: Warn, stack: ExitStack) -> StorageFile:
    """Open a storage file by its content, whatever its name; ValueError, OSError say why not."""
    begin = _begin(path)
    if begin.startswith(ZSTD_MAGIC):
        path = _unpacked(path, warn, stack)
        begin = _begin(path)
    if begin.startswith(mcap_file.MAGIC):
        opened: StorageFile = mcap_file.McapFile(path, warn)
    elif begin == sqlite_file.MAGIC:
        opened = sqlite_file.SqliteFile(path, warn)
    elif begin.startswith(ROS1):
        raise ValueError(f'it is a bag of ROS 1; {CONVERT.format(path)}')
    elif not begin:
        raise ValueError('it is empty')
    else:
        raise ValueError('it is neither an MCAP nor a sqlite3 file')
    stack.callback(opened.close)
    return opened


def _begin(path: Path) -> bytes:
    with path.open('rb') as file:
        return file.read(16)


def _stored(folder: Path) -> list[Path]:
    """Return the storage files of a folder; bag_10 comes after bag_9."""

    def order(file: Path) -> list[int | str]:
        return [int(p) if p.isdecimal() else p for p in re.split(r'(\d+)', file.name)]

    files = (f for f in folder.iterdir() if f.name.endswith(SUFFIXES) and f.is_file())
    return sorted((file for file in files if not file.name.startswith('.')), key=order)


def _names(files: list[Path]) -> str:
    return ', '.join(file.name for file in files)


def _missing(folder: Path, missing: list[str]) -> str:
    """Return why a folder is not a bag."""
    if missing:
        return f'{", ".join(missing)} of its {METADATA} is missing'
    if old := sorted(folder.glob('*.bag')):
        return f'it has bags of ROS 1 ({_names(old)}); {CONVERT.format(old[0])}'
    inner = sorted(f.parent.name for f in folder.glob(f'*/{METADATA}'))
    if inner:
        return f'name one of the bags in it: {", ".join(inner)}'
    if any(file.suffix.lower() in IMAGES for file in folder.iterdir()):
        return f'it has images; {PAIRS}; if it holds both cameras, name it twice'
    return f'expected {METADATA}, .mcap or .db3 files in it'


def _read_metadata(path: Path, warn: Warn) -> tuple[list[str], dict[str, int]]:
    """Return the names of the files and the promised messages by topic; empty without metadata."""
    if not path.is_file():
        return [], {}
    try:
        text = path.read_text(encoding='utf-8')
        tree = read_yaml(text, len(text))  # a bag may have thousands of files
        if not isinstance(tree, dict):
            raise ValueError('it is no mapping' if tree else 'it is empty')
        content = tree['rosbag2_bagfile_information']
        packing = content.get('compression_mode') and content.get('compression_format')
        promised: dict[str, int] = {}
        for entry in content.get('topics_with_message_count') or []:
            topic, count = entry['topic_metadata']['name'], entry['message_count']
            if not isinstance(topic, str) or type(count) is not int or count < 0:
                raise ValueError(f'expected a number of messages on {topic!r}, got {count!r}')
            promised[topic] = promised.get(topic, 0) + count
        # Old versions wrote paths, of the recording machine.
        files = [PureWindowsPath(name).name for name in content.get('relative_file_paths') or []]
    except (OSError, yaml.YAMLError, LookupError, TypeError, ValueError, AttributeError) as error:
        text = f'{error} is missing' if isinstance(error, KeyError) else reason(error)
        warn(f'its {METADATA} is damaged ({text}): read all files in it')
        return [], {}
    if packing not in (None, '', 'zstd'):
        raise BagError(f"bag {path.parent} is compressed with '{packing}', expected zstd")
    return files, promised


def _unpacked(path: Path, warn: Warn, stack: ExitStack) -> Path:
    """Return a temporary file with what a zstd file (compression_mode: file) contains."""
    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix='tdfusion_ros_'))
    target = Path(folder) / path.stem
    try:
        with zstd.open(path, 'rb') as source, target.open('wb') as file:
            while piece := source.read(1 << 20):
                file.write(piece)
    except (EOFError, zstd.ZstdError) as error:
        warn(f'its compressed data are damaged ({error}): read what is before')
    except OSError as error:
        raise ValueError(
            f'it cannot be unpacked to {folder}: {reason(error)}; set TMPDIR to another place'
        ) from None
    return target
