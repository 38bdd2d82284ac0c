"""Build the pipeline from a config: find and read the model and the calibration."""

from collections.abc import Callable
import os
from pathlib import Path

from tdfusion_ros.backends import open_backend
from tdfusion_ros.backends import Sizes
from tdfusion_ros.backends.bundle import read_bundle
from tdfusion_ros.core.calibration import Calibration
from tdfusion_ros.core.calibration import Identity
from tdfusion_ros.core.calibration import parse_calibration
from tdfusion_ros.core.config import FusionConfig
from tdfusion_ros.core.config import TF
from tdfusion_ros.core.errors import CalibrationError
from tdfusion_ros.core.errors import ModelError
from tdfusion_ros.core.pipeline import Pipeline
from tdfusion_ros.core.postprocess import wanted_classes
from tdfusion_ros.core.registration import check_view
from tdfusion_ros.formats.plain_yaml import read_yaml
from tdfusion_ros.formats.read_errors import reading

PACKAGE = 'tdfusion_ros'


def build_pipeline(
    config: FusionConfig, report: Callable[[str], None] = print, sizes_hw: Sizes = ()
) -> Pipeline:
    """
    Return a pipeline with a tested backend, or raise FusionError.

    :param report: takes messages. :param sizes_hw: as of :func:`open_backend`.
    """
    bundle = read_bundle(find_bundle(config.model))
    calibration = load_calibration(config.calibration)
    wanted_classes(config.class_filter, bundle.contract.classes)  # before an engine is built
    threads = config.cpu_threads
    backend = open_backend(config.backend, bundle, report, sizes_hw, cpu_threads=threads)
    return Pipeline(config, bundle.contract, calibration, backend)


def share_folders() -> list[Path]:
    """Return where models and config may be: the source tree, then what pip or colcon made."""
    here = Path(__file__).resolve()
    ament = os.environ.get('AMENT_PREFIX_PATH', '').split(os.pathsep)
    prefixes = [*(Path(prefix) for prefix in ament if prefix), *here.parents[1:]]
    return [here.parents[1], *(prefix / 'share' / PACKAGE for prefix in prefixes)]


def find_bundle(model: str) -> Path:
    """
    Return the folder of a bundle: of a shipped one by name, or a folder, which has a slash.

    A name is never a folder: what the current folder contains must not replace a shipped model.

    :raises ModelError: if there is none; the message lists the shipped ones.
    """
    if '/' in model and (Path(model).expanduser() / 'model.json').is_file():
        return Path(model).expanduser()
    found = (sorted(share.glob('models/*/model.json')) for share in reversed(share_folders()))
    shipped = {path.parent.name: path.parent for paths in found for path in paths}
    if model in shipped:
        return shipped[model]
    hint = '' if '/' in model else f'; write a folder with a slash, as ./{model or "mine"}'
    if Path(model, 'run.json').is_file():
        hint = '; it is a training run: python -m training.export makes a bundle of it'
    raise ModelError(
        f"model '{model}' is neither a folder with a model.json nor one of the shipped models: "
        f'{", ".join(sorted(shipped)) or "none found"}{hint}'
    )


def load_calibration(path: str) -> Calibration:
    """Read a calibration file; an empty path means that both cameras have the same view."""
    if not path:
        return Identity()
    if path == TF:
        raise CalibrationError(
            'calibration tf is for the node; offline, use the file that tdfusion calibrate BAG '
            '--cameras --depth-m 20 writes (a file of this name: ./tf)'
        )
    with reading(CalibrationError, f'calibration {path} cannot be read'):
        raw = read_yaml(Path(path).expanduser().read_text(encoding='utf-8'))
    with reading(CalibrationError, f'calibration {path}', CalibrationError):
        calibration = parse_calibration(raw)
        check_view(calibration)
        return calibration
