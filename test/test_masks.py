"""A bundle with masks, from the graph to each output."""

import json

import cv2
import numpy as np
import pytest

import tdfusion_ros
from tdfusion_ros.backends.bundle import read_bundle
from tdfusion_ros.backends.cpu import CpuBackend
from tdfusion_ros.build import build_pipeline
from tdfusion_ros.cli import main
from tdfusion_ros.core.config import FusionConfig
from tdfusion_ros.core.contract import parse_contract
from tdfusion_ros.core.data import Frame
from tdfusion_ros.core.errors import ModelError
from tdfusion_ros.core.overlay import color_of
from tdfusion_ros.core.overlay import tint
from tdfusion_ros.core.synchronizer import FramePair
from tdfusion_ros.formats.bags import BagReader
from tdfusion_ros.formats.messages import stamp_ns
from tdfusion_ros.formats.messages import to_frame
from tdfusion_ros.tools.view.moments import choose_moments
from tdfusion_ros.tools.view.recording import read_recording
from tdfusion_ros.tools.view.result_folder import ResultFolder
from tdfusion_ros.tools.view.rig_topics import find_rig

pytest.importorskip('onnx')


@pytest.fixture
def images(demo_pairs):
    """Return an rgb and an ir image, of a size that the graph does not take."""
    return demo_pairs[70].rgb.pixels[:470, :630], demo_pairs[70].ir.pixels[:470, :630]


def test_masks_are_those_of_the_fused_image_at_its_size(masked_bundle, images):
    result = tdfusion_ros.load(masked_bundle, backend='cpu')(*images)
    assert result.mask_classes == ('dark', 'bright')
    np.testing.assert_array_equal(result.segmentation, result.image[..., 0] // 128)
    assert set(np.unique(result.segmentation)) == {0, 1}
    without = tdfusion_ros.load(backend='cpu')(*images)
    assert without.segmentation is None
    assert without.mask_classes == ()
    np.testing.assert_array_equal(without.image, result.image)
    assert (result.draw() != without.draw()).any()


@pytest.mark.parametrize('fused', [True, False])
def test_the_graph_with_masks_only_runs_where_they_are_wanted(masked_bundle, images, fused):
    rgb, ir = (Frame(image, 0) for image in images)
    pipeline = build_pipeline(FusionConfig(model=str(masked_bundle), backend='cpu'))
    bundle = read_bundle(masked_bundle)
    # Without the graphs that run instead, everything is computed.
    pipeline.backend = CpuBackend(bundle.graph)
    pair = FramePair(rgb, ir, 'fused', rgb)
    wanted = {'fused': fused, 'segmentation': False}
    assert pipeline.process_pair(pair, **wanted).segmentation is not None
    pipeline.backend = CpuBackend(bundle.graph, bundle.detector_graph, bundle.unmasked_graph)
    result = pipeline.process_pair(pair, **wanted)
    assert result.segmentation is None
    assert (result.fused is not None) == fused


def test_a_contract_whose_graph_has_no_masks_is_refused(masked_bundle, bundle):
    contract = json.loads((masked_bundle / 'model.json').read_text(encoding='utf-8'))
    for key, wrong in (('mask_classes', []), ('outputs', contract['outputs'][:3])):
        with pytest.raises(ModelError, match=key):
            parse_contract(json.dumps({**contract, key: wrong}))
    del contract['mask_classes']
    with pytest.raises(ModelError, match='outputs'):
        parse_contract(json.dumps(contract))


def test_tint_mixes_the_color_of_a_class_at_boxes_and_leaves_the_background():
    image, masks = np.full((1, 4, 3), 100, np.uint8), np.array([[0, 1, 2, 3]], np.uint8)
    tinted = tint(image, masks, ('person', 'car'), ('background', 'car', 'curve', 'person'))
    expected = [100 * np.ones(3), *((100 + np.array(color_of(i))) / 2 for i in (1, 2, 0))]
    np.testing.assert_allclose(tinted[0], expected, atol=0.5)
    assert tint(image, None, (), ()) is image


def test_fuse_writes_masks_to_a_folder_as_training_reads_them(masked_bundle, folders, tmp_path):
    model = ('-p', f'model={masked_bundle}', '-p', 'backend=cpu')
    out = str(tmp_path / 'out')
    assert main(['fuse', *map(str, folders), '-o', out, '--overlay', *model]) == 0
    name = min(folders[0].iterdir()).name
    fused, masks, overlay = (
        cv2.imread(f'{out}/{place}{name}', cv2.IMREAD_UNCHANGED)
        for place in ('', 'segmentation/', 'overlay/')
    )
    np.testing.assert_array_equal(masks, fused[..., 2] // 128)
    assert (overlay != fused)[masks > 0].mean() > 0.9
    names = (tmp_path / 'out' / 'mask_classes.txt').read_text(encoding='utf-8')
    assert names == 'dark\nbright\n'
    reader = ResultFolder(tmp_path / 'out')
    assert read_recording(reader, find_rig(reader.topics())).mask_labels == ['dark', 'bright']
    shown = [moment_of(tmp_path / 'out')]
    for path in (tmp_path / 'out' / 'segmentation').iterdir():
        path.write_bytes(cv2.imencode('.png', 0 * masks)[1].tobytes())
    assert moment_of(tmp_path / 'out') not in shown


def moment_of(folder):
    """Return the fused image that view shows."""
    reader = ResultFolder(folder)
    recording = read_recording(reader, find_rig(reader.topics()))
    [moment] = choose_moments(recording, recording, 1)
    assert moment.thumbnails[2].startswith('data:')
    return moment.thumbnails[2]


def test_fuse_writes_masks_and_their_names_to_a_bag(
    masked_bundle, demo_records, write_bag, tmp_path
):
    bag = write_bag(tmp_path / 'bag', demo_records)
    model = ('-p', f'model={masked_bundle}', '-p', 'backend=cpu')
    assert main(['fuse', str(bag), '-o', str(tmp_path / 'out'), *model]) == 0
    with BagReader(tmp_path / 'out') as reader:
        found = {}
        for topic, _, message in reader.messages(*reader.topics()):
            found.setdefault(topic, []).append(message)
    fused, masks = found['/fused/image_raw'], found['/segmentation/image_raw']
    assert len(masks) == len(fused) > 0
    for image, mask in zip(fused, masks, strict=True):
        assert mask.encoding == 'mono8'
        assert stamp_ns(mask.header) == stamp_ns(image.header)
        np.testing.assert_array_equal(to_frame(mask).pixels, to_frame(image).pixels[..., 0] // 128)
    [labels] = found['/segmentation/label_info']
    assert [(c.class_id, c.class_name) for c in labels.class_map] == [(0, 'dark'), (1, 'bright')]
