"""TensorRT itself on graphs with a detector of the user, as on those that we ship."""

from pathlib import Path
from time import perf_counter

from detectors import KINDS
from detectors import make
import pytest

pytest.importorskip('onnx')
pytest.importorskip('tensorrt_rtx_bindings', reason='pip install tensorrt-rtx-cu13-*')

from tdfusion_ros.backends import rtx_compiler
from tdfusion_ros.backends.bundle import read_bundle
from tdfusion_ros.compose.composed_bundle import compose
from tdfusion_ros.core.errors import ModelError

SHIPPED = Path(__file__).parents[2] / 'models' / 'msrs_rt'
PRETRAINED = Path(__file__).parents[3] / 'shared' / 'pretrained'
TARGETS = ('sm75', 'sm80', 'sm86', 'sm89', 'sm120')
RANGES = (((480, 640),) * 3, ((1024, 1280),) * 3, ((32, 32), (480, 640), (2048, 2048)))
"""Of an image size: 640x480, 1280x1024, and any from 32 to 2048."""
NO_HALF = 'YOLOv10'
"""Its random weights may decide between nearly equal classes; then half.onnx is not written."""
SUPPRESSION = 'YOLOv7, suppression inside'


def compile_for_all(folder, capsys, name):
    """Compile both graphs of a bundle, each for all targets and sizes in one engine."""
    bundle = read_bundle(folder)
    for precision, graph in (('full', bundle.graph), ('half', bundle.half_graph)):
        if graph is None:
            assert name == NO_HALF
            continue
        begun = perf_counter()
        size = len(rtx_compiler.Network(graph).plan(TARGETS, *RANGES))
        seconds = perf_counter() - begun
        with capsys.disabled():
            row = f'msrs_rt + {name} | all sizes | all targets | {precision}'
            print(f'\n| {row} | {size / 1e6:.2f} MB | {seconds:.1f} s |', end='')


@pytest.mark.parametrize('name', ['yolox', 'yolov8', 'RT-DETR, logits', NO_HALF])
def test_tensorrt_compiles_a_composed_bundle_of_each_kind(name, tmp_path, capsys):
    compose(SHIPPED, make(KINDS[name], tmp_path / 'their.onnx'), tmp_path / 'mine')
    compile_for_all(tmp_path / 'mine', capsys, name)


@pytest.mark.parametrize('name', ['yolox_nano', 'nanodet_m'])
def test_tensorrt_compiles_msrs_rt_with_a_released_detector(name, tmp_path, capsys):
    if not (PRETRAINED / f'{name}.onnx').is_file():
        pytest.skip('needs the detectors of ../shared')
    compose(SHIPPED, PRETRAINED / f'{name}.onnx', tmp_path / 'mine')
    compile_for_all(tmp_path / 'mine', capsys, name)


def test_tensorrt_refuses_suppression_inside_the_detector_and_names_it(tmp_path):
    """It reads the operator, but has nothing that runs it."""
    compose(SHIPPED, make(KINDS[SUPPRESSION], tmp_path / 'their.onnx'), tmp_path / 'mine')
    bundle = read_bundle(tmp_path / 'mine')
    for graph in (bundle.graph, bundle.half_graph):
        network = rtx_compiler.Network(graph)
        for target in TARGETS:
            with pytest.raises(ModelError, match=rf'compile for {target}: .* has no runners'):
                network.plan([target], RANGES[0])
