"""Composition root: read the files that a config names and make the pipeline from them."""

from collections.abc import Callable
import os
from pathlib import Path
import sys

import numpy as np
import yaml

from tdfusion_ros.backends import open_backend
from tdfusion_ros.core.calibration import Calibration
from tdfusion_ros.core.calibration import Identity
from tdfusion_ros.core.calibration import parse_calibration
from tdfusion_ros.core.config import FusionConfig
from tdfusion_ros.core.contract import Contract
from tdfusion_ros.core.contract import GRAPH_FILE
from tdfusion_ros.core.contract import parse_contract
from tdfusion_ros.core.contract import verify
from tdfusion_ros.core.errors import CalibrationError
from tdfusion_ros.core.errors import ModelError
from tdfusion_ros.core.pipeline import Pipeline

PACKAGE = 'tdfusion_ros'
WARM_UP_HW = (480, 640)


def build_pipeline(config: FusionConfig, report: Callable[[str], None] = print) -> Pipeline:
    """
    Make a pipeline that is ready for its first pair, warmed up.

    :param report: takes one-sentence messages about what was chosen.
    :raises FusionError: if the model, the calibration or the engine cannot be used.
    """
    contract, graph = load_bundle(find_bundle(config.model))
    calibration = load_calibration(config.calibration)
    pipeline = Pipeline(config, contract, calibration, open_backend(config.backend, graph, report))
    _warm_up(pipeline)
    return pipeline


def share_folders() -> list[Path]:
    """Return where the package's models and config may lie: the source tree, then installs."""
    prefixes = [p for p in os.environ.get('AMENT_PREFIX_PATH', '').split(os.pathsep) if p]
    return [
        Path(__file__).resolve().parents[1],
        *(Path(prefix) / 'share' / PACKAGE for prefix in (*prefixes, sys.prefix)),
    ]


def find_bundle(model: str) -> Path:
    """
    Return the folder of a bundle.

    :param model: a folder, or the name of a shipped bundle.
    :raises ModelError: naming the shipped ones.
    """
    if model and (Path(model).expanduser() / 'model.json').is_file():
        return Path(model).expanduser()
    shipped = {
        path.parent.name: path.parent
        for share in reversed(share_folders())
        for path in sorted(share.glob('models/*/model.json'))
    }
    if model in shipped:
        return shipped[model]
    raise ModelError(
        f"model '{model}' is neither a folder with a model.json nor one of the "
        f'shipped models: {", ".join(sorted(shipped)) or "none found"}'
    )


def load_bundle(folder: Path) -> tuple[Contract, bytes]:
    """Read a bundle and check its files against its contract."""
    try:
        contract = parse_contract((folder / 'model.json').read_text(encoding='utf-8'))
        graph = (folder / GRAPH_FILE).read_bytes()
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f'model bundle {folder} cannot be read: {error}') from None
    verify(contract, GRAPH_FILE, graph)
    return contract, graph


def load_calibration(path: str) -> Calibration:
    """Read a calibration file; an empty path means that both cameras see the same."""
    if not path:
        return Identity()
    try:
        raw = yaml.safe_load(Path(path).expanduser().read_text(encoding='utf-8'))
        return parse_calibration(raw)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise CalibrationError(f'calibration {path} cannot be read: {error}') from None
    except CalibrationError as error:
        raise CalibrationError(f'calibration {path}: {error}') from None


def _warm_up(pipeline: Pipeline) -> None:
    """Run the graph at a camera's size, so that the first pair is not late; check what returns."""
    multiple = pipeline.contract.size_multiple
    height, width = (-(-side // multiple) * multiple for side in WARM_UP_HW)
    raw = pipeline.backend.run(
        np.zeros((height, width, 3), np.uint8), np.zeros((height, width), np.float32)
    )
    classes = len(pipeline.contract.classes)
    if (
        raw.fused.shape != (height, width, 3)
        or raw.boxes_xyxy.shape[1:] != (4,)
        or raw.scores.shape != (len(raw.boxes_xyxy), classes)
    ):
        raise ModelError(
            f'the graph returned {raw.fused.shape}, {raw.boxes_xyxy.shape} and '
            f'{raw.scores.shape} for {height}x{width}; export the model again'
        )
