"""Check what the node needs besides ROS: packages, engines, the model, writable folders."""

from collections.abc import Callable
from collections.abc import Iterator
from contextlib import suppress
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version
import os
from pathlib import Path
import platform
import sys

import cv2

from tdfusion_ros.backends import open_backend
from tdfusion_ros.backends.bundle import Bundle
from tdfusion_ros.backends.bundle import read_bundle
from tdfusion_ros.backends.engine_cache import cache_folder
from tdfusion_ros.backends.gpu import require_driver
from tdfusion_ros.build import find_bundle
from tdfusion_ros.build import load_calibration
from tdfusion_ros.core.config import FusionConfig
from tdfusion_ros.core.contract import GRAPH_FILE
from tdfusion_ros.core.errors import CalibrationError
from tdfusion_ros.core.errors import FusionError
from tdfusion_ros.tools.doctor.finding import Finding

PACKAGES = (
    *('numpy', 'PyYAML', 'onnxruntime', 'onnxruntime-gpu', 'rosbags'),
    *('torch', 'safetensors', 'torch-tensorrt', 'tensorrt'),
)


def check(config: FusionConfig, report: Callable[[str], None]) -> Iterator[Finding]:
    """Check everything that needs no ROS; ``report`` gets the progress of slow steps."""
    # Often another Python runs than the packages were installed for.
    python = f'{platform.python_version()} on {platform.machine()}, {sys.executable}'
    yield Finding.ok('python', python)
    yield check_packages()
    try:
        bundle = read_bundle(find_bundle(config.model))
        bundle.weights()
    except FusionError as error:
        yield Finding.fail('model', str(error), 'set model, or copy the bundle here again')
    else:
        contract = bundle.contract
        sha, names = contract.sha256[GRAPH_FILE][:16], ', '.join(contract.classes)
        found = f"'{contract.name}' in {bundle.folder} is complete (sha256 {sha}…)"
        yield Finding.ok('model', f'{found}, classes {names}')
        yield from check_backends(config, bundle, report)
    yield check_calibration(config)
    yield check_folder('cache', cache_folder(), 'engines would be built again at every start')
    yield check_save_folder(config)


def check_packages() -> Finding:
    found = [f'OpenCV {cv2.__version__}']
    for name in PACKAGES:
        with suppress(PackageNotFoundError):
            found.append(f'{name} {version(name)}')
    if int(cv2.__version__.partition('.')[0]) >= 5:
        remedy = "pip install 'opencv-python-headless<5', because cv_bridge does not support 5"
        return Finding.warn('packages', ', '.join(found), remedy)
    return Finding.ok('packages', ', '.join(found))


def check_backends(
    config: FusionConfig, bundle: Bundle, report: Callable[[str], None]
) -> Iterator[Finding]:
    """Report which backends are usable, and which one the config selects; build no engine."""
    from tdfusion_ros.backends.cuda import open_cuda
    from tdfusion_ros.backends.trt import find_tensorrt

    probes: dict[str, Callable[[], str]] = {
        'trt': lambda: str(find_tensorrt(report, with_torch=bool(bundle.architecture))),
        'cuda': lambda: open_cuda(bundle).engine,
        'cpu': lambda: open_backend('cpu', bundle, report).engine,
    }
    usable, reasons = {}, {}
    for name, probe in probes.items():
        try:
            usable[name] = probe()
        except FusionError as error:
            reasons[name] = str(error)
    has_driver = False
    with suppress(FusionError):
        require_driver()
        has_driver = True
    for name, engine in usable.items():
        yield Finding.ok(f'backend {name}', engine)
    for name, reason in reasons.items():
        if config.backend == name or not usable:
            yield Finding.fail(f'backend {name}', reason, 'fix this, or set backend to auto')
        elif config.backend == 'auto' and name != 'cpu' and has_driver:
            found = f'there is an NVIDIA driver, but: {reason}'
            yield Finding.warn(f'backend {name}', found, 'fix this if the node is to use it')
        else:
            yield Finding.ok(f'backend {name}', f'not used: {reason}')
    if config.backend == 'auto' and usable:
        name, engine = next(iter(usable.items()))
        yield Finding.ok('backend auto', f'selects {name} ({engine})')


def check_calibration(config: FusionConfig) -> Finding:
    if not config.calibration:
        return Finding.ok('calibration', 'none: both cameras must have the same field of view')
    try:
        load_calibration(config.calibration)
    except CalibrationError as error:
        return Finding.fail('calibration', str(error), 'compare with config/calibration/*.yaml')
    return Finding.ok('calibration', f'{config.calibration} can be read')


def check_save_folder(config: FusionConfig) -> Finding:
    """Check that the service save_pair can save."""
    folder = Path(os.path.expanduser(config.save_folder))  # no error for a user without a home
    if folder.is_absolute():
        return check_folder('save_folder', folder, 'save_pair cannot save')
    found = f"'{config.save_folder}' is not absolute, so save_pair cannot save"
    return Finding.warn('save_folder', found, 'set save_folder to a full path')


def check_folder(subject: str, folder: Path, consequence: str) -> Finding:
    """Check that a folder can be written, without creating it."""
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    if existing.is_dir() and os.access(existing, os.W_OK | os.X_OK):
        return Finding.ok(subject, f'{folder} is writable')
    hint = ' (XDG_CACHE_HOME)' if subject == 'cache' else ''
    remedy = f'make {existing} writable for this user, or choose another folder{hint}'
    return Finding.warn(subject, f'{existing} is not writable, so {consequence}', remedy)
