import hashlib
import json

import numpy as np
import pytest

torch = pytest.importorskip('torch')
for package in ('onnx', 'onnxscript', 'onnxruntime', 'safetensors', 'cv2'):
    pytest.importorskip(package)

from safetensors.torch import load_file  # noqa: E402

from tdfusion_ros.backends.cpu import CpuBackend  # noqa: E402
from tdfusion_ros.core.contract import parse_contract  # noqa: E402
from tdfusion_ros.nets.detector import Detector  # noqa: E402
from tdfusion_ros.nets.detector import DetectorConfig  # noqa: E402
from tdfusion_ros.nets.fusion_rt import FusionRT  # noqa: E402
from tdfusion_ros.nets.fusion_rt import FusionRTConfig  # noqa: E402
from tdfusion_ros.nets.perception import build_perception  # noqa: E402
from training.checkpoint import save_run  # noqa: E402
from training.export import export  # noqa: E402

pytestmark = pytest.mark.torch


@pytest.fixture(scope='module')
def bundle(tmp_path_factory):
    torch.manual_seed(0)
    root = tmp_path_factory.mktemp('export')
    tiny = DetectorConfig(widths=(4, 4, 8, 8, 8), repeats=(0, 0, 1, 0, 0), neck=8, head=8)
    description = {'config': {'data': '/somewhere/on/a/machine/msrs_det'}}
    save_run(root / 'fusion', FusionRT(FusionRTConfig(width=8, depth=3)), description)
    save_run(root / 'detector', Detector(tiny), description)
    export(str(root / 'fusion'), str(root / 'detector'), str(root / 'tiny_rt'))
    return root / 'tiny_rt'


@pytest.fixture(scope='module')
def contract(bundle):
    return json.loads((bundle / 'model.json').read_text(encoding='utf-8'))


@pytest.mark.parametrize('hw', [(64, 64), (224, 352), (96, 640)])
def test_exported_model_matches_torch_at_a_size_it_was_not_exported_for(bundle, contract, hw):
    model = build_perception(contract['architecture']).eval()
    model.load_state_dict(load_file(bundle / 'weights.safetensors'))
    rng = np.random.default_rng(1)
    rgb = rng.integers(0, 256, (*hw, 3), dtype=np.uint8)
    ir = rng.random(hw, dtype=np.float32)
    raw = CpuBackend((bundle / 'model.onnx').read_bytes()).run(rgb, ir)
    with torch.inference_mode():
        fused, boxes, scores = model(torch.from_numpy(rgb), torch.from_numpy(ir))
    assert np.abs(raw.fused.astype(int) - fused.numpy().astype(int)).max() <= 1
    np.testing.assert_allclose(raw.boxes_xyxy, boxes.numpy(), atol=1e-2)
    np.testing.assert_allclose(raw.scores, scores.numpy(), atol=1e-4)


def test_exported_contract_is_the_one_the_robot_reads(bundle):
    contract = parse_contract((bundle / 'model.json').read_text(encoding='utf-8'))
    assert contract.name == 'tiny_rt'
    assert contract.size_multiple == 32


def test_contract_holds_the_hash_of_every_file(bundle, contract):
    for name, expected in contract['files'].items():
        assert hashlib.sha256((bundle / name).read_bytes()).hexdigest() == expected


def test_contract_does_not_tell_where_the_data_lay(bundle):
    assert 'somewhere' not in (bundle / 'model.json').read_text(encoding='utf-8')
