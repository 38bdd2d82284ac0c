"""
One pair as files, in the plain layout that the training reads.

    FOLDER/rgb/STEM.png    as the camera sent it, without loss
    FOLDER/ir/STEM.png     likewise: 8 or 16 bits, unscaled, unregistered
    FOLDER/meta/STEM.json  what else is known; written last, so that it says the pair is whole
"""

from collections.abc import Mapping
from contextlib import suppress
import json
import os
from pathlib import Path
import tempfile
from typing import Any

import cv2
import numpy as np

from tdfusion_ros.core.data import Frame
from tdfusion_ros.core.errors import RequestError
from tdfusion_ros.core.synchronizer import FramePair


def save_pair(folder: str, pair: FramePair, facts: Mapping[str, Any]) -> Path:
    """
    Write a pair and return the path of its metadata; nothing that is there is overwritten.

    :param folder: absolute, or beginning with ``~``; made where it is missing.
    :param facts: goes into the metadata besides what the pair says of itself.
    :raises RequestError: if it cannot be written there, or there leads elsewhere.
    """
    if pair.rgb is None or pair.ir is None:
        raise ValueError('expected a pair of both cameras')
    meta = {
        'rgb': _told(pair.rgb),
        'ir': _told(pair.ir),
        'skew_ms': (pair.skew_ns or 0) / 1e6,
        **facts,
    }
    try:
        root = _root(folder)
        places = {kind: _inside(root, kind) for kind in ('rgb', 'ir', 'meta')}
        stem = _free_stem(places['meta'], f'{pair.rgb.stamp_ns:019d}')
        files = {
            places['ir'] / f'{stem}.png': _png(pair.ir.pixels),
            places['rgb'] / f'{stem}.png': _png(pair.rgb.pixels),
            places['meta'] / f'{stem}.json': (json.dumps(meta, indent=1) + '\n').encode(),
        }
        _write(files)
    except (OSError, RuntimeError) as error:  # RuntimeError: a user without a home
        raise RequestError(
            f'the pair cannot be saved: {error}; make save_folder a place where you may write'
        ) from None
    return places['meta'] / f'{stem}.json'


def _root(folder: str) -> Path:
    path = Path(folder).expanduser()
    if not path.is_absolute():
        raise RequestError(
            f"save_folder must be absolute or begin with ~, got '{folder}': the node's working "
            'directory is nobody knows where'
        )
    path.mkdir(parents=True, exist_ok=True)
    return path.resolve()


def _inside(root: Path, kind: str) -> Path:
    place = root / kind
    place.mkdir(exist_ok=True)
    if place.resolve() != place:
        raise RequestError(
            f'{place} leads out of save_folder to {place.resolve()}: remove that link'
        )
    return place


def _free_stem(meta: Path, wanted: str) -> str:
    stem, number = wanted, 1
    while (meta / f'{stem}.json').exists():  # a bag that is played again, or a dead clock
        number += 1
        stem = f'{wanted}_{number}'
    return stem


def _write(files: Mapping[Path, bytes]) -> None:
    """Write all files aside and let them appear together: no reader finds half a file."""
    ready: dict[Path, Path] = {}
    try:
        for path, content in files.items():
            handle, name = tempfile.mkstemp(prefix='.', suffix='.tmp', dir=path.parent)
            ready[path] = Path(name)
            with os.fdopen(handle, 'wb') as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            ready[path].chmod(0o644)
        for path, temporary in ready.items():
            temporary.replace(path)
    finally:
        for temporary in ready.values():
            with suppress(FileNotFoundError):
                temporary.unlink()


def _png(pixels: np.ndarray) -> bytes:
    if pixels.ndim == 3:
        pixels = pixels[..., ::-1]
    done, data = cv2.imencode('.png', np.ascontiguousarray(pixels))
    if not done:
        raise OSError(f'OpenCV cannot write {pixels.dtype} {pixels.shape} as PNG')
    return data.tobytes()


def _told(frame: Frame) -> dict[str, Any]:
    return {
        'stamp_ns': frame.stamp_ns,
        'frame_id': frame.frame_id,
        'encoding': frame.encoding,
        'size_hw': list(frame.size_hw),
    }
