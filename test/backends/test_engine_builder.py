"""What is asked of Torch-TensorRT, held against the signatures of its versions."""

from importlib.machinery import ModuleSpec
import json
import logging
from pathlib import Path
import sys
from types import ModuleType
from types import SimpleNamespace

import pytest

from tdfusion_ros.backends import engine_builder as builder
from tdfusion_ros.backends import gpu
from tdfusion_ros.core.errors import ConfigError
from tdfusion_ros.core.errors import ModelError

FACTS = json.loads(
    (Path(__file__).parent / 'torch_tensorrt_signatures.json').read_text(encoding='utf-8')
)
SIGNATURES = {version: names.split() for version, names in FACTS['keyword_only'].items()}
USABLE = [version for version in SIGNATURES if version != '2.5']


def converter(version, behave):
    """Return a function with the signature of ``version``; ``behave`` gets its options."""
    names = ', '.join(f'{name}=None' for name in SIGNATURES[version])
    space = {'behave': behave}
    exec(
        f'def convert(exported_program, inputs=None, *, {names}, **kwargs):\n'
        '    assert not kwargs, f"swallowed: {kwargs}"\n'
        '    return behave(exported_program, {k: v for k, v in locals().items()'
        ' if v is not None})',
        space,
    )
    return space['convert']


@pytest.fixture
def install(monkeypatch):
    """Put stand-ins for torch_tensorrt and tensorrt into place: ``install(version, behave)``."""

    def installing(version, behave=lambda program, options: b'engine'):
        package, dynamo = ModuleType('torch_tensorrt'), ModuleType('torch_tensorrt.dynamo')
        package.__version__ = f'{version}.0'
        package.dynamo = dynamo
        dynamo.convert_exported_program_to_serialized_trt_engine = converter(version, behave)
        monkeypatch.setitem(sys.modules, 'torch_tensorrt', package)
        monkeypatch.setitem(sys.modules, 'torch_tensorrt.dynamo', dynamo)
        library = ModuleType('tensorrt')
        library.__version__, library.__spec__ = '10.3.0', ModuleSpec('tensorrt', None)
        monkeypatch.setitem(sys.modules, 'tensorrt', library)

    return installing


@pytest.mark.parametrize('version', USABLE)
def test_every_option_is_one_that_the_version_has(version):
    chosen = builder.options(converter(version, None), Path('/private'))
    assert set(chosen) <= set(SIGNATURES[version])


@pytest.mark.parametrize('version', USABLE)
def test_typing_is_strong_by_whatever_the_version_calls_it(version):
    chosen = builder.options(converter(version, None), Path('/private'))
    assert 'enabled_precisions' not in chosen
    minor = int(version.split('.')[1])
    assert chosen.get('use_explicit_typing', 'none') == (True if minor < 13 else 'none')
    assert chosen['use_fp32_acc'] is True
    assert chosen['disable_tf32'] is True


@pytest.mark.parametrize('version', USABLE)
def test_nothing_is_kept_where_others_can_write(version):
    chosen = builder.options(converter(version, None), Path('/private'))
    assert chosen['timing_cache_path'] == '/private/timing'
    assert not chosen.get('cache_built_engines')
    assert not chosen.get('reuse_cached_engines')


def test_version_that_types_weakly_only_is_refused():
    with pytest.raises(ConfigError, match=r'install 2\.8 or later'):
        builder.options(converter('2.5', None), Path('/private'))


@pytest.fixture
def torch(monkeypatch):
    """Return torch, which believes that there is a GPU."""
    torch = pytest.importorskip('torch')
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(gpu, 'facts', lambda: {'gpu': 'Orin', 'capability': [8, 7], 'driver': '1'})
    return torch


def test_probe_tells_all_that_an_engine_depends_on(torch, install):
    version = torch.__version__.rpartition('.')[0]
    SIGNATURES.setdefault(version, SIGNATURES['2.13'])
    install(version)
    facts = builder.answer({'task': 'probe', 'route': 'torch_tensorrt'})
    assert set(facts) == {
        *('torch', 'torch_tensorrt', 'tensorrt', 'gpu', 'capability', 'driver', 'precision')
    }
    assert facts['torch'] == torch.__version__


def test_probe_refuses_versions_that_do_not_belong_together(torch, install):
    install('2.6')
    with pytest.raises(ConfigError, match=r'torch .* and torch_tensorrt 2\.6\.0 do not belong'):
        builder.probe_torch_tensorrt()


def test_probe_refuses_a_torch_that_sees_no_gpu(torch, install, monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    with pytest.raises(ConfigError, match='sees no GPU'):
        builder.probe_torch_tensorrt()


def test_probe_of_onnx_runtime_wants_its_tensorrt_provider(monkeypatch):
    runtime = SimpleNamespace(
        __version__='1.22.0', get_available_providers=lambda: ['CPUExecutionProvider']
    )
    monkeypatch.setitem(sys.modules, 'onnxruntime', runtime)
    with pytest.raises(ConfigError, match='one of torch_tensorrt and onnxruntime-gpu'):
        builder.answer({'task': 'probe', 'route': 'onnxruntime'})
    monkeypatch.setattr(gpu, 'facts', lambda: {'gpu': 'Orin'})
    monkeypatch.setattr(gpu, 'tensorrt_version', lambda: 100300)
    runtime.get_available_providers = lambda: ['TensorrtExecutionProvider']
    facts = builder.answer({'task': 'probe', 'route': 'onnxruntime'})
    assert facts['onnxruntime'] == '1.22.0'
    assert facts['tensorrt'] == 100300


@pytest.mark.torch
@pytest.mark.parametrize('version', ['2.8', '2.12', '2.13', '2.14'])
def test_network_is_exported_in_half_with_float32_borders(
    shipped, install, tmp_path, torch, version
):
    given = {}

    def behave(program, options):
        given.update(options, program=program)
        return b'plan'

    install(version, behave)
    builder.build_torch_tensorrt(shipped, (64, 96), tmp_path, 'cpu')
    assert [path.name for path in tmp_path.iterdir()] == ['engine.plan']
    assert (tmp_path / 'engine.plan').read_bytes() == b'plan'
    rgb, ir = given['arg_inputs']
    assert rgb.shape == (64, 96, 3)
    assert ir.shape == (64, 96)
    nodes = {node.name: node for node in given['program'].graph.nodes}

    def read_by(operation):
        found = [node for node in nodes.values() if operation in str(node.target)]
        return {node.args[0].meta['val'].dtype for node in found}

    assert read_by('conv2d') == {torch.half}
    for blend_or_scene in ('.avg_pool2d', 'aten.linear'):
        assert read_by(blend_or_scene) == {torch.float32}
    outputs = given['program'].graph_signature.user_outputs
    assert {nodes[name].meta['val'].dtype for name in outputs} == {torch.float32}
    assert nodes['rgb'].meta['val'].dtype == torch.float32
    assert not [n for n in nodes.values() if n.meta.get('val') is not None and is_wide(n)]


def is_wide(node):
    return str(getattr(node.meta['val'], 'dtype', '')) == 'torch.float64'


@pytest.mark.torch
@pytest.mark.parametrize('version', ['2.8', '2.13'])
def test_reason_of_a_failed_conversion_comes_out(shipped, install, tmp_path, torch, version):
    def behave(program, options):
        if version == '2.13':
            raise RuntimeError('no tactic for conv_7')
        try:
            raise ValueError('no tactic for conv_7')
        except ValueError:
            logging.getLogger('torch_tensorrt.dynamo._compiler').error('While …', exc_info=True)
        return result  # noqa: F821 - as the real one does up to 2.12

    install(version, behave)
    with pytest.raises(ModelError, match=r'cannot build it: .*no tactic for conv_7'):
        builder.build_torch_tensorrt(shipped, (64, 96), tmp_path, 'cpu')
    assert not list(tmp_path.iterdir())


def test_bundle_that_changed_since_the_question_is_refused(shipped):
    question = {
        'task': 'build',
        'route': 'torch_tensorrt',
        'bundle': str(shipped.folder),
        'files': {**shipped.contract.sha256, 'weights.safetensors': '0' * 64},
    }
    with pytest.raises(ModelError, match='was changed meanwhile'):
        builder.answer(question)
