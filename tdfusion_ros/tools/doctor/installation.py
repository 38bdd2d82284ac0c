"""What the node needs of this machine besides ROS: packages, engines, the model, places."""

from collections.abc import Callable
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
from tdfusion_ros.tools.doctor.finding import FAIL
from tdfusion_ros.tools.doctor.finding import Finding
from tdfusion_ros.tools.doctor.finding import OK
from tdfusion_ros.tools.doctor.finding import WARN

PACKAGES = ('numpy', 'PyYAML', 'onnxruntime', 'onnxruntime-gpu', 'rosbags')
GPU_PACKAGES = ('torch', 'safetensors', 'torch-tensorrt', 'tensorrt')


def examine(config: FusionConfig, report: Callable[[str], None]) -> list[Finding]:
    """
    Look at everything that needs no ROS.

    :param report: takes sentences about what takes long.
    """
    findings = [python(), packages()]
    try:
        bundle = read_bundle(find_bundle(config.model))
        bundle.weights()
    except FusionError as error:
        findings.append(
            Finding(FAIL, 'model', str(error), 'set model, or bring the bundle here again')
        )
    else:
        contract = bundle.contract
        findings.append(
            Finding(
                OK,
                'model',
                f"'{contract.name}' in {bundle.folder} is whole (sha256 "
                f'{contract.sha256[GRAPH_FILE][:16]}…), classes {", ".join(contract.classes)}',
            )
        )
        findings += engines(config, bundle, report)
    return [
        *findings,
        calibration(config),
        place('cache', cache_folder(), 'engines would be built anew at every start'),
        save_folder(config),
    ]


def python() -> Finding:
    """Tell which Python runs: another one than the packages were installed for is a classic."""
    sentence = f'{platform.python_version()} on {platform.machine()}, {sys.executable}'
    return Finding(OK, 'python', sentence)


def packages() -> Finding:
    """Tell the versions that matter."""
    found = [f'{name} {v}' for name in (*PACKAGES, *GPU_PACKAGES) if (v := _version(name))]
    sentence = f'OpenCV {cv2.__version__}, ' + ', '.join(found)
    if int(cv2.__version__.partition('.')[0]) >= 5:
        remedy = "pip install 'opencv-python-headless<5': cv_bridge cannot work with 5"
        return Finding(WARN, 'packages', sentence, remedy)
    return Finding(OK, 'packages', sentence)


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ''


def engines(config: FusionConfig, bundle: Bundle, report: Callable[[str], None]) -> list[Finding]:
    """Tell which backends can be used, and which one the config takes. Builds no engine."""
    from tdfusion_ros.backends.cuda import CudaBackend
    from tdfusion_ros.backends.trt import find_tensorrt

    probes: dict[str, Callable[[], str]] = {
        'trt': lambda: str(find_tensorrt(report)),
        'cuda': lambda: CudaBackend(bundle).engine,
        'cpu': lambda: open_backend('cpu', bundle, report).engine,
    }
    usable, reasons = {}, {}
    for name, probe in probes.items():
        try:
            usable[name] = probe()
        except FusionError as error:
            reasons[name] = str(error)
    findings = [Finding(OK, f'backend {name}', what) for name, what in usable.items()]
    findings += [_unusable(config, name, why, bool(usable)) for name, why in reasons.items()]
    if config.backend == 'auto' and usable:
        taken = next(iter(usable))
        findings.append(Finding(OK, 'backend auto', f'would take {taken} ({usable[taken]})'))
    return findings


def _unusable(config: FusionConfig, name: str, why: str, others: bool) -> Finding:
    subject = f'backend {name}'
    if config.backend == name or not others:
        return Finding(FAIL, subject, why, 'put that right, or set backend to auto')
    if config.backend == 'auto' and name != 'cpu' and _has_gpu():
        remedy = 'put that right if the node shall use the GPU so'
        return Finding(WARN, subject, f'there is an NVIDIA driver, but: {why}', remedy)
    return Finding(OK, subject, f'not used: {why}')


def _has_gpu() -> bool:
    try:
        require_driver()
    except FusionError:
        return False
    return True


def calibration(config: FusionConfig) -> Finding:
    """Tell whether the calibration can be read."""
    if not config.calibration:
        return Finding(
            OK, 'calibration', 'none: both cameras are taken to see the same field of view'
        )
    try:
        load_calibration(config.calibration)
    except CalibrationError as error:
        return Finding(FAIL, 'calibration', str(error), 'compare config/calibration/*.yaml')
    return Finding(OK, 'calibration', f'{config.calibration} can be read')


def save_folder(config: FusionConfig) -> Finding:
    """Tell whether the service save_pair can save."""
    try:
        folder = Path(config.save_folder).expanduser()
    except RuntimeError:  # a user without a home
        folder = Path(config.save_folder)
    if not folder.is_absolute():
        sentence = f"'{config.save_folder}' is not absolute: save_pair cannot save"
        return Finding(WARN, 'save_folder', sentence, 'set save_folder to a full path')
    return place('save_folder', folder, 'save_pair cannot save')


def place(subject: str, folder: Path, loss: str) -> Finding:
    """Tell whether a folder can be written, without making it."""
    there = folder
    while not there.exists() and there != there.parent:
        there = there.parent
    if there.is_dir() and os.access(there, os.W_OK | os.X_OK):
        return Finding(OK, subject, f'{folder} can be written')
    return Finding(
        WARN,
        subject,
        f'{there} cannot be written: {loss}',
        f'make {there} writable for you, or choose another place'
        + (' (XDG_CACHE_HOME)' if subject == 'cache' else ''),
    )
