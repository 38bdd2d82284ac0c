"""
Save a pair as files, in a folder layout that the training reads.

    FOLDER/rgb/STEM.png    as the camera sent it, lossless
    FOLDER/ir/STEM.png     the same: 8 or 16 bits, not scaled and not registered; .tiff if floats
    FOLDER/meta/STEM.json  everything else that is known; written last, when the pair is complete
"""

from collections.abc import Mapping
import json
from pathlib import Path
from typing import Any

from tdfusion_ros.atomic import replace_files
from tdfusion_ros.core.data import Frame
from tdfusion_ros.core.errors import RequestError
from tdfusion_ros.core.synchronizer import FramePair
from tdfusion_ros.formats.image_files import encode_image


def save_pair(folder: str, pair: FramePair, metadata: Mapping[str, Any]) -> Path:
    """
    Write a pair of both cameras and return the path of its metadata; overwrite nothing.

    :param folder: absolute, or starting with ``~``; it is created if it is missing.
    :raises RequestError: if the folder cannot be written, or is a link to another place.
    """
    if pair.rgb is None or pair.ir is None:
        raise ValueError('expected a pair of both cameras')
    frames = {'rgb': pair.rgb, 'ir': pair.ir}
    own = {name: _metadata(frame) for name, frame in frames.items()}
    meta = {**own, 'skew_ms': (pair.skew_ns or 0) / 1e6, **metadata}
    try:
        folders = _created(folder)
        first = stem = f'{pair.rgb.stamp_ns:019d}'
        number = 1
        # Stamps repeat in a looping bag, or with a dead clock.
        while (path := folders['meta'] / f'{stem}.json').exists():
            number += 1
            stem = f'{first}_{number}'
        files = {}
        for name, frame in frames.items():
            suffix, content = encode_image(frame.pixels)
            files[folders[name] / f'{stem}{suffix}'] = content
        files[path] = (json.dumps(meta, indent=1) + '\n').encode()
        replace_files(files)
    except (OSError, RuntimeError) as error:  # RuntimeError: the user has no home folder
        raise RequestError(
            f'the pair cannot be saved: {error}; set save_folder to a folder that you may write'
        ) from None
    return path


def _created(folder: str) -> dict[str, Path]:
    """Make the folders of the images and of the metadata, and return them."""
    root = Path(folder).expanduser()
    if not root.is_absolute():
        raise RequestError(f"save_folder must be absolute or start with ~, got '{folder}'")
    root.mkdir(parents=True, exist_ok=True)
    folders = {name: root.resolve() / name for name in ('rgb', 'ir', 'meta')}
    for path in folders.values():
        path.mkdir(exist_ok=True)
        if path.resolve() != path:
            raise RequestError(f'{path} leads out of save_folder to {path.resolve()}: remove it')
    return folders


def _metadata(frame: Frame) -> dict[str, Any]:
    values = {name: getattr(frame, name) for name in ('stamp_ns', 'frame_id', 'encoding')}
    return {**values, 'size_hw': list(frame.size_hw)}
