from hashlib import sha256
import json
from pathlib import Path
import shutil

import pytest

from tdfusion_ros.backends.bundle import EXTERNAL_KEY
from tdfusion_ros.backends.bundle import read_bundle
from tdfusion_ros.build import build_pipeline
from tdfusion_ros.build import find_bundle
from tdfusion_ros.build import load_calibration
from tdfusion_ros.core.config import FusionConfig
from tdfusion_ros.core.errors import CalibrationError
from tdfusion_ros.core.errors import ModelError


@pytest.fixture
def copy(bundle, tmp_path):
    """Return a copy of the shipped bundle, without the weights that running does not need."""
    folder = tmp_path / 'copy'
    folder.mkdir()
    for name in ('model.json', 'model.onnx', 'detector.onnx', 'half.onnx'):
        shutil.copyfile(bundle / name, folder / name)
    return folder


def change_contract(folder, **changes):
    path = folder / 'model.json'
    raw = json.loads(path.read_text(encoding='utf-8'))
    path.write_text(json.dumps({**raw, **changes}), encoding='utf-8')


def test_model_is_found_by_name_by_folder_and_at_home(bundle, copy, tmp_path, monkeypatch):
    assert find_bundle('msrs_rt') == bundle
    assert find_bundle(str(copy)) == copy
    monkeypatch.setenv('HOME', str(tmp_path))
    assert find_bundle(f'~/{copy.name}') == Path(tmp_path / copy.name)


def test_model_of_an_installation_is_found_after_the_sources(copy, tmp_path, monkeypatch, bundle):
    installed = tmp_path / 'prefix' / 'share' / 'tdfusion_ros' / 'models' / 'other'
    shutil.copytree(copy, installed)
    monkeypatch.setenv('AMENT_PREFIX_PATH', f'/nowhere:{tmp_path / "prefix"}')
    assert find_bundle('other') == installed
    shutil.copytree(copy, tmp_path / 'share' / 'tdfusion_ros' / 'models' / 'msrs_rt')
    monkeypatch.setenv('AMENT_PREFIX_PATH', str(tmp_path))
    assert find_bundle('msrs_rt') == bundle


@pytest.mark.parametrize('name', ['', '.', 'copy', 'msrs', '/nowhere'])
def test_name_without_a_slash_is_never_a_folder(copy, monkeypatch, name):
    monkeypatch.chdir(copy.parent if name == 'copy' else copy)
    hint = '' if name == '/nowhere' else '.* with a slash, as ./'
    with pytest.raises(ModelError, match=f"model '{name}' is neither .*: .*msrs_rt{hint}"):
        find_bundle(name)
    if (place := Path(name)).is_dir():
        assert find_bundle(f'./{name}') == place


def test_folder_of_the_name_of_a_shipped_model_does_not_replace_it(bundle, copy, monkeypatch):
    copy.rename(copy.parent / 'msrs_rt')
    monkeypatch.chdir(copy.parent)
    assert find_bundle('msrs_rt') == bundle
    assert find_bundle('./msrs_rt') == Path('msrs_rt')


def test_graph_whose_weights_are_in_another_file_is_refused(copy):
    onnx = pytest.importorskip('onnx')
    graph = onnx.load(copy / 'model.onnx')
    options = {'save_as_external_data': True, 'location': 'w.bin', 'size_threshold': 0}
    onnx.save(graph, copy / 'model.onnx', **options)
    raw = json.loads((copy / 'model.json').read_text())
    digest = sha256((copy / 'model.onnx').read_bytes()).hexdigest()
    change_contract(copy, files={**raw['files'], 'model.onnx': digest})
    with pytest.raises(ModelError, match=r'model\.onnx has weights in another file'):
        build_pipeline(FusionConfig(model=str(copy), backend='cpu'))


@pytest.mark.parametrize('tag', [b'\x0a', b'\x8a\x00', b'\x8a\x80\x80\x00'])
@pytest.mark.parametrize('length', [b'\x08', b'\x88\x00', b'\x88\x80\x00'])
def test_key_of_another_file_is_recognized_however_its_numbers_are_written(tag, length):
    from onnx import StringStringEntryProto

    content = tag + length + b'location'
    assert StringStringEntryProto.FromString(content).key == 'location'
    assert EXTERNAL_KEY.search(content)


@pytest.mark.parametrize('name', ['model.onnx', 'detector.onnx'])
def test_corrupted_graph_is_refused_by_its_hash(copy, name):
    graph = bytearray((copy / name).read_bytes())
    graph[len(graph) // 2] ^= 1
    (copy / name).write_bytes(graph)
    with pytest.raises(ModelError, match=rf'{name} is not the file .*sha256'):
        build_pipeline(FusionConfig(model=str(copy), backend='cpu'))


@pytest.mark.parametrize('name', ['model.json', 'model.onnx', 'detector.onnx'])
def test_bundle_that_lacks_a_file_or_whose_contract_is_no_text_is_refused(copy, name):
    (copy / name).unlink()
    with pytest.raises(ModelError, match=name.replace('.', r'\.')):
        read_bundle(copy)
    (copy / 'model.json').write_bytes(b'\xff\xfe{}')
    with pytest.raises(ModelError, match='cannot be read'):
        read_bundle(copy)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [({'classes': ['person', 'car']}, 'export the model again'), ({'size_multiple': 9}, '')],
)
def test_contract_that_the_graph_does_not_keep_is_refused_at_startup(copy, changes, message):
    change_contract(copy, **changes)
    with pytest.raises(ModelError, match=message):
        build_pipeline(FusionConfig(model=str(copy), backend='cpu'))


FAR = b'{mode: homography, homography: [[1, 0, 5000], [0, 1, 0], [0, 0, 1]], '
FAR += b'rgb_size_hw: [480, 640], ir_size_hw: [512, 640]}'


@pytest.mark.parametrize(
    ('content', 'message'),
    [(None, ''), (b'mode: [', ''), (b'\xff\xfe\x00', ''), (b'- 1', ''), (FAR, r'covers 0\.0%')],
)
def test_unusable_calibration_is_refused_in_one_line_naming_its_path(tmp_path, content, message):
    path = tmp_path / 'rig.yaml'
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CalibrationError, match=rf'rig\.yaml.*{message}') as caught:
        build_pipeline(FusionConfig(backend='cpu', calibration=str(path)))
    assert '\n' not in str(caught.value)


def test_a_calibration_that_follows_tf_is_refused_offline_with_what_to_do():
    with pytest.raises(CalibrationError, match='calibrate BAG --cameras'):
        load_calibration('tf')
