"""Files that people write and other tools make: YAML, JSON, CSV."""

from argparse import Namespace
from collections.abc import Callable
import json
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import numpy as np
import yaml

from demo.fuzz import mutate
from demo.fuzz.mutate import TEXTS
from demo.fuzz.target import Case
from demo.fuzz.target import Draw
from demo.fuzz.target import must
from tdfusion_ros.build import load_calibration
from tdfusion_ros.core.config import FusionConfig
from tdfusion_ros.core.contract import parse_contract
from tdfusion_ros.core.errors import CalibrationError
from tdfusion_ros.core.registration import Registration
from tdfusion_ros.tools.calibrate import cameras
from tdfusion_ros.tools.calibrate import picked_points
from tdfusion_ros.tools.calibrate.plausibility import check_transform
from tdfusion_ros.tools.options import config_of
from tdfusion_ros.tools.parameter_reference import parameter_yaml

ROOT = Path(__file__).parents[2]
NINE = range(1, 10)
LAUGHS = '\n'.join(
    ('a0: &a0 [1, 2, 3]', *(f'a{n}: &a{n} [{", ".join([f"*a{n - 1}"] * 9)}]' for n in NINE))
)
MERGES = '\n'.join(
    ('a0: &a0 {k: 1}', *(f'a{n}: &a{n} {{<<: [{", ".join([f"*a{n - 1}"] * 9)}]}}' for n in NINE))
)
BOMBS = (
    f'{LAUGHS}\nmode: *a9\n',
    f'{LAUGHS}\nmode: homography\nhomography: *a9\n',
    f'{LAUGHS}\nrgb_xy: *a9\nir_xy: *a9\n',
    f'{LAUGHS}\n/**:\n  ros__parameters:\n    model: *a9\n',
    f'{MERGES}\nmode: identity\n',
    'mode: &m [*m]\n',
    '&a a: *a\n',
    '? [a, b]\n: 1\n',
    'mode: !!python/object/apply:os.system ["false"]\n',
    'mode: !!timestamp 2001-99-99\n',
    'mode: 2001-99-99\n',
    'mode: 0b_\n',
    f'mode: {"9" * 5000}\n',
    '[' * 5000,
    '{a: ' * 5000,
    '- ' * 5000,
    '!!binary "?"\n',
    '!!set {a, b}\n',
    '--- a\n--- b\n',
    '%YAML 9.9\n---\na: b\n',
    '\x00',
    '',
)


def document(rng: Random, sample: Any, text: str, dump: Callable[[Any], str]) -> bytes:
    """Return the bytes of a file: one of the bombs, a wrong tree, or a right one with faults."""
    act = rng.random()
    if act < 0.03:
        return rng.choice(BOMBS).encode('utf-8', 'surrogatepass')
    if act < 0.7:
        try:
            return dump(mutate.tree(rng, sample)).encode('utf-8', 'surrogatepass')
        except (RecursionError, ValueError, yaml.YAMLError):  # too wrong to be written down
            return rng.choice(TEXTS).encode('utf-8', 'surrogatepass')
    return mutate.mangle(rng, text.encode())


def of_yaml(value: Any) -> str:
    """Return a value as YAML."""
    return yaml.dump(value, Dumper=getattr(yaml, 'CSafeDumper', yaml.SafeDumper), width=1 << 20)


def _from_file(
    path: Path, samples: list[Any], read: Callable[[Path], None], dump: Any = of_yaml
) -> Draw:
    texts = [dump(sample) for sample in samples]

    def draw(rng: Random) -> Case:
        which = rng.randrange(len(samples))
        path.write_bytes(document(rng, samples[which], texts[which], dump))
        return lambda: read(path)

    return draw


def calibration(place: Path) -> Draw:
    """Fuzz calibration files, up to the map that they make."""
    names = ('extrinsics', 'homography')
    samples = [
        yaml.safe_load((ROOT / f'config/calibration/{name}.yaml').read_text()) for name in names
    ]

    def read(path: Path) -> None:
        found = load_calibration(str(path))
        for rgb_hw, ir_hw in (((12, 16), (12, 16)), ((24, 30), (9, 7))):
            try:
                there, valid = Registration(found).apply(np.ones(ir_hw, np.float32), rgb_hw)
            except CalibrationError:
                continue
            must(there.shape == valid.shape == rgb_hw, 'form of the registered image')
            must(bool(((there >= 0) & (there <= 1)).all()), 'a registered image in [0, 1]')

    return _from_file(place / 'calibration.yaml', samples, read)


def camera(place: Path) -> Draw:
    """Fuzz files of ROS's camera_calibration."""
    sample = {
        'image_width': 640,
        'image_height': 480,
        'camera_name': 'ir',
        'camera_matrix': {'rows': 3, 'cols': 3, 'data': [554.0, 0, 320, 0, 554.0, 240, 0, 0, 1]},
        'distortion_model': 'plumb_bob',
        'distortion_coefficients': {'rows': 1, 'cols': 5, 'data': [-0.3, 0.1, 0.0, 0.0, 0.0]},
    }

    def read(path: Path) -> None:
        found = cameras.camera_from_file(path, 'ir', (480, 640))
        must(bool(np.isfinite(found.k).all() and np.isfinite(found.d).all()), 'finite K and D')

    return _from_file(place / 'ir.yaml', [sample], read)


def extrinsics(place: Path) -> Draw:
    """Fuzz files that say where one camera is to the other."""
    turned = {'translation_m': [-0.06, 0.0, 0.0], 'quaternion_xyzw': [0.0, 0.0, 0.0, 1.0]}
    matrix = {'translation_m': [-0.06, 0, 0], 'rotation': np.eye(3).tolist()}

    def read(path: Path) -> None:
        check_pose(cameras.pose_from_file(path))

    return _from_file(place / 'extrinsics.yaml', [turned, matrix], read)


def check_pose(pose: np.ndarray) -> None:
    """Check that a (4, 4) pose is finite, with a rotation."""
    must(bool(np.isfinite(pose).all()), 'a finite pose')
    off = np.abs(pose[:3, :3] @ pose[:3, :3].T - np.eye(3)).max()
    must(bool(off < 1e-2), 'a rotation')


def tf(_: Path) -> Draw:
    """Fuzz /tf_static: numbers, names, loops."""
    frames = ('rgb', 'ir', 'base', '/rgb', '', 'é' * 50)

    def draw(rng: Random) -> Case:
        made = []
        for _ in range(rng.randrange(1, 8)):
            t, q = [0.1, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]
            for values in (t, q):
                if rng.random() < 0.25:
                    values[rng.randrange(len(values))] = mutate.number(rng)
            transform = SimpleNamespace(
                translation=SimpleNamespace(**dict(zip('xyz', map(_real, t), strict=True))),
                rotation=SimpleNamespace(**dict(zip('xyzw', map(_real, q), strict=True))),
            )
            header = SimpleNamespace(frame_id=rng.choice(frames))
            made.append(
                SimpleNamespace(
                    header=header, child_frame_id=rng.choice(frames), transform=transform
                )
            )
        return lambda: check_pose(
            cameras.pose_from_tf([SimpleNamespace(transforms=made)], 'rgb', 'ir')
        )

    return draw


def _real(value: float) -> float:
    return float(max(-1.7e308, min(1.7e308, value))) if value == value else float('nan')


def points(place: Path) -> Draw:
    """Fuzz files of picked points in their three forms, and the fit to what is left of them."""
    rng = np.random.default_rng(0)
    rgb = (rng.random((8, 2)) * (640, 480)).round(1)
    ir = (rgb * 0.9 + 20 + rng.normal(0, 0.5, (8, 2))).round(1)
    sample = {
        **{'rgb_xy': rgb.tolist(), 'ir_xy': ir.tolist()},
        **{'rgb_size_hw': [480, 640], 'ir_size_hw': [480, 640]},
    }
    rows = [['rgb_x', 'rgb_y', 'ir_x', 'ir_y'], *np.hstack([rgb, ir]).tolist()]

    def read(path: Path) -> None:
        found = picked_points.read_points(path)
        fitted = picked_points.fit_points(found)
        must(bool(np.isfinite(fitted.matrix).all()), 'a finite matrix')
        if found.rgb_size_hw and found.ir_size_hw:
            check_transform(fitted.matrix, found.rgb_size_hw, found.ir_size_hw)

    forms = (
        _from_file(place / 'points.yaml', [sample], read),
        _from_file(place / 'points.json', [sample], read, json.dumps),
        _from_file(place / 'points.csv', [rows], read, _csv),
    )
    return lambda rng: rng.choice(forms)(rng)


def _csv(rows: Any) -> str:
    if not isinstance(rows, list):
        return str(rows)[:5000]
    return '\n'.join(
        ','.join(str(v)[:200_000] for v in row) if isinstance(row, list) else str(row)[:5000]
        for row in rows
    )


def parameters(place: Path) -> Draw:
    """Fuzz parameter files and ``--param``."""
    sample = yaml.safe_load(parameter_yaml())
    small = {'/**': {'ros__parameters': {'model': 'msrs_rt', 'ir': {'invert': True}}}}

    def read(path: Path) -> None:
        found = config_of(Namespace(config=path, param=[]))
        must(isinstance(found, FusionConfig), 'a config')

    by_file = _from_file(place / 'fusion.yaml', [small, small, small, sample], read)
    names = ('score_threshold', 'ir.smoothing', 'class_filter', 'model', 'nonsense', '')

    def draw(rng: Random) -> Case:
        if rng.random() < 0.6:
            return by_file(rng)
        value = rng.choice((str(mutate.anything(rng)), rng.choice(BOMBS)))
        given = rng.choice(names) + rng.choice(('=', '=', '')) + value
        return lambda: must(bool(config_of(Namespace(config=None, param=[given]))), 'a config')

    return draw


def contract(_: Path) -> Draw:
    """Fuzz ``model.json``: types, sizes, depth."""
    full = json.loads((ROOT / 'models/msrs_rt/model.json').read_text())
    sample = {k: v for k, v in full.items() if k not in ('training', 'cost', 'measured')}
    text = json.dumps(sample)

    def draw(rng: Random) -> Case:
        data = document(rng, sample, text, json.dumps).decode('utf-8', 'replace')

        def read() -> None:
            made = parse_contract(data)
            ', '.join((made.name, *made.classes)).encode()  # as a message would carry them
            must(1 <= made.size_multiple <= 256, 'a size multiple')

        return read

    return draw
