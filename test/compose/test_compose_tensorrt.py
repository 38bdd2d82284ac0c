"""TensorRT itself on graphs with a detector of the user, as on those that we ship."""

from pathlib import Path

from detectors import KINDS
from detectors import make
import pytest

pytest.importorskip('onnx')
pytest.importorskip('tensorrt_rtx_bindings', reason='pip install tensorrt-rtx-cu13-*')

from tdfusion_ros.backends import rtx_compiler
from tdfusion_ros.backends.bundle import read_bundle
from tdfusion_ros.compose.composed_bundle import compose

SHIPPED = Path(__file__).parents[2] / 'models' / 'msrs_rt'
YOLOX = Path(__file__).parents[3] / 'shared' / 'pretrained' / 'yolox_nano.onnx'
NO_HALF = 'YOLOv10'
"""Its random weights may decide between nearly equal classes; then half.onnx is not written."""


def plans(folder, capsys, name, targets):
    bundle = read_bundle(folder)
    for precision, graph in (('full', bundle.graph), ('half', bundle.half_graph)):
        if graph is None:
            assert name == NO_HALF
            continue
        network = rtx_compiler.Network(graph)
        for target in targets:
            size = len(network.plan(target, (480, 640)))
            with capsys.disabled():
                print(
                    f'\n| {name} | 640x480 | {target} | {precision} | {size / 1e6:.2f} MB |',
                    end='',
                )


@pytest.mark.parametrize('name', ['yolox', 'yolov8', 'RT-DETR, logits', 'YOLOv10'])
def test_tensorrt_compiles_a_composed_bundle_of_each_kind(name, tmp_path, capsys):
    compose(SHIPPED, make(KINDS[name], tmp_path / 'their.onnx'), tmp_path / 'mine')
    plans(tmp_path / 'mine', capsys, name, ['sm86'])


def test_tensorrt_compiles_msrs_rt_with_yolox_nano(tmp_path, capsys):
    if not YOLOX.is_file():
        pytest.skip('needs the detectors of ../shared')
    compose(SHIPPED, YOLOX, tmp_path / 'mine')
    targets = ['sm75', 'sm80', 'sm86', 'sm89', 'sm120']
    plans(tmp_path / 'mine', capsys, 'msrs_rt + YOLOX-Nano', targets)
