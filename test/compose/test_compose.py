"""A bundle of our fusion network and a detector of the user: its detections are the detector's."""

from dataclasses import replace
from functools import partial
import json
from pathlib import Path
import re

import cv2
from detectors import COUNT
from detectors import HW
from detectors import KINDS
from detectors import letterboxed
from detectors import make
from detectors import NAMES
from detectors import RELEASED
import numpy as np
import pytest

onnx = pytest.importorskip('onnx')
onnxruntime = pytest.importorskip('onnxruntime')

from tdfusion_ros.backends.bundle import read_bundle  # noqa: E402
from tdfusion_ros.backends.cpu import CpuBackend  # noqa: E402
from tdfusion_ros.build import build_pipeline  # noqa: E402
from tdfusion_ros.cli import main  # noqa: E402
from tdfusion_ros.compose.class_names import COCO  # noqa: E402
from tdfusion_ros.compose.class_names import COCO_NUMBERS  # noqa: E402
from tdfusion_ros.core.config import FusionConfig  # noqa: E402
from tdfusion_ros.formats.bags import BagReader  # noqa: E402

SHIPPED = Path(__file__).parents[2] / 'models' / 'msrs_rt'
SIZES = [(64, 96), (96, 96), (160, 416), (96, 32)]
YOLOX = Path(__file__).parents[3] / 'shared' / 'pretrained' / 'yolox_nano.onnx'


def compose(detector, folder, *options):
    """Run the command; return the bundle."""
    arguments = ['compose', '--detector', str(detector), '-o', str(folder), *options]
    assert main(arguments) == 0
    return read_bundle(folder)


@pytest.fixture
def refusal(tmp_path, capsys):
    """Return why a detector is refused: ``refusal(file, *options)``."""

    def refused(detector, *options):
        arguments = ['--detector', str(detector), '-o', str(tmp_path / 'no'), *options]
        assert main(['compose', *arguments]) == 1
        assert not (tmp_path / 'no').exists()
        return capsys.readouterr().err

    return refused


def expected_detections(file, kind, image, layout, size_hw=HW):
    """Return what the detector itself finds in an (H, W, C) image, in its pixels."""
    small, gain, border = letterboxed(image.astype(np.float32), size_hw, layout['fit'])
    if layout.get('order') == 'bgr':
        small = small[..., [2, 1, 0, 3][: small.shape[2]]]
    pixels = (small - layout.get('mean', 0.0)) / layout['std']
    session = onnxruntime.InferenceSession(str(file), providers=['CPUExecutionProvider'])
    images = {session.get_inputs()[0].name: pixels.transpose(2, 0, 1)[None].astype(np.float32)}
    if len(session.get_inputs()) == 2:
        images['orig_target_sizes'] = np.array([size_hw[::-1]])
    boxes, scores = kind.decode(*session.run(None, images))
    return (boxes - border) / gain, scores


def pair(size_hw):
    """Return an image with areas and noise, and an infrared image that differs from it."""
    rng = np.random.default_rng(1)
    coarse = rng.integers(0, 256, (4, 6, 3), np.uint8)
    rgb = cv2.resize(coarse, size_hw[::-1], interpolation=cv2.INTER_LINEAR)
    ir = cv2.resize(rng.random((5, 3), np.float32), size_hw[::-1])
    return np.ascontiguousarray(rgb), ir, np.ones(size_hw, np.float32)


def assert_same(raw, boxes, scores):
    """Compare, as far as the detector gives rows; further ones have no score."""
    rows = len(boxes)
    assert rows > 5
    np.testing.assert_allclose(raw.scores[:rows], scores, rtol=0, atol=1e-3)
    np.testing.assert_allclose(raw.boxes_xyxy[:rows], boxes, rtol=0, atol=1e-3)
    assert not raw.scores[rows:].any()


@pytest.mark.parametrize('name', KINDS)
def test_composed_bundle_finds_what_the_detector_finds_in_the_fused_image(name, tmp_path, capsys):
    kind = KINDS[name]
    file = make(kind, tmp_path / 'their.onnx')
    bundle = compose(file, tmp_path / 'mine')
    said = capsys.readouterr().out
    assert f'their.onnx is read as {kind.name} with 3 classes, input 96x64' in said
    if 'label' not in kind.nodes:  # a random detector's best class is a close decision
        assert 'in half precision the graph differs by at most' in said
    assert bundle.contract.classes == NAMES
    backend, ours = CpuBackend(bundle.graph), CpuBackend(read_bundle(SHIPPED).graph)
    for size_hw in SIZES:
        images = pair(size_hw)
        raw = backend.run(*images)
        np.testing.assert_array_equal(raw.fused, ours.run(*images).fused)
        assert_same(raw, *expected_detections(file, kind, raw.fused, kind.layout))


def test_detector_of_four_channels_reads_both_and_not_the_fused_image(tmp_path):
    kind = KINDS['yolox']
    file = make(kind, tmp_path / 'their.onnx', channels=4)
    bundle = compose(file, tmp_path / 'mine')
    backend = CpuBackend(bundle.graph, bundle.detector_graph)
    rgb, ir, coverage = pair((96, 160))
    both = np.dstack((rgb, 255 * ir))
    expected = expected_detections(file, kind, both, kind.layout)
    assert_same(backend.run(rgb, ir, coverage), *expected)
    alone = backend.run(rgb, ir, coverage, fused=False)
    assert alone.fused is None
    assert_same(alone, *expected)
    assert len(bundle.detector_graph) < 0.7 * len(bundle.graph)


def test_input_layout_can_be_named_and_is_in_the_contract(tmp_path):
    kind = KINDS['yolov8']
    layout = {'fit': 'stretch', 'order': 'bgr', 'mean': [10.0, 20.0, 30.0], 'std': [200.0]}
    file = make(kind, tmp_path / 'their.onnx')
    options = ['--fit', 'stretch', '--order', 'bgr', '--mean', '10', '20', '30', '--std', '200']
    bundle = compose(file, tmp_path / 'mine', *options)
    raw = CpuBackend(bundle.graph).run(*pair((96, 96)))
    named = layout | {'mean': np.array(layout['mean']), 'std': 200.0}
    assert_same(raw, *expected_detections(file, kind, raw.fused, named))
    said = json.loads((tmp_path / 'mine' / 'model.json').read_text())['detector']
    assert said | layout | {'kind': 'yolov8', 'size_hw': list(HW)} == said
    assert 'differs by at most' in (tmp_path / 'mine' / 'MODEL_CARD.md').read_text()


def shuffled(kind, path):
    """Write a detector whose nodes are in no order, as half precision of Ultralytics."""
    model = onnx.load(make(kind, path))
    model.graph.node.extend([model.graph.node.pop() for _ in range(9)])
    path.write_bytes(model.SerializeToString())
    with pytest.raises(onnx.checker.ValidationError, match='topologically'):
        onnx.checker.check_model(model)


@pytest.mark.parametrize(
    ('write_file', 'options'),
    [
        (partial(make, opset=13), ()),
        (partial(make, opset=21), ()),
        (shuffled, ()),
        (partial(make, size='height, width'), ('--size', '96x64')),
    ],
    ids=['opset 13', 'opset 21', 'nodes in no order', 'open size'],
)
def test_files_of_other_exporters_are_converted(write_file, options, tmp_path):
    kind, file = KINDS['yolov8'], tmp_path / 'their.onnx'
    write_file(kind, file)
    raw = CpuBackend(compose(file, tmp_path / 'mine', *options).graph).run(*pair((96, 96)))
    assert_same(raw, *expected_detections(file, kind, raw.fused, kind.layout))


def test_class_names_come_from_a_file_the_metadata_or_coco(tmp_path, refusal):
    file = make(KINDS['yolov8'], tmp_path / 'their.onnx', names=())
    assert 'returns (7, 126) (batch left out); with C = 80 classes expected' in refusal(file)
    (tmp_path / 'names.txt').write_text('a\nb\n\nc\n')
    options = '--classes', str(tmp_path / 'names.txt')
    assert compose(file, tmp_path / 'mine', *options).contract.classes == ('a', 'b', 'c')
    inside = make(KINDS['YOLOv10'], tmp_path / 'inside.onnx', names=())
    assert 'does not name its classes: give --classes FILE' in refusal(inside)
    chosen = compose(inside, tmp_path / 'coco', '--classes', 'coco')
    assert chosen.contract.classes == COCO
    assert (COCO_NUMBERS[1], COCO_NUMBERS[90], len(set(COCO_NUMBERS))) == (
        'person',
        'toothbrush',
        91,
    )
    (tmp_path / 'names.txt').write_text('a\na\n')
    assert 'one name per line, each once' in refusal(file, *options)
    assert 'cannot be read' in refusal(file, '--classes', str(tmp_path))


def write(path, text, **metadata):
    model = onnx.parser.parse_model(f'<ir_version: 9, opset_import: ["": 18]>\nnet {text}')
    onnx.helper.set_model_props(model, metadata)
    path.write_bytes(model.SerializeToString())
    return path


IMAGE = '(float[1, 3, 64, 96] images)'
REFUSED = {
    'raw heads': (
        f'{IMAGE} => (float[a, b, c, d] a, float[e, f, g, h] b)'
        '{ a = AveragePool<kernel_shape = [8, 8]>(images) \n b = Identity(images) }',
        r'returns \(3, 57, 89\), \(3, 64, 96\) .*before the decoding: export it with that',
    ),
    'several images at once': (
        '(float[8, 3, 64, 96] images) => (float[a, b, c, d] a) { a = Identity(images) }',
        r'reads float \(8, 3, 64, 96\): expected float \(1, C, H, W\)',
    ),
    'one channel': (
        '(float[1, 1, 64, 96] images) => (float[a, b, c, d] a) { a = Identity(images) }',
        r'reads float \(1, 1, 64, 96\): expected .* three channels',
    ),
    'further inputs': (
        '(float[1, 3, 64, 96] image, float[1, 2] scale_factor) => (float[a, b, c, d] a)'
        '{ a = Identity(image) }',
        r"has the inputs \['image', 'scale_factor'\]: expected an image",
    ),
    'operators that ONNX Runtime does not have': (
        f'{IMAGE} => (float[a, b, c, d] a) {{ a = trt.EfficientNMS_TRT(images) }}',
        'is not an ONNX model|cannot run .*EfficientNMS_TRT',
    ),
}


@pytest.mark.parametrize('name', REFUSED)
def test_detector_that_is_not_understood_is_refused_with_its_shapes(name, tmp_path, refusal):
    text, message = REFUSED[name]
    error = refusal(write(tmp_path / 'their.onnx', text))
    assert re.search(message, error, re.DOTALL), error


def test_softmax_with_a_class_for_no_object_is_refused(tmp_path, refusal):
    kind = KINDS['RT-DETR, logits']
    nodes = kind.nodes.replace('Identity(rest)', 'Add(rest, nothing)')
    nodes = f'nothing = Constant<value = float[3] {{0, 0, 9}}>()\n{nodes}'
    assert 'a softmax with' in refusal(make(replace(kind, nodes=nodes), tmp_path / 'their.onnx'))


def test_a_place_that_cannot_be_written_is_refused_before_the_detector_is_read(tmp_path, capsys):
    (tmp_path / 'file').touch()
    for name, why in (('file', 'exists: name a new folder'), ('file/new', 'cannot be written')):
        output = str(tmp_path / name)
        assert main(['compose', '--detector', 'nowhere', '-o', output]) == 1
        assert f'{output} {why}' in capsys.readouterr().err


def test_command_says_that_it_leaves_masks_out(masked_bundle, tmp_path, capsys):
    file = make(KINDS['yolov8'], tmp_path / 'their.onnx')
    bundle = compose(file, tmp_path / 'mine', '--fusion', str(masked_bundle))
    assert not bundle.contract.mask_classes
    assert 'the masks of the fusion bundle are left out' in capsys.readouterr().out


def test_detector_of_another_task_kind_or_size_is_refused(tmp_path, refusal):
    open_size = make(KINDS['yolov8'], tmp_path / 'open.onnx', size='height, width')
    assert 'no fixed image size: give the size to run it at, as --size' in refusal(open_size)
    file = make(KINDS['yolov8'], tmp_path / 'their.onnx')
    assert 'was exported for 96x64: leave out --size' in refusal(file, '--size', '64x64')
    assert f'returns (7, 126) for {COUNT} classes, which is not yolox' in refusal(
        file, '--kind', 'yolox'
    )
    text = f'{IMAGE} => (float[a, b, c, d] a) {{ a = Identity(images) }}'
    segmenter = write(tmp_path / 'seg.onnx', text, task='segment')
    assert 'exported for the task segment: export a detection model' in refusal(segmenter)
    (tmp_path / 'text.onnx').write_text('nothing')
    assert 'is not an ONNX model' in refusal(tmp_path / 'text.onnx')
    assert 'cannot be read' in refusal(tmp_path / 'absent.onnx')
    assert 'need one number, or 3' in refusal(file, '--mean', '1', '2')


@pytest.fixture(scope='module')
def yolox(tmp_path_factory):
    if not YOLOX.is_file():
        pytest.skip('needs the detectors of ../shared')
    folder = tmp_path_factory.mktemp('models') / 'mine'
    compose(YOLOX, folder)
    return folder


@pytest.mark.parametrize('name', RELEASED)
def test_released_detector_in_the_pipeline_finds_what_it_finds_alone(name, tmp_path, demo_pairs):
    file, hw = YOLOX.with_name(f'{name}.onnx'), (416, 416)
    if not file.is_file():
        pytest.skip('needs the detectors of ../shared')
    compose(file, tmp_path / 'mine')
    config = FusionConfig(model=f'{tmp_path}/mine', backend='cpu', score_threshold=0.25)
    pipeline, found = build_pipeline(config), 0
    kind = replace(RELEASED[name], decode=partial(RELEASED[name].decode, hw=hw))
    for frames in demo_pairs[::12]:
        result = pipeline.process_pair(frames)
        raw = pipeline.backend.run(*map(partial(getattr, result.pair), ('rgb', 'ir', 'coverage')))
        boxes, scores = expected_detections(file, kind, raw.fused, kind.layout, hw)
        assert np.abs(raw.scores - scores).max() < 1e-4
        seen = scores.max(1) > 0.05
        np.testing.assert_allclose(raw.boxes_xyxy[seen], boxes[seen], rtol=0, atol=1e-3)
        found += len(result.detections.scores)
    assert found > 0


def test_fuse_writes_the_detections_of_a_composed_bundle(yolox, demo, tmp_path):
    options = ['-o', str(tmp_path / 'out'), '-p', f'model={yolox}/', '-p', 'backend=cpu']
    assert main(['fuse', str(demo), *options]) == 0
    with BagReader(tmp_path / 'out') as reader:
        found = [box for _, _, m in reader.messages('/detections') for box in m.detections]
    assert 'person' in {box.results[0].hypothesis.class_id for box in found}
